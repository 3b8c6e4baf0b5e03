"""Metrics against values worked out by hand, and against scikit-learn's on other views."""

import json
import warnings

import numpy as np
import pytest
from sklearn import metrics as sk

from detector.base.layout import CIFAR_CLASSES
from detector.evaluation.metrics import (
    CURVE_POINTS,
    accuracy_by_cifar_class,
    classification_metrics,
    confusion_table,
    log_loss,
    precision_recall_table,
    roc_table,
    rounded,
)

# 4 FAKE, 6 REAL. At 0.5 one FAKE and four REAL are called REAL; 0.5 itself is.
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1, 1], np.uint8)
PROBABILITIES = np.array([0.1, 0.2, 0.3, 0.6, 0.4, 0.45, 0.5, 0.7, 0.8, 0.9], np.float32)


def made_up(n, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n).astype(np.uint8)
    return labels, np.clip(rng.normal(0.4 + 0.2 * labels, 0.2), 0, 1).astype(np.float32)


def test_the_confusion_as_a_table():
    """At 0.65 every FAKE and three of six REAL are called FAKE; at 0.7 its own image is REAL."""
    table = confusion_table(LABELS, PROBABILITIES, 0.65)
    assert list(table.columns) == ["actual", "predicted", "count", "share", "threshold"]
    assert table.to_numpy().tolist() == [
        ["REAL", "REAL", 3, 0.5, 0.65],
        ["REAL", "FAKE", 3, 0.5, 0.65],
        ["FAKE", "REAL", 0, 0.0, 0.65],
        ["FAKE", "FAKE", 4, 1.0, 0.65],
    ]
    at_it = confusion_table(LABELS, PROBABILITIES.astype(float), float(PROBABILITIES[7]))
    assert at_it["count"].tolist() == [3, 3, 0, 4]


def test_by_hand():
    result = classification_metrics(LABELS, PROBABILITIES)
    assert result["n"] == 10
    assert result["confusion"] == {
        "FAKE_predicted_FAKE": 3,
        "FAKE_predicted_REAL": 1,
        "REAL_predicted_FAKE": 2,
        "REAL_predicted_REAL": 4,
    }
    expected = {
        "accuracy": 7 / 10,
        "precision": 4 / 5,
        "recall": 4 / 6,
        "f1": 8 / 11,
        "specificity": 3 / 4,
        "balanced_accuracy": (4 / 6 + 3 / 4) / 2,
        # pairs of FAKE and REAL in the right order: 0.4, 0.45 and 0.5 are over three of the FAKE
        "roc_auc": 21 / 24,
        # mean of the precision at each REAL, from the top: 1, 1, 1, then 4/5, 5/6, 6/7
        "average_precision": (1 + 1 + 1 + 4 / 5 + 5 / 6 + 6 / 7) / 6,
        "log_loss": -np.mean(np.log([0.9, 0.8, 0.7, 0.4, 0.4, 0.45, 0.5, 0.7, 0.8, 0.9])),
    }
    for name, value in expected.items():
        assert result[name] == pytest.approx(value, abs=1e-6), name


def test_fake_as_the_positive_class_by_hand():
    fake = classification_metrics(LABELS, PROBABILITIES)["fake"]
    assert fake["precision"] == pytest.approx(3 / 5, abs=1e-6)
    assert fake["recall"] == pytest.approx(3 / 4, abs=1e-6)
    assert fake["f1"] == pytest.approx(6 / 9, abs=1e-6)
    assert fake["average_precision"] == pytest.approx((1 + 1 + 1 + 4 / 7) / 4, abs=1e-6)


def test_a_probability_at_the_threshold_is_predicted_real():
    labels = np.array([0, 1])
    at, below = (
        classification_metrics(labels, np.array([0.1, p], np.float32))["recall"]
        for p in (0.5, np.nextafter(np.float32(0.5), np.float32(0)))
    )
    assert (at, below) == (1, 0)
    assert classification_metrics(labels, np.array([0.1, 0.5]), threshold=0.6)["recall"] == 0


