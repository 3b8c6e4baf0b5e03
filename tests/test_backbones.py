"""The backbones of keras.applications: what reaches their weights; a step, and back from a file."""

import keras.applications
import numpy as np
import pytest

from detector.networks.runtime import start_keras

start_keras(seed=1)

import keras  # noqa: E402

from detector.base.arrays import Split  # noqa: E402
from detector.diagnosis import cost  # noqa: E402
from detector.diagnosis.gradcam import grad_cam  # noqa: E402
from detector.networks import builders  # noqa: E402
from detector.networks.model import build_model, load_trained, save_weights  # noqa: E402
from detector.params import validate  # noqa: E402
from detector.training.fit import train  # noqa: E402
from tests.helpers import composed_params, random_pixels  # noqa: E402
from tests.model_files import settings  # noqa: E402

COLOUR = np.array([10.0, 20.0, 30.0])
# Of ImageNet, of 0 to 1: torchvision's, which Keras' mode torch has, too.
MEAN, DEVIATION = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
CAFFE = COLOUR[::-1] - [103.939, 116.779, 123.68]  # blue, green, red
TF = COLOUR / 127.5 - 1
TORCH = (COLOUR / 255 - MEAN) / DEVIATION
TRAINED_WITH = {
    "resnet50": CAFFE, "resnet50v2": TF, "inceptionv3": TF, "mobilenetv2": TF,
    "mobilenetv3_large": TF,
    "densenet121": TORCH, "efficientnetv2b0": TORCH, "convnext_tiny": TORCH,
}  # fmt: skip
OF_KERAS = sorted(TRAINED_WITH)


def before_the_first_weights(backbone, pixels):
    """Give what the first layer with weights is given, in the middle of the image."""
    first = next(layer for layer in backbone.layers if layer.weights)
    found = keras.Model(backbone.input, first.input)(pixels)
    middle = found.shape[1] // 2
    return keras.ops.convert_to_numpy(found)[0, middle, middle]


@pytest.mark.parametrize("name", OF_KERAS)
def test_what_reaches_the_first_weights(name):
    chosen = settings(name)
    side = builders.input_pixels(chosen)
    picture = np.broadcast_to(COLOUR.astype(np.uint8), (1, side, side, 3))
    for preprocessing, wanted in (("rescale", COLOUR / 255), ("imagenet", TRAINED_WITH[name])):
        model = build_model(chosen.model_copy(update={"preprocessing": preprocessing}), side)
        x = keras.ops.convert_to_tensor(picture)
        for layer in model.layers[1:]:
            if isinstance(layer, keras.Model):
                assert before_the_first_weights(layer, x) == pytest.approx(wanted, abs=1e-4)
                break
            x = layer(x)


@pytest.mark.parametrize("name", OF_KERAS)
def test_a_backbone_keeps_its_pixels_in_float32_at_half_precision(name):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        network = builders.build(
            settings(name).model_copy(update={"preprocessing": "imagenet"}), None
        )
    finally:
        keras.config.set_dtype_policy("float32")
    scaling = (keras.layers.Rescaling, keras.layers.Normalization)
    first = [layer for layer in network.layers[:4] if isinstance(layer, scaling)]
    itself = builders.preprocesses_itself(settings(name).builder)
    assert bool(first) == itself and all(layer.compute_dtype == "float32" for layer in first)
    assert network.layers[-1].compute_dtype == "bfloat16"


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
        pytest.param("convnext_tiny", marks=pytest.mark.soak),
        pytest.param("mobilenetv3_large", marks=pytest.mark.soak),
        # of kinds of layers that the others have, too
        pytest.param("resnet50v2", marks=pytest.mark.soak),
        pytest.param("densenet121", marks=pytest.mark.soak),
    ],
)
def test_a_step_and_back_from_a_file(tmp_path, name, eager):
    """By train=tuned, with random weights at the smallest input; its second phase alone."""
    short = {"epochs": 1, "head_epochs": 0, "steps_per_epoch": 1, "batch_size": 4}
    short |= {"warmup": 0.0}
    overrides = [f"train.{key}={value}" for key, value in short.items()]
    overrides += ["transfer.weights=none", "transfer.input_size=minimum"]
    params = validate(composed_params(tmp_path, f"model={name}", "train=tuned", *overrides))
    chosen = params.model[name]
    assert builders.input_pixels(chosen) == 32
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
    heat = np.stack([grad_cam(again, images, predicted=np.full(4, label)) for label in (0, 1)])
    assert heat.shape == (2, 4, 32, 32) and np.isfinite(heat).all()
    assert (heat.max(axis=(0, 2, 3)) == 1).all()
    assert cost.size(again)["uncounted_layers"] == []
