"""Intervals against scikit-learn under weights, against values by hand, and by simulation."""

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import norm
from sklearn import metrics as sk

from detector.evaluation import resampling as module
from detector.evaluation.intervals import mean_interval, proportion_intervals, wilson
from detector.evaluation.metrics import classification_metrics
from detector.evaluation.resampling import (
    bootstrap_metrics,
    intervals,
    paired_difference,
    resampled_weights,
    weighted_areas,
)

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
        "FAKE_predicted_FAKE": 3,
        "FAKE_predicted_REAL": 1,
        "REAL_predicted_FAKE": 2,
        "REAL_predicted_REAL": 4,
    }
    result = proportion_intervals(confusion)
    shares = {"accuracy": (7, 10), "precision": (4, 5), "recall": (4, 6), "specificity": (3, 4)}
    assert list(result) == [*shares, "balanced_accuracy", "f1"]
    for name, (k, n) in shares.items():
        low, high = wilson(k, n)
        assert result[name] == {"value": k / n, "low": low, "high": high, "n": n}, name


def test_precision_without_a_call_is_anything():
    labels = np.array([0, 1, 0, 1])
    result = intervals(labels, np.full(4, 0.2), resamples=10)
    assert result["precision"] == {"value": 0, "low": 0, "high": 1, "n": 0}
    f1 = result["f1"]
    assert (f1["value"], f1["low"], f1["n"], f1["n_fake"], f1["n_real"]) == (0, 0, 4, 2, 2)
    # as if the share of 2 that Wilson leaves were called REAL rightly: 2 * 2r / (2r + 2)
    recall = wilson(0, 2)[1]
    assert f1["high"] == pytest.approx(2 * recall / (recall + 1))


# --- weighted metrics and the bootstrap -----------------------------------------------------------


def by_scikit_learn(is_real, probabilities, weight):
    return {
        "roc_auc": sk.roc_auc_score(is_real, probabilities, sample_weight=weight),
        "average_precision": sk.average_precision_score(
            is_real, probabilities, sample_weight=weight
        ),
    }


