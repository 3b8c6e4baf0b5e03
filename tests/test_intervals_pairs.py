"""Two detectors on the same images, and how often the intervals hold the truth."""

import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import expit
from scipy.stats import norm
from sklearn import metrics as sk

from detector.evaluation.intervals import mcnemar, wilson
from detector.evaluation.resampling import bootstrap_metrics, intervals, paired_difference

D = 1.5  # between the two normals; with p = expit(D * x) the probabilities are true


def two_normals(n, rng, d=D):
    labels = (np.arange(n) % 2).astype(np.uint8)
    return labels, expit(d * rng.normal(d * (labels - 0.5), 1))


def test_mcnemar_by_hand():
    right_a = np.array([1] * 20 + [1] * 9 + [0] * 1 + [0] * 3, bool)
    right_b = np.array([1] * 20 + [0] * 9 + [1] * 1 + [0] * 3, bool)
    result = mcnemar(right_a, right_b)
    # of ten coins at most one head, or at most one tail: 2 * (1 + 10) / 1024
    p_value = result.pop("p_value")
    assert p_value == pytest.approx(22 / 1024, abs=1e-12)
    assert result == {"both_right": 20, "only_a": 9, "only_b": 1, "both_wrong": 3}
    turned = mcnemar(right_b, right_a)
    assert turned["p_value"] == pytest.approx(p_value)
    assert (turned["only_a"], turned["only_b"]) == (1, 9)


def test_mcnemar_without_a_discordant_pair():
    right = np.array([True, False])
    assert mcnemar(right, right)["p_value"] == 1
    assert mcnemar(right, ~right)["p_value"] == 1
    with pytest.raises(ValueError, match="same images"):
        mcnemar(right, right[:1])


def at_half(labels, probabilities):
    return (probabilities >= 0.5) == (labels == 1)


def difference(labels, a, b, **settings):
    right = at_half(labels, a), at_half(labels, b)
    return paired_difference(labels, a, b, *right, **settings)


def test_p_is_never_0():
    """2 / 2^n: of 3,000 coins it is under what float64 holds."""
    right = np.ones(3000, bool)
    assert mcnemar(right[:25], ~right[:25])["p_value"] == pytest.approx(2 / 2**25)
    assert 0 < mcnemar(right, ~right)["p_value"] < 1e-300


def test_a_detector_is_no_better_than_itself():
    labels, probabilities = two_normals(300, np.random.default_rng(0))
    same = difference(labels, probabilities, probabilities, resamples=400)
    for part in same.values():
        assert part["value"] == 0 and (part["n"], part["n_fake"], part["n_real"]) == (300, 150, 150)
        # another image may be told apart by one alone: Wilson's end of 0 of 300 is 0.0126
        assert -0.0253 < part["low"] < -0.004 and 0.004 < part["high"] < 0.0253
    # what was called rightly moves the accuracy alone
    right = at_half(labels, probabilities)
    other = paired_difference(
        labels, probabilities, probabilities, right, right & (labels == 1), resamples=400
    )
    assert other["accuracy"]["low"] > 0
    assert other["roc_auc"] == same["roc_auc"]


def test_pairs_where_no_error_was_seen_by_hand():
    """As Bonett and Price: 2 more images of each class, on which one of the two alone is right."""
    labels = np.arange(800) % 2
    part = difference(labels, labels * 0.8 + 0.1, labels * 0.6 + 0.2, resamples=50)["accuracy"]
    half = norm.ppf(0.975) * np.sqrt(2 * 0.5**2 * (2 / 402) / 402)
    assert (part["low"], part["value"], part["high"]) == pytest.approx((-half, 0, half))


def test_a_difference_and_its_sign():
    labels, good = two_normals(1000, np.random.default_rng(0), d=2.5)
    _, poor = two_normals(1000, np.random.default_rng(1), d=1)
    result = difference(labels, good, poor, resamples=200, seed=3)
    assert result["roc_auc"]["value"] == pytest.approx(
        sk.roc_auc_score(labels, good) - sk.roc_auc_score(labels, poor)
    )
    assert result["accuracy"]["value"] == pytest.approx(
        at_half(labels, good).mean() - at_half(labels, poor).mean()
    )
    assert result["accuracy"]["low"] > 0 and result["roc_auc"]["low"] > 0
    back = difference(labels, poor, good, resamples=200, seed=3)
    for name in result:
        assert back[name]["low"] == pytest.approx(-result[name]["high"], abs=2e-3)
    assert difference(labels, good, poor, resamples=200, seed=3) == result
    with pytest.raises(ValueError, match="same images"):
        paired_difference(labels, good, poor, labels == 1, labels[1:] == 1, resamples=2)


