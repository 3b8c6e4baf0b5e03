"""Grad-CAM against closed forms and one tape through the whole network; which images are shown."""

import importlib.util
import os
import subprocess
import sys

import numpy as np
import pytest
from PIL import Image

from detector.networks.runtime import start_keras

start_keras(seed=1)

import keras  # noqa: E402

from detector.diagnosis import figures  # noqa: E402
from detector.diagnosis.gradcam import confident, explained_layer, grad_cam  # noqa: E402
from tests.helpers import ROOT, random_pixels  # noqa: E402

layers = keras.layers


def images(n, size=16, seed=0):
    return np.stack([random_pixels(seed + i, size) for i in range(n)])


def network(backbone, size=16, hidden=None):
    """Put a backbone where build_model puts it."""
    pictures = keras.Input((size, size, 3), dtype="uint8")
    x = backbone(layers.Rescaling(1 / 255)(pictures))
    x = layers.GlobalAveragePooling2D()(x)
    if hidden:
        x = layers.Dropout(0.5)(layers.Dense(hidden, activation="relu")(x))
    return keras.Model(pictures, layers.Dense(1, activation="sigmoid")(x), name="network")


def backbone_of(chain, size=16):
    pixels = keras.Input((size, size, 3))
    x = pixels
    for layer in chain:
        x = layer(x)
    return keras.Model(pixels, x, name="backbone")


def linear_network(bias=0.0):
    """Two linear feature maps, of 1x1 kernels: Grad-CAM is then the class activation map."""
    convolution = layers.Conv2D(2, 1, use_bias=False)
    model = network(backbone_of([convolution]))
    kernel = np.array([[1, -1], [0, 2], [1, 0.5]], np.float32)
    convolution.set_weights([kernel[None, None]])
    weights = np.array([[1.5], [-2.0]], np.float32)
    model.layers[-1].set_weights([weights, np.array([bias], np.float32)])
    return model, kernel, weights


def by_hand(pictures, kernel, weights):
    evidence = (pictures / 255.0) @ kernel @ weights[:, 0]  # of each place, times a constant
    return evidence, evidence.mean(axis=(1, 2)) >= 0


def normalised(heat):
    heat = np.maximum(heat, 0)
    return heat / np.maximum(heat.max(axis=(1, 2), keepdims=True), 1e-9)


def test_cam_of_a_linear_network():
    model, kernel, weights = linear_network()
    pictures = images(40)  # more than a batch
    pictures[20:, ..., 0] //= 4  # so that some are called FAKE
    pictures[20:, ..., 1] |= 128
    evidence, real = by_hand(pictures, kernel, weights)
    assert 0 < real.sum() < 40
    heat = grad_cam(model, pictures)
    assert heat.shape == (40, 16, 16) and heat.dtype == np.float32
    sign = np.where(real, 1, -1)[:, None, None]
    np.testing.assert_allclose(heat, normalised(sign * evidence), atol=1e-5)
    for called in (np.zeros(40), np.ones(40), np.arange(40) % 3 == 0):
        heat = grad_cam(model, pictures, predicted=called)
        sign = (2 * called.astype(int) - 1)[:, None, None]
        np.testing.assert_allclose(heat, normalised(sign * evidence), atol=1e-5)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_other_backends(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    name = f"{__file__}::test_cam_of_a_linear_network"
    environment = {**os.environ, "KERAS_BACKEND": backend}
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", name], env=environment, check=True, cwd=ROOT
    )


def test_a_saturated_sigmoid_still_has_evidence():
    pictures = images(3)
    for bias in (-1000, 1000):
        model, kernel, weights = linear_network(bias)
        assert set(model.predict(pictures, verbose=0)[:, 0]) <= {0.0, 1.0}
        evidence, _ = by_hand(pictures, kernel, weights)
        heat = grad_cam(model, pictures)
        np.testing.assert_allclose(heat, normalised(np.sign(bias) * evidence), atol=1e-5)


def test_no_evidence_is_no_heat():
    model, _, _ = linear_network()
    black = np.zeros((2, 16, 16, 3), np.uint8)
    assert np.array_equal(grad_cam(model, black), np.zeros((2, 16, 16)))
    assert grad_cam(model, black[:0]).shape == (0, 16, 16)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compares with TensorFlow")
