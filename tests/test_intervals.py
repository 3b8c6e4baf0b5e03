"""Intervals against scikit-learn under weights, against values by hand, and by simulation."""

import warnings

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm
from sklearn import metrics as sk

from detector.evaluation import intervals as module
from detector.evaluation.intervals import (
    bootstrap_metrics,
    intervals,
    paired_difference,
    proportion_intervals,
    resampled_weights,
    weighted_metrics,
    wilson,
)
from detector.evaluation.metrics import classification_metrics

D = 1.5  # between the two normals; with p = expit(D * x) the probabilities are true


def two_normals(n, rng, d=D):
    labels = (np.arange(n) % 2).astype(np.uint8)
    return labels, expit(d * rng.normal(d * (labels - 0.5), 1))


# --- Wilson ---------------------------------------------------------------------------------------


def test_wilson_by_hand():
    z = norm.ppf(0.975)
    middle = (0.8 + z**2 / 20) / (1 + z**2 / 10)
    half = z / (1 + z**2 / 10) * np.sqrt(0.8 * 0.2 / 10 + z**2 / 400)
    assert wilson(8, 10) == pytest.approx((middle - half, middle + half), abs=1e-12)
    assert wilson(8, 10)[0] < wilson(8, 10, confidence=0.5)[0]


def test_wilson_at_the_ends():
    assert wilson(0, 0) == (0, 1)
    assert wilson(0, 20)[0] == 0 < wilson(0, 20)[1]
    assert wilson(20, 20)[0] < wilson(20, 20)[1] == 1
    for k, n, confidence in [(3, 2, 0.95), (-1, 2, 0.95), (1, 2, 0), (1, 2, 1)]:
        with pytest.raises(ValueError):
            wilson(k, n, confidence)


def test_proportions_have_their_own_n():
    confusion = {
        "FAKE_called_FAKE": 3,
        "FAKE_called_REAL": 1,
        "REAL_called_FAKE": 2,
        "REAL_called_REAL": 4,
    }
    result = proportion_intervals(confusion)
    shares = {"accuracy": (7, 10), "precision": (4, 5), "recall": (4, 6), "specificity": (3, 4)}
    assert list(result) == list(shares)
    for name, (k, n) in shares.items():
        low, high = wilson(k, n)
        assert result[name] == {"value": k / n, "low": low, "high": high, "n": n}, name


def test_precision_without_a_call_is_anything():
    labels = np.array([0, 1, 0, 1])
    result = intervals(labels, np.full(4, 0.2), resamples=10)
    assert result["precision"] == {"value": 0, "low": 0, "high": 1, "n": 0}
    assert result["f1"] == {"value": 0, "low": 0, "high": 0, "n": 4}


# --- weighted metrics and the bootstrap -----------------------------------------------------------


def by_scikit_learn(is_real, probabilities, threshold, weight):
    called = probabilities >= threshold
    clipped = np.clip(probabilities.astype(float), 1e-7, 1 - 1e-7)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "accuracy": sk.accuracy_score(is_real, called, sample_weight=weight),
            "balanced_accuracy": sk.balanced_accuracy_score(is_real, called, sample_weight=weight),
            "f1": sk.f1_score(is_real, called, sample_weight=weight, zero_division=0),
            "roc_auc": sk.roc_auc_score(is_real, probabilities, sample_weight=weight),
            "average_precision": sk.average_precision_score(
                is_real, probabilities, sample_weight=weight
            ),
            "log_loss": sk.log_loss(is_real, clipped, sample_weight=weight),
        }


@pytest.mark.parametrize("ties", ["none", "many", "all"])
@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.5, 1.1])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_mean_what_they_mean_to_scikit_learn(ties, threshold, dtype):
    rng = np.random.default_rng(1)
    labels, probabilities = two_normals(301, rng)
    digits = {"none": 16, "many": 1, "all": 0}[ties]
    probabilities = np.round(probabilities, digits) * (digits > 0)
    probabilities = probabilities.astype(dtype)
    is_real = labels == 1
    weights = np.concatenate(list(resampled_weights(is_real, 8, seed=5)))
    assert (weights == 0).any(axis=1).all()
    weights = np.vstack([weights, np.ones(301), rng.uniform(0, 2, 301)])
    ours = weighted_metrics(is_real, probabilities, threshold, weights)
    for row, weight in enumerate(weights):
        theirs = by_scikit_learn(is_real, probabilities, threshold, weight)
        assert {name: values[row] for name, values in ours.items()} == pytest.approx(
            theirs, abs=1e-10
        )


def test_a_float32_threshold_is_compared_as_in_the_metrics():
    labels = np.array([0, 1, 0, 1])
    probabilities = np.array([0.1, 0.7, 0.3, 0.9], np.float32)  # 0.7 of float32 is below 0.7
    assert probabilities[1].astype(float) < 0.7
    result = intervals(labels, probabilities, 0.7, resamples=5)
    assert result["accuracy"]["value"] == result["balanced_accuracy"]["value"] == 1
    assert classification_metrics(labels, probabilities, 0.7)["accuracy"] == 1


