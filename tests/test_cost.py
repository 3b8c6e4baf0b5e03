"""Counts against TensorFlow's profiler, hand counts and published numbers; the clock."""

import numpy as np
import pytest

from detector.networks.runtime import start_keras

start_keras(seed=1)

import keras  # noqa: E402

from detector.diagnosis.cost import (  # noqa: E402
    inference_rate,
    size,
)
from detector.training.clock import EpochClock  # noqa: E402

layers = keras.layers


def every_kind(pixels, groups):
    """A nested network with each kind of layer that counts."""
    inputs = keras.Input((pixels, pixels, 4))
    x = layers.Conv2D(8, 3, padding="same")(inputs)
    x = layers.Conv2D(12, (3, 5), strides=2, groups=groups, padding="same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    x = layers.PReLU(shared_axes=[1, 2])(x)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2)(x)
    inner = keras.Sequential([keras.Input(x.shape[1:]), layers.SeparableConv2D(6, 3, strides=2)])
    x = inner(x)
    x = layers.Conv2D(6, 3, dilation_rate=2, padding="same")(x)
    return keras.Model(inputs, layers.Add()([x, x]))


def outer(pixels=32, groups=4):
    inputs = keras.Input((pixels, pixels, 4))
    x = layers.GlobalAveragePooling2D()(every_kind(pixels, groups)(inputs))
    x = layers.Dense(20, activation="relu")(x)
    return keras.Model(inputs, layers.Dense(1)(x))


def profiled(model):
    """Sum TensorFlow's own count over convolutions and matrix products."""
    import tensorflow as tf
    from tensorflow.python.framework.convert_to_constants import (
        convert_variables_to_constants_v2,
    )

    signature = tf.TensorSpec((1, *model.input_shape[1:]), model.inputs[0].dtype)
    function = tf.function(lambda x: model(x, training=False)).get_concrete_function(signature)
    frozen = convert_variables_to_constants_v2(function).graph.as_graph_def()
    graph = tf.Graph()
    with graph.as_default():  # importing infers the shapes that inlining lost
        tf.graph_util.import_graph_def(frozen)
    operations = tf.compat.v1.profiler.ProfileOptionBuilder.float_operation()
    operations = {**operations, "output": "none"}
    root = tf.compat.v1.profiler.profile(graph, cmd="op", options=operations)
    counted = ("Conv2D", "DepthwiseConv2dNative", "MatMul")
    found, node = 0, root
    while node.children:  # a chain, each with the total of the rest
        node = node.children[0]
        if node.name in counted:
            found += node.float_ops
    return found


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow's profiler")
def test_every_kind_against_the_profiler():
    model = outer(groups=1)  # the profiler does not look into the function that Keras makes of more
    counts = size(model)
    assert counts["flops_per_image"] == profiled(model)
    assert counts["uncounted_layers"] == []


def test_every_kind_by_hand():
    side = 32
    multiply_adds = side**2 * 9 * 4 * 8
    multiply_adds += 16**2 * 15 * 2 * 12
    multiply_adds += 14**2 * 9 * 12 * 2
    multiply_adds += 6**2 * (9 * 24 + 24 * 6)
    multiply_adds += 6**2 * 9 * 6 * 6
    multiply_adds += 6 * 20 + 20
    assert size(outer())["flops_per_image"] == 2 * multiply_adds


def test_transposed_convolution():
    # Each pixel of the input meets the whole kernel.
    model = keras.Sequential(
        [keras.Input((8, 8, 3)), layers.Conv2DTranspose(5, 4, strides=2, padding="same")]
    )
    assert size(model)["flops_per_image"] == 2 * 8 * 8 * 4 * 4 * 3 * 5


def test_each_use_of_a_shared_layer_counts():
    inputs = keras.Input((8, 8, 3))
    shared = layers.Conv2D(3, 3, padding="same")
    model = keras.Model(inputs, shared(shared(inputs)))
    counts = size(model)
    assert counts["flops_per_image"] == 2 * 2 * 64 * 9 * 3 * 3
    assert counts["parameters"] == 9 * 3 * 3 + 3


def test_counting_changes_nothing():
    model = outer()
    images = np.random.default_rng(0).random((2, 32, 32, 4), np.float32)
    before = model.predict(images, verbose=0)
    first = size(model)
    assert size(model) == first
    assert np.array_equal(before, model.predict(images, verbose=0))
    model.layers[-1].trainable = False
    after = size(model)
    assert first["parameters"] == after["parameters"] == model.count_params()
    assert after["trainable_parameters"] == first["trainable_parameters"] - 21


def test_what_is_not_counted_is_named():
    inputs = keras.Input((6, 4))
    attention = layers.MultiHeadAttention(2, 2, name="attention")
    model = keras.Model(inputs, attention(inputs, inputs))
    assert size(model)["uncounted_layers"] == ["attention"]


def test_no_fixed_size():
    inputs = keras.Input((None, None, 3))
    with pytest.raises(ValueError, match=r"first: .* no fixed size"):
        size(keras.Model(inputs, layers.Conv2D(1, 3, name="first")(inputs)))


@pytest.mark.parametrize(
    ("name", "pixels", "multiply_adds", "parameters"),
    [
        # K. He et al. 2016, table 1: 3.8e9; Keras has strides in the 1x1 kernels, as they do.
        ("ResNet50", 224, 3.86e9, 25_636_712),
        ("InceptionV3", 299, 5.72e9, 23_851_784),  # torchvision's table of weights: 5.71
        ("MobileNetV2", 224, 300e6, 3_538_984),  # M. Sandler et al. 2018, table 4
    ],
)
def test_published_numbers(name, pixels, multiply_adds, parameters):
    model = getattr(keras.applications, name)(weights=None, input_shape=(pixels, pixels, 3))
    counts = size(model)
    assert counts["flops_per_image"] / 2 == pytest.approx(multiply_adds, rel=0.02)
    assert counts["parameters"] == parameters
    assert counts["uncounted_layers"] == []


class Seconds:
    """A clock that a test sets forward."""

    def __init__(self):
        self.now = 100.0

    def __call__(self):
        return self.now


class Passing(keras.callbacks.Callback):
    """Let time pass: `training` seconds in each epoch's batches, `validation` after them."""

    def __init__(self, clock, training, validation):
        super().__init__()
        self.clock, self.training, self.validation = clock, iter(training), validation

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:
            self.clock.now += next(self.training)

    def on_test_batch_begin(self, batch, logs=None):
        self.clock.now += self.validation


def fit(training, validation=True):
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1, activation="sigmoid")])
    model.compile("sgd", "binary_crossentropy", metrics=["accuracy"])
    clock = Seconds()
    timer = EpochClock(clock)
    x, y = np.ones((40, 3)), np.ones((40, 1))
    model.fit(
        x, y, batch_size=8, epochs=len(training), verbose=0,
        validation_data=(x[:4], y[:4]) if validation else None,
        callbacks=[Passing(clock, training, 3.0), timer],
    )  # fmt: skip
    return timer


