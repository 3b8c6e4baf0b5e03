"""Batch against moving statistics, in networks small enough to be reckoned by hand."""

import numpy as np
import pytest

from detector.networks.runtime import start_keras

start_keras(seed=1)

import keras  # noqa: E402

from detector.diagnosis.normalization import (  # noqa: E402
    accuracies,
    activations,
    diagnosis,
    layer_statistics,
    summary,
)

layers = keras.layers
DARK, BRIGHT = 60, 120


def shades(n, size=8):
    """Give n images, by turns dark ones that are FAKE and bright ones that are REAL."""
    labels = np.arange(n) % 2
    grey = np.where(labels, BRIGHT, DARK) + np.arange(n) // 2 % 5  # some spread in each class
    return np.tile(grey[:, None, None, None].astype(np.uint8), (1, size, size, 3)), labels


def network(*chain, size=8):
    """Say REAL of what is above 0 behind the backbone `chain`."""
    pixels = keras.Input((size, size, 3))
    maps = pixels
    for layer in chain:
        maps = layer(maps)
    images = keras.Input((size, size, 3), dtype="uint8")
    x = keras.Model(pixels, maps)(layers.Rescaling(1.0)(images))
    x = layers.Dropout(0.9)(layers.GlobalAveragePooling2D()(x))
    head = layers.Dense(1, activation="sigmoid", kernel_initializer="ones")
    return keras.Model(images, head(x))


def normalizing(mean, variance, **options):
    """Give a BatchNormalization layer with these moving statistics in all channels."""
    layer = layers.BatchNormalization(**options)
    layer.build((None, 8, 8, 3))
    layer.moving_mean.assign([mean] * 3)
    layer.moving_variance.assign([variance] * 3)
    return layer


def test_statistics_that_have_not_arrived_make_a_network_answer_by_chance():
    model = network(normalizing(0.0, 1.0))
    kept = [value.numpy() for value in model.weights]
    # Everything is above a mean of 0, so all are REAL; within a batch the bright ones are.
    assert accuracies(model, *shades(70), batch_size=32) == {"moving": 0.5, "batch": 1.0}
    for before, after in zip(kept, model.weights, strict=True):
        np.testing.assert_array_equal(before, after.numpy())


def test_statistics_that_have_arrived_answer_as_in_training():
    model = network(normalizing((DARK + BRIGHT) / 2, 900.0))
    assert accuracies(model, *shades(64), batch_size=32) == {"moving": 1.0, "batch": 1.0}


def test_a_frozen_layer_answers_the_same_both_ways():
    model = network(normalizing(0.0, 1.0, trainable=False))
    assert accuracies(model, *shades(64), batch_size=32) == {"moving": 0.5, "batch": 0.5}


def test_distances_by_hand():
    images, _ = shades(10)
    first = normalizing(50.0, 400.0, epsilon=1.0)
    second = normalizing(1.0, 4.0, epsilon=1e-9, trainable=False)
    found = layer_statistics(network(first, second), images)
    values = images[:, 0, 0, 0].astype(float)
    assert [each.learns for each in found] == [True, False]
    assert found[0].mean == pytest.approx(abs(50 - values.mean()) / np.sqrt(401), rel=1e-5)
    assert found[0].variance == pytest.approx(abs(np.log(401 / (values.var() + 1))), rel=1e-5)
    # The second gets what the first gives after training, by its moving statistics.
    normalized = (values - 50) / np.sqrt(401)
    assert found[1].mean == pytest.approx(abs(1 - normalized.mean()) / 2, rel=1e-4)
    assert found[1].variance == pytest.approx(abs(np.log(4 / normalized.var())), rel=1e-4)


def halving():
    return network(*(layers.Rescaling(0.5) for _ in range(4)))


def test_activations_by_hand():
    images, _ = shades(10)
    found = activations(halving(), images)
    assert list(found) == ["quarter", "half", "end"]
    values = images[:, 0, 0, 0].astype(float)
    # The input is the first of five layers with maps: one, two (of 2.5) and four of them halve.
    for name, scale in (("quarter", 1.0), ("half", 0.5), ("end", 1 / 16)):
        assert found[name]["mean"] == pytest.approx(scale * values.mean(), rel=1e-5)
        assert found[name]["std"] == pytest.approx(scale * values.std(), rel=1e-5)
        assert found[name]["spread"] == pytest.approx(scale * values.std(), rel=1e-5)
    same = activations(halving(), images[:1].repeat(4, axis=0))
    assert same["end"]["spread"] == 0.0


def test_the_diagnosis_has_all_of_it():
    images, labels = shades(64)
    found = diagnosis(network(normalizing(0.0, 1.0)), images, labels, batch_size=32)
    assert found["accuracy"] == {"moving": 0.5, "batch": 1.0}
    (layer,) = found["layers"]
    assert layer["learns"] and layer["mean"] > 50 and layer["variance"] > 5
    # Of REAL images only: the mean of the bright ones, as moving statistics leave it.
    real = images[labels == 1][:32, 0, 0, 0].astype(float)
    assert found["activations_of_real"]["end"]["mean"] == pytest.approx(real.mean(), rel=1e-2)


def test_the_summary_is_of_the_layers_that_learn():
    layers = [
        {"layer": str(i), "learns": learns, "mean": mean, "variance": 2 * mean}
        for i, (learns, mean) in enumerate([(False, 9.0), (True, 1.0), (True, 1 / 3), (True, 4.0)])
    ]
    end = {"layer": "x", "mean": 1 / 3, "std": 1.0, "spread": 0.0}
    found = {
        "accuracy": {"moving": 2 / 3, "batch": 1.0},
        "activations_of_real": {"end": end},
        "layers": layers,
    }
    assert summary(found) == {
        "accuracy": {"moving": 0.666667, "batch": 1.0},
        "layers": 4,
        "layers_that_learn": 3,
        "mean_apart": 1.0,
        "variance_apart": 2.0,
        "activations_of_real": {"end": end | {"mean": 0.333333}},
    }
    alone = summary(found | {"layers": layers[:1]})
    assert alone["mean_apart"] is None and alone["layers_that_learn"] == 0


def test_a_network_without_a_backbone_is_refused():
    images = keras.Input((8, 8, 3), dtype="uint8")
    model = keras.Model(images, layers.Dense(1)(layers.Flatten()(layers.Rescaling(1.0)(images))))
    with pytest.raises(ValueError, match="nested backbone"):
        accuracies(model, *shades(64))
