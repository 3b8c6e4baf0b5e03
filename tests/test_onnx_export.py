"""ONNX Runtime says what Keras says, of every kind of network that this repository makes."""

import json
import re
from dataclasses import asdict

import numpy as np
import pytest
from scipy.special import expit

from detector.networks.runtime import start_keras

start_keras(seed=1)

import keras  # noqa: E402
import onnx  # noqa: E402
import onnxruntime  # noqa: E402

from detector.base.errors import ExpectedError  # noqa: E402
from detector.deployment.model_archive import DecisionRule  # noqa: E402
from detector.evaluation.calibration import logit  # noqa: E402
from detector.evaluation.decision import Decision  # noqa: E402
from detector.networks.model import build_model  # noqa: E402
from detector.onnx.export import bounds, export, metadata  # noqa: E402
from detector.onnx.graph import Graph, UnknownLayer, Value  # noqa: E402
from detector.onnx.layers import LAYERS  # noqa: E402
from detector.prediction.detector import Detector  # noqa: E402
from tests.model_files import DECISION, described, noisy_images, settings, spread  # noqa: E402

IMAGENET = {"preprocessing": "imagenet"}


def untrained(images, backbone="cnn32", **changes):
    """Give a Detector with random weights that tells `images` apart."""
    chosen = settings(backbone).model_copy(update={"weights": "none", **changes})
    side = images.shape[1]
    keras.utils.set_random_seed(1)
    model = build_model(chosen, side)
    if not chosen.own:
        normalise(model, images, momentum=0 if backbone == "mobilenetv3_large" else 0.1)
    said = spread(model, images, centred=False)
    assert said.std() > 0.01  # else a file with one answer for all would agree
    return Detector(described(name=backbone, settings=chosen, image_size=side), model, DECISION)


def normalise(model, images, momentum):
    """Let BatchNormalization have the images' statistics; else all are alike to deep networks.

    With momentum 0 channels that are all alike enlarge rounding: EfficientNetV2-B0 in float32 is
    5e-4 from itself in float64. With 0.1 MobileNetV3 gives all images one probability, to 7e-7.
    """
    layers = [x for x in model._flatten_layers() if isinstance(x, keras.layers.BatchNormalization)]
    momenta = [layer.momentum for layer in layers]
    for layer in layers:
        layer.momentum = momentum
    model(images, training=True)
    for layer, its_own in zip(layers, momenta, strict=True):
        layer.momentum = its_own


def running(path):
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def agrees(detector, path, images):
    export(detector, path)
    (said,) = running(path).run(None, {"images": images})
    assert (said.dtype, said.shape) == (np.float32, (len(images),))
    assert said == pytest.approx(detector.predict(images).raw, abs=1e-4)


@pytest.mark.parametrize(
    ("backbone", "changes"),
    [
        ("cnn32", {"dense_units": 8, "dropout": 0.5, "pooling": "max"}),
        ("bird_lotfi", {}),
        pytest.param("resnet50", IMAGENET, marks=pytest.mark.slow),
        pytest.param("inceptionv3", IMAGENET, marks=pytest.mark.soak),
        pytest.param("efficientnetv2b0", IMAGENET, marks=pytest.mark.slow),
        # Of kinds of layers that others have: not in every run.
        pytest.param("resnet50v2", IMAGENET, marks=pytest.mark.soak),
        pytest.param("densenet121", IMAGENET, marks=pytest.mark.soak),
        pytest.param("convnext_tiny", IMAGENET, marks=pytest.mark.slow),
        pytest.param("mobilenetv3_large", IMAGENET, marks=pytest.mark.soak),
    ],
)
def test_each_backbone(tmp_path, backbone, changes):
    images = noisy_images(20)
    agrees(untrained(images, backbone, **changes), tmp_path / "a.onnx", images)


@pytest.mark.parametrize("scale", [True, False])
def test_layers_that_work_on_each_place_of_a_map(tmp_path, scale):
    pixels, layers = keras.Input((8, 8, 3)), keras.layers
    rng = np.random.default_rng(0)
    x = layers.Dense(6, activation="gelu")(pixels)
    normalise = layers.LayerNormalization(scale=scale)
    x = layers.ReLU(max_value=0.7)(0.5 * normalise(x) + 0.1)
    x = keras.Sequential([layers.Conv2D(6, 2, activation="hard_swish")])(x)
    detector = around(keras.Model(pixels, x + 2.0), images := noisy_images(20, 8))
    normalise.set_weights([rng.uniform(0.5, 1.5, w.shape) for w in normalise.get_weights()])
    agrees(detector, tmp_path / "a.onnx", images)