def test_clock():
    timer = fit([50.0, 2.0, 4.0, 10.0])
    assert [epoch.training for epoch in timer.epochs] == [50, 2, 4, 10]
    assert [epoch.ended for epoch in timer.epochs] == [53, 58, 65, 78]
    assert [epoch.steps for epoch in timer.epochs] == [5] * 4
    report = timer.report({"val_accuracy": [0.1, 0.9, 0.987654, 0.987654]}, 8)
    assert report == {
        "train_images_per_second": 10.0,  # the median of 20, 10 and 4
        "seconds_total": 78.0,
        "seconds_to_best_validation": 65.0,
        "best_val_accuracy": 0.9877,
    }


def test_clock_of_one_epoch():
    report = fit([7.0]).report({"val_accuracy": [0.5]}, 8)
    assert report["train_images_per_second"] == 5.714
    assert report["seconds_total"] == report["seconds_to_best_validation"] == 10.0


def test_clock_without_validation_and_a_history_of_other_epochs():
    timer = fit([7.0, 8.0], validation=False)
    assert [epoch.training for epoch in timer.epochs] == [7, 8]
    with pytest.raises(ValueError, match="2 epochs timed, 1 in"):
        timer.report({"val_accuracy": [0.5]}, 8)


def test_a_real_clock_runs():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(1)])
    model.compile("sgd", "mse")
    timer = EpochClock()
    model.fit(np.ones((8, 3)), np.ones((8, 1)), epochs=2, verbose=0, callbacks=[timer])
    first, second = timer.epochs
    assert 0 < first.training <= first.ended < second.ended < 60


def test_the_inference_rate_is_of_the_median_call():
    class Model:
        calls = 0

        def predict_on_batch(self, batch):
            assert len(batch) == 4
            self.calls += 1

    ticks = iter([0, 1, 10, 12, 20, 25, 30, 32])  # calls of 1, 2, 5 and 2 seconds
    model = Model()
    found = inference_rate(model, np.zeros((9, 2, 2, 3), np.uint8), 4, 9, lambda: next(ticks))
    assert found == {"inference_images_per_second": 2.0, "batch_size": 4}
    assert model.calls == 5, "the first one, which compiles, is not timed"