def test_resnet50_against_one_tape_through_the_whole_network():
    import tensorflow as tf

    backbone = keras.applications.ResNet50(include_top=False, weights=None, input_shape=(32, 32, 3))
    model = network(backbone, 32, hidden=64)
    pictures = images(5, 32)
    assert explained_layer(model) == ("conv3_block4_out", 4)

    both = keras.Model(
        backbone.inputs, [backbone.get_layer("conv3_block4_out").output, backbone.output]
    )
    rescale, _, pool, dense, _, real = model.layers[1:]
    with tf.GradientTape() as tape:
        features, last = both(rescale(pictures), training=False)
        x = tf.matmul(dense(pool(last)), real.kernel) + real.bias
        score = tf.abs(x)  # the logit of the class that is called
    np.testing.assert_allclose(
        tf.sigmoid(x)[:, 0], model.predict(pictures, verbose=0)[:, 0], atol=1e-6
    )
    weights = tf.reduce_mean(tape.gradient(score, features), axis=(1, 2), keepdims=True)
    maps = np.maximum(np.sum(weights * features, axis=-1), 0)
    resized = np.stack(
        [np.asarray(Image.fromarray(m).resize((32, 32), Image.Resampling.BILINEAR)) for m in maps]
    )
    heat = grad_cam(model, pictures)
    np.testing.assert_allclose(heat, normalised(resized), atol=2e-3)
    assert np.array_equal(heat, grad_cam(model, pictures))
    np.testing.assert_allclose(heat[3:4], grad_cam(model, pictures[3:4]), atol=1e-4)


@pytest.mark.parametrize(
    ("name", "size", "minimum_map", "expected"),
    [
        ("ResNet50", 224, 4, ("conv5_block3_out", 7)),
        ("ResNet50", 32, 8, ("conv2_block3_out", 8)),
        # conv2d_28 and others of one branch come later and have 7x7 maps, too.
        ("InceptionV3", 75, 4, ("mixed2", 7)),
        # block_6_pad, 5x5, comes later.
        ("MobileNetV2", 32, 4, ("block_6_expand_relu", 4)),
        ("MobileNetV3Large", 32, 4, ("activation_1", 4)),
        ("EfficientNetV2B0", 32, 4, ("block4a_expand_activation", 4)),
        ("ResNet50V2", 32, 4, ("conv3_block3_out", 4)),
        ("DenseNet121", 32, 4, ("pool3_conv", 4)),
        # The sum, written with +, at the end of the second stage.
        ("ConvNeXtTiny", 32, 4, ("add_5", 4)),
    ],
)
def test_the_layer_that_is_explained(name, size, minimum_map, expected):
    keras.utils.clear_session()
    backbone = getattr(keras.applications, name)(
        include_top=False, weights=None, input_shape=(size, size, 3)
    )
    assert explained_layer(network(backbone, size), minimum_map) == expected


def test_a_backbone_of_small_maps_gives_its_largest():
    backbone = backbone_of(
        [layers.Conv2D(4, 8, strides=8, name="patches"), layers.Conv2D(4, 2, name="last")]
    )
    model = network(backbone)
    assert explained_layer(model, 4) == ("patches", 2)
    assert explained_layer(model, 1) == ("last", 1)
    assert grad_cam(model, images(2)).shape == (2, 16, 16)


def test_another_kind_of_network_is_refused():
    with pytest.raises(ValueError, match="nested backbone"):
        grad_cam(backbone_of([layers.Conv2D(2, 1)]), images(1))


def test_confident():
    labels = np.array([1, 1, 1, 1, 0, 0, 0, 1, 1])
    calibrated = np.array([0.9, 0.95, 0.9, 0.1, 0.2, 0.3, 0.05, 0.3, 0.29])
    rows = confident(labels, calibrated, 0.3, each=2)
    assert {name: chosen.tolist() for name, chosen in rows.items()} == {
        "REAL, right": [1, 0],
        "REAL, wrong": [3, 8],
        "FAKE, right": [6, 4],
        "FAKE, wrong": [5],
    }
    assert all(chosen.dtype.kind == "i" for chosen in rows.values())
    rows = confident(labels, np.where(labels == 1, 0.8, 0.1), 0.3)
    assert rows["REAL, right"].tolist() == [0, 1, 2, 3]
    assert rows["REAL, wrong"].size == rows["FAKE, wrong"].size == 0


@pytest.mark.parametrize("counts", [(4, 0, 2, 1), (0, 0, 0, 0)])
def test_sheet(counts, tmp_path):
    names = ("REAL, right", "REAL, wrong", "FAKE, right", "FAKE, wrong")
    groups = {name: np.arange(n) for name, n in zip(names, counts, strict=True)}
    total = sum(counts)
    pictures = np.stack([random_pixels(i) for i in range(7)])[:total]
    heat = np.random.default_rng(0).random((total, 32, 32), np.float32)
    probabilities = np.linspace(0, 1, total)
    for name in ("first.png", "second.png"):
        figures.gradcam_sheet(pictures, heat, groups, probabilities, "title", tmp_path / name)
    with Image.open(tmp_path / "first.png") as sheet:
        assert sheet.format == "PNG" and sheet.height > 500 and sheet.info.keys() <= {"dpi"}
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()


def test_sheet_refuses_images_that_are_not_the_groups(tmp_path):
    with pytest.raises(ValueError, match="groups"):
        figures.gradcam_sheet(
            images(1), np.zeros((1, 16, 16)), {"REAL, right": np.arange(2)}, [0.5], "", tmp_path
        )