@pytest.mark.parametrize("kind", ["Add", "Dense", "LayerNormalization"])
def test_shapes_that_are_not_known_are_refused(kind):
    vector = Value("v", (None, 3))
    values = {
        "Add": [Value("m", (None, 4, 4, 3)), vector],
        "Dense": [Value("s", (None, 4, 3))],
        "LayerNormalization": [vector],
    }[kind]
    layer = getattr(keras.layers, kind)(*([2] if kind == "Dense" else []), name="it")
    layer.build([each.shape for each in values] if kind == "Add" else values[0].shape)
    with pytest.raises(UnknownLayer, match="its layer it takes"):
        LAYERS[kind](Graph(), layer, values)


@pytest.mark.parametrize("resize", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [20, 32, 50])
def test_each_way_to_resize(tmp_path, resize, size):
    images = noisy_images(20, size)
    agrees(untrained(images, resize=resize), tmp_path / "a.onnx", images)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [9, 10])
def test_windows_stand_where_keras_puts_them(tmp_path, stride, padding, size):
    pixels, layers = keras.Input((size, size, 3)), keras.layers
    where = {"strides": stride, "padding": padding}
    x = layers.Conv2D(6, (3, 2), activation="silu", **where)(pixels)
    y = layers.concatenate(
        [
            layers.MaxPooling2D(3, **where)(pixels),
            layers.AveragePooling2D(3, **where)(pixels),
            layers.DepthwiseConv2D(3, depth_multiplier=2, **where)(pixels),
        ]
    )
    z = layers.Conv2D(5, (2, 3), dilation_rate=2, padding=padding, use_bias=False)(pixels)
    x = layers.concatenate(
        [
            layers.GlobalAveragePooling2D()(x),
            layers.GlobalMaxPooling2D()(z),
            layers.Flatten()(layers.ZeroPadding2D((1, 2))(y)),
        ]
    )
    backbone = keras.Model(pixels, layers.Reshape((1, 1, -1))(x))
    images = noisy_images(20, size)
    agrees(around(backbone, images), tmp_path / "a.onnx", images)


def around(backbone, images):
    """Put a backbone where build_model puts it."""
    pictures = keras.Input(images.shape[1:], dtype="uint8")
    x = backbone(keras.layers.Rescaling(1 / 255, offset=[0.1, 0.2, 0.3])(pictures))
    x = keras.layers.Dense(1, activation="sigmoid")(keras.layers.Flatten()(x))
    model = keras.Model(pictures, x)
    spread(model, images, centred=False)
    return Detector(described(image_size=images.shape[1]), model, DECISION)


def test_any_number_of_images_in_one_file_that_is_valid(tmp_path):
    images = noisy_images(20)
    detector = untrained(images)
    export(detector, tmp_path / "a.onnx")
    onnx.checker.check_model(str(tmp_path / "a.onnx"), full_check=True)
    session = running(tmp_path / "a.onnx")
    (put,), (got,) = session.get_inputs(), session.get_outputs()
    assert (put.name, put.type, put.shape) == ("images", "tensor(uint8)", ["N", 32, 32, 3])
    assert (got.name, got.type, got.shape) == ("probability_of_real", "tensor(float)", ["N"])
    for n in (1, 7, 20):
        (said,) = session.run(None, {"images": images[:n]})
        assert said == pytest.approx(detector.predict(images[:n]).raw, abs=1e-4)