@pytest.mark.parametrize("ties", ["none", "many", "all"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_weights_mean_what_they_mean_to_scikit_learn(ties, dtype):
    rng = np.random.default_rng(1)
    labels, probabilities = two_normals(301, rng)
    digits = {"none": 16, "many": 1, "all": 0}[ties]
    probabilities = np.round(probabilities, digits) * (digits > 0)
    probabilities = probabilities.astype(dtype)
    is_real = labels == 1
    weights = np.concatenate(list(resampled_weights(is_real, 8, seed=5)))
    assert (weights == 0).any(axis=1).all()
    weights = np.vstack([weights, np.ones(301), rng.uniform(0, 2, 301)])
    ours = weighted_areas(is_real, probabilities, weights)
    for row, weight in enumerate(weights):
        theirs = by_scikit_learn(is_real, probabilities, weight)
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
    first = bootstrap_metrics(*data, resamples=100, seed=4)
    assert bootstrap_metrics(*data, resamples=100, seed=4) == first
    assert bootstrap_metrics(*data, resamples=100, seed=5) != first


def test_auc_of_two_normals():
    part = bootstrap_metrics(*two_normals(4000, np.random.default_rng(6)), 300)["roc_auc"]
    assert part["low"] < norm.cdf(D / np.sqrt(2)) < part["high"]
    assert part["high"] - part["low"] < 0.03


def test_wider_with_confidence_and_narrower_with_images():
    def width(n, confidence):
        data = two_normals(n, np.random.default_rng(0))
        part = bootstrap_metrics(*data, 500, confidence=confidence)["roc_auc"]
        return part["high"] - part["low"]

    assert width(400, 0.5) < width(400, 0.95) < width(400, 0.99)
    assert width(6400, 0.95) == pytest.approx(width(400, 0.95) / 4, rel=0.25)


# --- where no error was seen ----------------------------------------------------------------------


def without_an_error(n_fake, n_real, sure=0.9, dtype=np.float32):
    labels = np.repeat([0, 1], [n_fake, n_real])
    return labels, np.where(labels, sure, 1 - sure).astype(dtype)


@pytest.mark.parametrize("sure", [0.9, 1.0])
@pytest.mark.parametrize("counts", [(1, 1), (4, 200), (200, 4), (400, 400)])
def test_no_interval_is_a_point(counts, sure):
    """As every one of them was of F1, balanced accuracy, the areas and the log loss."""
    for turned in (False, True):  # all right, and all wrong
        labels, probabilities = without_an_error(*counts, sure)
        found = intervals(1 - labels if turned else labels, probabilities, resamples=200)
        for name, part in found.items():
            assert part["low"] <= part["value"] <= part["high"], name
            assert part["high"] - part["low"] > 0.1 / sum(counts), name
            assert part["low"] >= 0 and (part["high"] <= 1 or name == "log_loss"), name
        assert found["roc_auc"]["value"] == (not turned)


def test_balanced_accuracy_and_f1_where_no_error_was_seen_by_hand():
    found = intervals(*without_an_error(4, 200), resamples=50)
    fake, real = wilson(4, 4)[0], wilson(200, 200)[0]
    balanced = found["balanced_accuracy"]
    assert balanced["high"] == balanced["value"] == 1
    assert balanced["low"] == pytest.approx(1 - np.hypot(1 - fake, 1 - real) / 2)
    assert balanced["low"] < 0.76  # of four FAKE a share of half may be lost
    assert (balanced["n"], balanced["n_fake"], balanced["n_real"]) == (204, 4, 200)
    ends = [400 / (400 + 4 * (1 - fake)), 400 * real / (200 * real + 200)]
    assert found["f1"]["low"] == pytest.approx(1 - np.hypot(*(1 - np.array(ends))))


def test_half_an_image_is_enough_to_be_as_wide_as_wilson():
    """An area of 1: a share of one class may be out of order, against half of the other."""
    found = intervals(*without_an_error(400, 400), resamples=2000)
    error = 1 - wilson(400, 400)[0]
    for name in ("roc_auc", "average_precision"):
        assert error / 2 < 1 - found[name]["low"] < 3 * error
    assert found["log_loss"]["low"] < -np.log(0.9) < found["log_loss"]["high"] < 0.12
    few = intervals(*without_an_error(4, 200), resamples=2000)
    assert 0.5 < few["roc_auc"]["low"] < 0.8


def test_equal_scores():
    for dtype in (np.float32, np.float64):
        found = bootstrap_metrics(np.arange(60) % 2, np.full(60, 0.5, dtype), resamples=2000)
        area = found["roc_auc"]
        assert area["value"] == 0.5 and 0.4 < area["low"] < 0.5 < area["high"] < 0.6
        assert area["high"] - 0.5 == pytest.approx(0.5 - area["low"], rel=0.2)
        assert found["average_precision"]["value"] == 0.5


def test_the_mean_of_scores_by_hand():
    """FAKE: 1, 1 and the two that are added, 0 and 1; REAL: 0.5, 0.5, 0.5, 0.5, 0 and 1."""
    is_real = np.array([False, True, True, False, True, True])
    scores = np.array([1, 0.5, 0.5, 1, 0.5, 0.5])
    found = mean_interval(is_real, scores, 0, 1)
    centre = (2 * 0.75 + 4 * 0.5) / 6
    variance = (1 / 3) ** 2 * (0.75 * 0.25) / 4 + (2 / 3) ** 2 * (0.5 / 6) / 6
    half = norm.ppf(0.975) * np.sqrt(variance)
    assert found["value"] == pytest.approx(4 / 6)
    assert (found["low"], found["high"]) == pytest.approx((centre - half, centre + half))
    assert (found["n"], found["n_fake"], found["n_real"]) == (6, 2, 4)
    narrow = mean_interval(is_real, scores, 0, 1, confidence=0.5)
    assert found["low"] < narrow["low"] < narrow["high"] < found["high"]
    for confidence in (0, 1):
        with pytest.raises(ValueError, match="confidence"):
            mean_interval(is_real, scores, 0, 1, confidence)


def test_the_mean_of_scores_stays_in_its_range():
    is_real = np.arange(10) < 5
    for lowest, highest in ((0, 1), (-1, 1)):
        for end in (lowest, highest):
            found = mean_interval(is_real, np.full(10, end), lowest, highest)
            assert found["value"] == end
            assert lowest <= found["low"] < found["high"] <= highest
            assert end in (found["low"], found["high"])


def test_sure_and_wrong_is_finite():
    part = bootstrap_metrics(np.array([0, 1]), np.array([1.0, 0.0]), resamples=5)
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
    right = labels > 0
    for function in (intervals, lambda *data: paired_difference(*data, data[1], right, right)):
        with pytest.raises(ValueError, match=text):
            function(labels, probabilities)


def test_other_settings_are_refused():
    data = np.array([0, 1]), np.array([0.1, 0.9])
    right = np.array([True, True])
    for function in (intervals, lambda *a, **k: paired_difference(*a, a[1], right, right, **k)):
        with pytest.raises(ValueError, match="resamples"):
            function(*data, resamples=0)
        with pytest.raises(ValueError, match="confidence"):
            function(*data, confidence=95)
