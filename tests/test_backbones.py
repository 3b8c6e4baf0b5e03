"""The backbones of keras.applications: what reaches their weights; a step, and back from a file."""

import keras.applications
import numpy as np
import pytest

from detector.networks.runtime import start_keras

start_keras(seed=1)

import keras  # noqa: E402

from detector.data.arrays import Split  # noqa: E402
from detector.networks import cost  # noqa: E402
from detector.networks.backbones import BACKBONES  # noqa: E402
from detector.networks.gradcam import grad_cam  # noqa: E402
from detector.networks.model import build_model, load_trained, save_weights  # noqa: E402
from detector.networks.training import train  # noqa: E402
from detector.params import validate  # noqa: E402
from tests.helpers import composed_params, random_pixels  # noqa: E402
from tests.model_files import settings  # noqa: E402

OF_KERAS = sorted(name for name, backbone in BACKBONES.items() if backbone.module)
COLOUR = np.array([10.0, 20.0, 30.0])
# Of ImageNet, of 0 to 1: torchvision's, which Keras' mode torch has, too.
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CAFFE = COLOUR[::-1] - [103.939, 116.779, 123.68]  # blue, green, red
TF = COLOUR / 127.5 - 1
TORCH = (COLOUR / 255 - MEAN) / DEVIATION
TRAINED_WITH = {
    "resnet50": CAFFE, "resnet50v2": TF, "inceptionv3": TF, "mobilenetv3_large": TF,
    "densenet121": TORCH, "efficientnetv2b0": TORCH, "convnext_tiny": TORCH,
}  # fmt: skip


def before_the_first_weights(backbone, pixels):
    """Give what the first layer with weights is given, in the middle of the image."""
    first = next(layer for layer in backbone.layers if layer.weights)
    found = keras.Model(backbone.input, first.input)(pixels)
    middle = found.shape[1] // 2
    return keras.ops.convert_to_numpy(found)[0, middle, middle]


@pytest.mark.parametrize("name", OF_KERAS)
def test_what_reaches_the_first_weights(name):
    chosen = settings(name)
    side = chosen.input_pixels
    picture = np.broadcast_to(COLOUR.astype(np.uint8), (1, side, side, 3))
    for preprocessing, wanted in (("rescale", COLOUR / 255), ("imagenet", TRAINED_WITH[name])):
        model = build_model(chosen.model_copy(update={"preprocessing": preprocessing}), side)
        x = keras.ops.convert_to_tensor(picture)
        for layer in model.layers[1:]:
            if isinstance(layer, keras.Model):
                assert before_the_first_weights(layer, x) == pytest.approx(wanted, abs=1e-4)
                break
            x = layer(x)


@pytest.mark.parametrize("name", [name for name in OF_KERAS if BACKBONES[name].mode])
def test_it_is_what_keras_does_inside_of_them(name):
    backbone = BACKBONES[name]
    whole = getattr(keras.applications, backbone.constructor)(
        include_top=False, weights=None, input_shape=(32, 32, 3)
    )
    pixels = np.broadcast_to(COLOUR.astype(np.float32), (1, 32, 32, 3))
    ours = backbone.imagenet_preprocessing(keras.ops.convert_to_tensor(pixels))
    theirs = before_the_first_weights(whole, pixels)
    assert keras.ops.convert_to_numpy(ours)[0, 0, 0] == pytest.approx(theirs, abs=1e-5)
    assert whole.count_params() == backbone.build(32, None).count_params()


@pytest.fixture
def eager():
    """Run without a graph: compiling such a step takes half a minute or more, one step seconds."""
    if keras.backend.backend() != "tensorflow":
        yield
        return
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.mark.filterwarnings("ignore:Even though the `tf.config")  # of the fixture `eager`
@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [
        "efficientnetv2b0",
        "convnext_tiny",
        "mobilenetv3_large",
        # of kinds of layers that the others have, too
        pytest.param("resnet50v2", marks=pytest.mark.soak),
        pytest.param("densenet121", marks=pytest.mark.soak),
    ],
)
def test_a_step_and_back_from_a_file(tmp_path, name, eager):
    """By train=tuned, with random weights at the smallest input; its second phase alone."""
    short = {"epochs": 1, "head_epochs": 0, "steps_per_epoch": 1, "batch_size": 4}
    short |= {"warmup": 0.0, "model_defaults.weights": "none"}
    short |= {"model_defaults.input_size": "minimum"}
    overrides = [f"train.{key}={value}" for key, value in short.items()]
    params = validate(composed_params(tmp_path, f"model={name}", "train=tuned", *overrides))
    chosen = params.model[name]
    assert chosen.input_pixels == BACKBONES[name].minimum_size == 32
    images = np.stack([random_pixels(i) for i in range(4)])
    labels = (np.arange(4) % 2).astype(np.uint8)
    split = Split(images, labels, np.full(4, -1, np.int8), np.array([b"x"] * 4))
    start_keras(1)
    model = build_model(chosen, 32, params.train.augmentation, seed=1)
    before = [w.numpy().copy() for w in model.trainable_weights]
    history = train(model, split, split, params.train, chosen.learning_rate, 1, [], verbose=0)
    assert np.isfinite(history["loss"]).all() and np.isfinite(history["val_loss"]).all()
    assert history["learning_rate"] == [pytest.approx(chosen.learning_rate)]
    moved = [not np.array_equal(b, w) for b, w in zip(before, model.trainable_weights, strict=True)]
    assert np.mean(moved) > 0.9  # some kernels only ever see padding at this size

    said = model.predict(images, verbose=0)
    path = tmp_path / f"{name}.weights.h5"
    save_weights(model, path)
    again = load_trained(str(path), chosen, 32)
    assert np.array_equal(again.predict(images, verbose=0), said)

    # With weights by chance all evidence can speak for one class; for one of the two it does.
    heat = np.stack([grad_cam(again, images, called=np.full(4, label)) for label in (0, 1)])
    assert heat.shape == (2, 4, 32, 32) and np.isfinite(heat).all()
    assert (heat.max(axis=(0, 2, 3)) == 1).all()
    assert cost.size(again)["uncounted_layers"] == []
