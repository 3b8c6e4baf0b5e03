"""Images that are larger than the input of a network: all of their pixels count."""

import numpy as np
import pytest
from PIL import Image

from detector.networks.runtime import start_keras

start_keras(seed=1)

import keras  # noqa: E402

from detector.networks.model import build_model  # noqa: E402
from detector.networks.resizing import Reduction  # noqa: E402
from tests.helpers import random_pixels  # noqa: E402
from tests.model_files import settings  # noqa: E402

WAYS = pytest.mark.parametrize(
    ("way", "of_pillow"), [("nearest", "BOX"), ("bilinear", "BILINEAR"), ("bicubic", "BICUBIC")]
)


def resize_layer(image_size, way="bilinear", backbone="cnn32"):
    chosen = settings(backbone).model_copy(update={"resize": way})
    return build_model(chosen, image_size).get_layer("resize")


@WAYS
@pytest.mark.parametrize("size", [33, 50, 64, 256])
def test_larger_images_are_reduced_as_pillow_does(way, of_pillow, size):
    pixels = random_pixels(1, size).astype(np.float32)
    found = keras.ops.convert_to_numpy(resize_layer(size, way)(pixels[None]))[0]
    colours = [
        Image.fromarray(pixels[..., i]).resize((32, 32), Image.Resampling[of_pillow])
        for i in range(3)
    ]
    assert found == pytest.approx(np.stack(colours, axis=-1), abs=1e-3)


@WAYS
def test_every_pixel_counts(way, of_pillow):
    layer = resize_layer(256, way)
    assert (np.abs(layer.matrix).sum(axis=0) > 0).all()
    checks = np.indices((256, 256)).sum(axis=0) % 2 * 255.0
    found = layer(np.repeat(checks[None, ..., None], 3, axis=-1).astype(np.float32))
    assert keras.ops.convert_to_numpy(found) == pytest.approx(127.5, abs=4)  # 0 to 255 if skipped


@pytest.mark.parametrize("way", ["nearest", "bilinear", "bicubic"])
def test_enlarging_is_by_keras_own_layer(way):
    layer = resize_layer(16, way)
    assert isinstance(layer, keras.layers.Resizing)
    assert (layer.interpolation, layer.antialias, layer.height, layer.width) == (way, False, 32, 32)
    assert "resize" not in [layer.name for layer in build_model(settings("cnn32"), 32).layers]


def test_half_precision_and_xla_reduce_alike_and_a_config_brings_it_back():
    pixels = np.stack([random_pixels(i, 50) for i in range(2)])
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        layer = resize_layer(50)
    finally:
        keras.config.set_dtype_policy("float32")
    assert layer.compute_dtype == "float32"
    expected = keras.ops.convert_to_numpy(layer(pixels.astype(np.float32)))
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert isinstance(again, Reduction)
    assert np.array_equal(again(pixels.astype(np.float32)), expected)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        compiled = tf.function(layer, jit_compile=True)
        assert compiled(pixels.astype(np.float32)).numpy() == pytest.approx(expected, abs=1e-3)