def test_against_scikit_learn():
    labels, probabilities = made_up(1000)
    result = classification_metrics(labels, probabilities)
    called = probabilities >= 0.5
    assert result["f1"] == pytest.approx(sk.f1_score(labels, called), abs=1e-6)
    assert result["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, probabilities), abs=1e-6)
    kept = np.clip(probabilities.astype(float), 1e-7, 1 - 1e-7)
    assert result["log_loss"] == pytest.approx(sk.log_loss(labels, kept), abs=1e-6)
    turned = classification_metrics(1 - labels, 1 - probabilities.astype(float))
    for name in ("precision", "recall", "f1", "average_precision"):
        assert result["fake"][name] == pytest.approx(turned[name], abs=1e-6)
    assert result["specificity"] == result["fake"]["recall"] == turned["recall"]


def test_small_probabilities_are_told_apart_in_both_views():
    """1 - p would round all of these to 1."""
    labels = np.array([0, 0, 1, 1])
    result = classification_metrics(labels, np.array([1e-12, 1e-11, 1e-10, 1e-9], np.float32))
    assert result["average_precision"] == 1
    assert result["fake"]["average_precision"] == 1


@pytest.mark.parametrize("probability", [1, 0.5])
def test_a_detector_that_calls_everything_real(probability):
    """As the paper's ResNet-50; no warning and no NaN."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = classification_metrics(LABELS, np.full(10, probability, np.float32))
    assert (result["precision"], result["recall"], result["specificity"]) == (0.6, 1, 0)
    assert result["f1"] == pytest.approx(0.75)
    assert result["accuracy"] == 0.6 and result["balanced_accuracy"] == 0.5
    assert result["roc_auc"] == 0.5 and result["average_precision"] == 0.6
    assert result["fake"] == {"precision": 0, "recall": 0, "f1": 0, "average_precision": 0.4}
    assert np.isfinite(result["log_loss"])


def test_a_detector_that_calls_everything_fake():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = classification_metrics(LABELS, np.zeros(10, np.float32))
    assert (result["precision"], result["recall"], result["f1"]) == (0, 0, 0)
    assert (result["specificity"], result["fake"]["precision"]) == (1, 0.4)


def test_a_certain_error_costs_a_finite_log_loss():
    result = classification_metrics(np.array([0, 1]), np.array([1, 1], np.float32))
    assert result["log_loss"] == pytest.approx(-np.log(1e-7) / 2, abs=1e-6)


@pytest.mark.parametrize("sure", [0.0, 1e-9])
def test_the_log_loss_is_clipped_in_float64_at_one_place(sure):
    """As float32 has no 1 - 1e-7, equal probabilities had .263731 and .265488."""
    labels = np.array([0, 1, 0, 1])
    for dtype in (np.float32, np.float64):
        probabilities = np.array([1 - sure, 1 - sure, sure, sure], dtype)
        assert log_loss(labels, probabilities) == pytest.approx(
            -(np.log(1e-7) + np.log(1 - 1e-7)) / 2, abs=1e-9
        )
    single = np.random.default_rng(0).random(100).astype(np.float32)
    labels = np.arange(100) % 2
    assert log_loss(labels, single) == log_loss(labels, single.astype(np.float64))


def test_everything_can_be_written_as_json():
    result = classification_metrics(LABELS, PROBABILITIES)
    assert json.loads(json.dumps(result, allow_nan=False)) == result


def test_accuracy_by_cifar_class():
    classes = np.array([0, 0, 9, 9, 0, 9, -1, 3, 3, 3])
    result = accuracy_by_cifar_class(LABELS, PROBABILITIES, classes)
    assert result == {"airplane": 0.666667, "cat": 1.0, "truck": 0.333333}
    assert list(result) == [name for name in CIFAR_CLASSES if name in result]
    assert accuracy_by_cifar_class(LABELS, PROBABILITIES, np.full(10, -1)) == {}


def test_the_threshold_of_the_accuracy_by_class():
    classes = np.full(10, 4)
    assert accuracy_by_cifar_class(LABELS, PROBABILITIES, classes) == {"deer": 0.7}
    assert accuracy_by_cifar_class(LABELS, PROBABILITIES, classes, 0.35) == {"deer": 0.9}


def test_rounded():
    tree = {"a": 1 / 3, "b": {"c": np.float32(0.1), "d": 7}, "e": "text"}
    small = rounded({"p_value": 5.96046448e-08, "value": 5.96046448e-08})
    assert small == {"p_value": 5.96046e-08, "value": 0}
    assert rounded(tree, 3) == {"a": 0.333, "b": {"c": 0.1, "d": 7}, "e": "text"}


def test_roc_by_hand():
    table = roc_table(np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.6, 0.9]))
    assert list(table.columns) == ["fpr", "tpr"]
    assert table.values.tolist() == [[0, 0], [0, 0.5], [0.5, 0.5], [0.5, 1], [1, 1]]


def test_precision_recall_by_hand():
    table = precision_recall_table(np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.6, 0.9]))
    assert table["recall"].tolist() == [1, 1, 0.5, 0.5, 0]
    assert table["precision"].tolist() == [0.5, 0.666667, 0.5, 1, 1]


def test_long_curves_are_thinned_and_keep_their_ends():
    labels, probabilities = made_up(20_000)
    roc = roc_table(labels, probabilities)
    assert len(roc) == CURVE_POINTS
    assert roc.iloc[0].tolist() == [0, 0] and roc.iloc[-1].tolist() == [1, 1]
    assert roc["fpr"].is_monotonic_increasing and roc["tpr"].is_monotonic_increasing
    area = float(np.trapezoid(roc["tpr"], roc["fpr"]))
    assert area == pytest.approx(sk.roc_auc_score(labels, probabilities), abs=1e-3)
    curve = precision_recall_table(labels, probabilities)
    assert len(curve) == CURVE_POINTS
    assert curve.iloc[0].tolist() == [1, round(float(labels.mean()), 6)]
    assert curve.iloc[-1].tolist() == [0, 1]


@pytest.mark.parametrize("n", [CURVE_POINTS - 1, CURVE_POINTS])
def test_short_curves_are_kept_whole(n):
    labels = np.arange(n - 1) % 2  # every threshold is a corner of the curve, and (0, 0) besides
    assert len(roc_table(labels, np.arange(n - 1) / n)) == n