def test_equal_networks_make_equal_bytes_whatever_was_done_with_them(tmp_path):
    images = noisy_images(20)
    export(untrained(images), tmp_path / "a.onnx")
    other = untrained(images)
    other.explain(images[:2], [0, 1])
    export(other, tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_the_metadata_say_how_to_calibrate_and_decide(tmp_path):
    images = noisy_images(20)
    detector = untrained(images)
    export(detector, tmp_path / "a.onnx")
    session = running(tmp_path / "a.onnx")
    said = session.get_modelmeta().custom_metadata_map
    assert json.loads(said["model.json"]) == json.loads(detector.description.model_dump_json())
    assert said["classes"] == "0 = FAKE, 1 = REAL"

    (output,) = session.run(None, {"images": images})
    expected = detector.predict(images)
    assert calibrated_as_said(said, output) == pytest.approx(expected.probability, abs=1e-4)
    low, high = (float(said[key]) for key in ("fake_below", "real_from"))
    assert said["verdict"] == (f"FAKE if output < {low!r}, REAL if output >= {high!r}, else UNSURE")
    assert (low, high) == bounds(DECISION)
    edges = logit(DECISION.threshold) + DECISION.abstain * np.array([-1, 1])
    assert (low, high) == pytest.approx(tuple(expit(edges * DECISION.temperature)), rel=1e-6)


def calibrated_as_said(said, output):
    names = {
        "output": output.astype(float), "min": np.minimum, "max": np.maximum, "log": np.log,
        "sigmoid": expit,
    }  # fmt: skip
    for line in said["calibration"].split("; "):
        name, formula = line.split(" = ")
        names[name] = eval(formula, {}, names)
    return names["calibrated"]


def made_decision(rng):
    """Give some outputs of a network, and a decision that may lie exactly on one of them."""
    outputs = expit(rng.normal(0, 8, 60)).astype(np.float32)
    temperature = rng.choice([1.0, np.exp(rng.uniform(-5, 5))])
    calibrated = Decision(temperature, "made", 0.5, 0, 0.01, 1).calibrate(outputs)
    threshold = rng.choice([0.0, 0.5, 1.0, rng.uniform(), rng.choice(calibrated)])
    distance = np.abs(logit(calibrated) - logit(threshold))
    band = rng.choice([0.0, np.inf, rng.exponential(), rng.choice(distance)])
    band = None if band == np.inf else float(band)
    return outputs, Decision(float(temperature), "made", float(threshold), band, 0.01, 1)


def test_the_verdict_of_the_metadata_is_that_of_the_decision():
    rng = np.random.default_rng(0)
    answered = 0
    for _ in range(300):
        outputs, decision = made_decision(rng)
        rule = DecisionRule(**asdict(decision))
        said = metadata(Detector(described(decision=rule), None, DECISION))
        bits = [np.float32(float(said[key])).view(np.int32) for key in ("fake_below", "real_from")]
        near = np.concatenate([each + np.arange(-30, 31) for each in bits]).astype(np.int32)
        near = near.view(np.float32)
        asked = np.concatenate([outputs, [0, 1, 1e-8, 1 - 6e-8], near[(near >= 0) & (near <= 1)]])
        asked = asked.astype(np.float32)
        calibrated = decision.calibrate(asked.astype(float))
        names = {"output": asked, "inf": np.inf}
        conditions = re.fullmatch("FAKE if (.+), REAL if (.+), else UNSURE", said["verdict"])
        fake, real = (eval(condition, {}, names) for condition in conditions.groups())
        assert not (fake & real).any()
        found = np.where(fake, "FAKE", np.where(real, "REAL", "UNSURE"))
        assert found.tolist() == decision.verdicts(calibrated).tolist(), decision
        assert calibrated_as_said(said, asked) == pytest.approx(calibrated, rel=1e-12)
        answered += len(asked)
    assert answered > 27_000


def test_where_nothing_is_sure_there_are_no_bounds():
    rule = described().decision.model_copy(update={"abstain": None})
    said = metadata(Detector(described(decision=rule), None, DECISION))
    assert said["verdict"] == "FAKE if output < 0.0, REAL if output >= inf, else UNSURE"


@pytest.mark.parametrize(
    ("layer", "text"),
    [
        (keras.layers.Conv2DTranspose(2, 3, name="up"), "its layer up is of the kind"),
        (keras.layers.ReLU(negative_slope=0.1, name="six"), "its layer six is no plain ReLU"),
        (keras.layers.Activation("tanh", name="t"), "its layer t has the activation tanh"),
        (keras.ops.square, "its layer square"),
        (keras.layers.LayerNormalization(axis=1, name="l"), "its layer l works along axis"),
        (keras.layers.Reshape((4, 1, 48), name="r"), "its layer r makes"),
        (keras.layers.BatchNormalization(axis=1, name="b"), "its layer b works along axis 1"),
        (keras.layers.Resizing(4, 4, "area", name="z"), "its layer z resizes by area"),
    ],
)
def test_a_layer_that_is_not_known_is_named_in_one_sentence(tmp_path, layer, text):
    pixels = keras.Input((8, 8, 3))
    x = keras.layers.Resizing(8, 8)(pixels)
    detector = around(keras.Model(pixels, layer(x)), noisy_images(20, 8))
    with pytest.raises(ExpectedError) as raised:
        export(detector, tmp_path / "a.onnx")
    assert text in str(raised.value) and "\n" not in str(raised.value)
    assert not (tmp_path / "a.onnx").exists()