def test_resamples_keep_the_classes_and_do_not_depend_on_the_chunk(monkeypatch):
    is_real = np.random.default_rng(0).random(50) < 0.3
    whole = np.concatenate(list(resampled_weights(is_real, 20, seed=2)))
    assert whole.shape == (20, 50)
    assert (whole[:, is_real].sum(axis=1) == is_real.sum()).all()
    assert (whole[:, ~is_real].sum(axis=1) == (~is_real).sum()).all()
    monkeypatch.setattr(module, "CELLS", 150)
    parts = list(resampled_weights(is_real, 20, seed=2))
    assert len(parts) == 7
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_images_are_drawn_evenly():
    is_real = np.arange(10) < 4
    mean = np.concatenate(list(resampled_weights(is_real, 20_000, seed=0))).mean(axis=0)
    np.testing.assert_allclose(mean, 1, atol=0.04)  # five standard errors of 0.007


def test_values_are_those_of_the_metrics():
    labels, probabilities = two_normals(500, np.random.default_rng(8))
    for threshold in (0.5, 0.7):
        plain = classification_metrics(labels, probabilities, threshold)
        result = intervals(labels, probabilities, threshold, resamples=50)
        assert set(result) == set(plain) - {"n", "fake", "confusion"}
        assert len(result) == 9
        for name, part in result.items():
            assert part["value"] == pytest.approx(plain[name], abs=1e-6), name
            assert part["low"] < part["value"] < part["high"], name
            assert type(part["low"]) is float and type(part["n"]) is int


def test_seed_decides():
    data = two_normals(200, np.random.default_rng(0))
    first = bootstrap_metrics(*data, 0.5, resamples=100, seed=4)
    assert bootstrap_metrics(*data, 0.5, resamples=100, seed=4) == first
    assert bootstrap_metrics(*data, 0.5, resamples=100, seed=5) != first


def test_auc_of_two_normals():
    part = bootstrap_metrics(*two_normals(4000, np.random.default_rng(6)), 0.5, 300)["roc_auc"]
    assert part["low"] < norm.cdf(D / np.sqrt(2)) < part["high"]
    assert part["high"] - part["low"] < 0.03


def test_wider_with_confidence_and_narrower_with_images():
    def width(n, confidence):
        data = two_normals(n, np.random.default_rng(0))
        part = bootstrap_metrics(*data, 0.5, 500, confidence=confidence)["roc_auc"]
        return part["high"] - part["low"]

    assert width(400, 0.5) < width(400, 0.95) < width(400, 0.99)
    assert width(6400, 0.95) == pytest.approx(width(400, 0.95) / 4, rel=0.25)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_two_images_and_equal_scores(dtype):
    two = bootstrap_metrics(np.array([0, 1]), np.array([0.2, 0.9], dtype), 0.5, resamples=20)
    for part in two.values():
        assert part["low"] == part["value"] == part["high"]
    assert two["roc_auc"]["value"] == 1
    equal = bootstrap_metrics(np.arange(6) % 2, np.full(6, 0.5, dtype), 0.5, resamples=20)
    assert equal["roc_auc"] == {"value": 0.5, "low": 0.5, "high": 0.5, "n": 6}
    assert equal["average_precision"]["value"] == 0.5


def test_sure_and_wrong_is_finite():
    part = bootstrap_metrics(np.array([0, 1]), np.array([1.0, 0.0]), 0.5, resamples=5)
    assert part["log_loss"]["value"] == pytest.approx(-np.log(1e-7))


@pytest.mark.parametrize(
    ("labels", "probabilities", "text"),
    [
        ([1, 1], [0.1, 0.9], "one class"),
        ([0, 0], [0.1, 0.9], "one class"),
        ([], [], "at least one"),
        ([0, 1], [0.1], "shape"),
        ([[0, 1]], [[0.1, 0.2]], "one dimension"),
        ([0, 2], [0.1, 0.9], "label"),
        ([0, 1], [0.1, np.nan], "probability"),
        ([0, 1], [-0.1, 0.5], "probability"),
    ],
)
def test_other_input_is_refused(labels, probabilities, text):
    labels, probabilities = np.array(labels), np.array(probabilities)
    for function in (intervals, lambda *data: paired_difference(*data, data[1])):
        with pytest.raises(ValueError, match=text):
            function(labels, probabilities)


def test_other_settings_are_refused():
    data = np.array([0, 1]), np.array([0.1, 0.9])
    for function in (intervals, lambda *a, **k: paired_difference(*a, data[1], **k)):
        with pytest.raises(ValueError, match="resamples"):
            function(*data, resamples=0)
        with pytest.raises(ValueError, match="confidence"):
            function(*data, confidence=95)