def test_pairs_are_kept():
    """Two detectors that err on the same images differ less by chance than the sum of both."""
    rng = np.random.default_rng(2)
    labels, a = two_normals(1000, rng)
    b = expit(np.log(a / (1 - a)) + rng.normal(0, 0.1, 1000))
    paired = difference(labels, a, b, resamples=300)["roc_auc"]
    alone = bootstrap_metrics(labels, a, resamples=300)["roc_auc"]
    assert paired["high"] - paired["low"] < (alone["high"] - alone["low"]) / 5


# --- how often the truth is within ----------------------------------------------------------------


@pytest.mark.slow
def test_wilson_covers_as_often_as_it_says():
    rng = np.random.default_rng(3)
    truth = rng.uniform(0.05, 0.95, 3000)
    found = [wilson(k, 60) for k in rng.binomial(60, truth)]
    covered = np.mean([low <= p <= high for p, (low, high) in zip(truth, found, strict=True)])
    assert 0.92 <= covered <= 0.98


def truth(d=D):
    """Give the metrics at 0.5 of endless images from two_normals."""

    def over(x):
        recall, called = norm.sf(x - d / 2), norm.sf(x - d / 2) + norm.sf(x + d / 2)
        return norm.pdf(x - d / 2) * recall / called

    def loss(x):
        return norm.pdf(x - d / 2) * np.logaddexp(0, -d * x)

    return {
        "balanced_accuracy": norm.cdf(d / 2),
        "f1": norm.cdf(d / 2),
        "roc_auc": norm.cdf(d / np.sqrt(2)),
        "average_precision": quad(over, -8, 8)[0],
        "log_loss": quad(loss, -8, 8)[0],
    }


@pytest.mark.soak
def test_bootstrap_covers_as_often_as_it_says():
    rng = np.random.default_rng(12)
    expected, rounds = truth(), 500
    covered = dict.fromkeys(expected, 0)
    for seed in range(rounds):
        result = intervals(*two_normals(300, rng), 0.5, resamples=400, seed=seed)
        for name, value in expected.items():
            covered[name] += result[name]["low"] <= value <= result[name]["high"]
    for name, count in covered.items():
        assert 0.92 <= count / rounds <= 0.98, (name, count)


@pytest.mark.soak
def test_difference_covers_as_often_as_it_says():
    rng = np.random.default_rng(21)
    rounds, covered = 400, {"accuracy": 0, "roc_auc": 0}
    labels = np.arange(300) % 2
    for seed in range(rounds):
        shared = rng.normal(0, 0.8, 300)
        a, b = (expit(D * (labels - 0.5) + shared + rng.normal(0, 0.6, 300)) for _ in "ab")
        result = difference(labels, a, b, resamples=400, seed=seed)
        for name, part in result.items():
            covered[name] += part["low"] <= 0 <= part["high"]
    for name, count in covered.items():
        assert 0.92 <= count / rounds <= 0.98, (name, count)


@pytest.mark.slow
@pytest.mark.parametrize(("n", "d"), [(800, 4.0), (800, 5.0), (40, 2.5)])
def test_intervals_near_the_border_cover_the_truth(n, d):
    """Of areas of .998, .9998 and .96."""
    rng = np.random.default_rng(7)
    expected, rounds = {name: truth(d)[name] for name in ("roc_auc", "balanced_accuracy")}, 200
    covered = dict.fromkeys(expected, 0)
    for seed in range(rounds):
        result = intervals(*two_normals(n, rng, d), 0.5, resamples=200, seed=seed)
        for name, value in expected.items():
            covered[name] += result[name]["low"] <= value <= result[name]["high"]
    for name, count in covered.items():
        assert count / rounds >= 0.91, (name, count)
