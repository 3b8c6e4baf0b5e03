"""Calibration on data whose calibration is known because it was made so."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics as sk

from detector.evaluation.calibration import (
    apply_temperature,
    brier_score,
    checked,
    expected_calibration_error,
    fit_temperature,
    logit,
    reliability_table,
)
from detector.evaluation.metrics import FLOOR


def true_probabilities(n, seed=0):
    """Make labels drawn from their probabilities."""
    rng = np.random.default_rng(seed)
    probabilities = expit(rng.normal(0, 2, n))
    return (rng.random(n) < probabilities).astype(np.uint8), probabilities


def log_loss(labels, probabilities):
    return sk.log_loss(labels, np.clip(probabilities, FLOOR, 1 - FLOOR))


# --- temperature ----------------------------------------------------------------------------------


@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_temperature_is_recovered(temperature, dtype):
    labels, probabilities = true_probabilities(40_000)
    distorted = expit(logit(probabilities) * temperature).astype(dtype)
    found = fit_temperature(labels, distorted)
    assert found == pytest.approx(temperature, rel=0.03)
    np.testing.assert_allclose(
        apply_temperature(distorted, found), probabilities, atol=0.02, rtol=0
    )


def test_temperature_is_where_the_loss_is_least():
    labels, probabilities = true_probabilities(500, seed=4)
    found = fit_temperature(labels, probabilities**2)
    losses = [
        log_loss(labels, apply_temperature(probabilities**2, found * factor))
        for factor in (0.99, 1, 1.01)
    ]
    assert losses[1] == min(losses)
    assert losses[1] <= log_loss(labels, probabilities**2)


def test_temperature_by_hand():
    """Three of four right at logit 2: the loss is least where sigmoid(2 / T) is 3/4."""
    p = expit(2.0)
    found = fit_temperature(np.array([1, 1, 0, 0]), np.array([p, p, 1 - p, p]))
    assert found == pytest.approx(2 / np.log(3), abs=1e-5)


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [
        ([], []),
        ([1, 1, 1], [0.2, 0.6, 0.9]),
        ([0, 0], [0.2, 0.6]),
        ([0, 1, 1], [0.1, 0.9, 0.6]),  # perfect at 0.5
        ([0, 1, 1], [0.1, 0.9, 0.5]),
        ([0, 1], [0.0, 1.0]),
        ([0, 1], [0.5, 0.5]),
        ([0, 1], [0.9, 0.1]),  # the wrong way round
        ([0, 1, 1], [0.8, 0.9, 0.1]),
    ],
)
def test_temperature_is_one_where_nothing_says_otherwise(labels, probabilities):
    assert fit_temperature(np.array(labels), np.array(probabilities)) == 1


def test_separated_but_not_at_a_half_has_a_temperature():
    found = fit_temperature(np.array([0, 1]), np.array([0.6, 0.9]))
    assert np.exp(-5) < found < np.exp(5) and found != 1


def test_temperature_out_of_range_is_the_end_of_it():
    """Sure at logit 7, and right 501 times in 1000: the best T is 7 / 0.004, far over exp(5)."""
    labels = np.arange(1000) < 501
    found = fit_temperature(labels, np.full(1000, 0.999))
    assert found == pytest.approx(np.exp(5), rel=1e-4)


def test_applied_temperature():
    p = np.array([0, 1e-9, 0.2, 0.5, 0.500001, 0.9, 1], np.float32)
    np.testing.assert_array_equal(apply_temperature(p, 1), p)
    for temperature in (0.05, 0.5, 3, 100):
        out = apply_temperature(p, temperature)
        assert out.dtype == np.float64 and ((out >= 0) & (out <= 1)).all()
        assert (np.diff(out[1:]) >= 0).all() and out[0] == out[1]
        np.testing.assert_array_equal(out >= 0.5, p >= 0.5)
        assert out[3] == 0.5
    assert apply_temperature(np.array([0.8]), 2)[0] == pytest.approx(2 / 3)  # odds 4 become 2
    for temperature in (0, -1, np.nan, np.inf):
        with pytest.raises(ValueError, match="temperature"):
            apply_temperature(p, temperature)


def test_temperature_keeps_the_order():
    labels, probabilities = true_probabilities(3000)
    cooled = apply_temperature(probabilities, 0.6)
    assert (np.diff(cooled[np.argsort(probabilities)]) > 0).all()
    assert sk.roc_auc_score(labels, cooled) == sk.roc_auc_score(labels, probabilities)


# --- reliability ----------------------------------------------------------------------------------


def constructed():
    """Two bins of five, off by 0.1 and by 0.3."""
    probabilities = np.array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.65, 0.7, 0.75, 0.8])
    labels = np.array([0, 1, 0, 0, 0, 1, 1, 1, 1, 1])
    return labels, probabilities


def test_table_by_hand():
    table = reliability_table(*constructed(), bins=2)
    assert list(table.columns) == ["bin", "n", "mean_probability", "share_real"]
    np.testing.assert_allclose(table, [[0, 5, 0.3, 0.2], [1, 5, 0.7, 1.0]])
    assert expected_calibration_error(*constructed(), bins=2) == pytest.approx(0.2)


def test_error_weighs_the_bins_by_their_images():
    labels, probabilities = np.array([0, 1, 1, 1]), np.array([0.4, 0.4, 0.4, 0.7])
    # three at 0.4, of which two are REAL, and one at 0.7, which is
    expected = (3 * (2 / 3 - 0.4) + 1 * 0.3) / 4
    assert expected_calibration_error(labels, probabilities) == pytest.approx(expected)


@pytest.mark.parametrize("n", [15, 150, 1000, 1007])
def test_bins_have_equally_many(n):
    table = reliability_table(*true_probabilities(n))
    assert len(table) == 15 and table["n"].sum() == n
    assert table["n"].max() - table["n"].min() <= 1
    assert table["mean_probability"].is_monotonic_increasing


def test_order_of_the_images_is_nothing():
    labels, probabilities = true_probabilities(400)
    probabilities = probabilities.round(1)
    turn = np.random.default_rng(0).permutation(400)
    table = reliability_table(labels, probabilities)
    turned = reliability_table(labels[turn], probabilities[turn])
    np.testing.assert_allclose(turned, table)


def test_ties_stay_together():
    probabilities = np.repeat([0.0, 0.3, 0.9, 1.0], [50, 3, 7, 40])
    labels = np.arange(100) % 2
    table = reliability_table(labels, probabilities)
    # first ranks 0, 50, 53 and 60 of 100, times 15
    assert table["n"].tolist() == [50, 10, 40]
    assert table["bin"].tolist() == [0, 1, 2]
    assert len(reliability_table(labels, np.full(100, 0.3))) == 1


def test_few_images_have_a_bin_each():
    table = reliability_table(np.array([0, 1]), np.array([0.2, 0.9]))
    assert table["n"].tolist() == [1, 1]
    assert expected_calibration_error(np.array([1, 1]), np.array([0.2, 0.9])) == pytest.approx(0.45)


def test_true_probabilities_have_little_error():
    labels, probabilities = true_probabilities(30_000)
    assert expected_calibration_error(labels, probabilities) < 0.015
    sharpened = apply_temperature(probabilities, 0.4)
    assert expected_calibration_error(labels, sharpened) > 0.05


def test_known_shift():
    """Half of the images are REAL wherever 0.5 + 0.2 is said."""
    labels = np.arange(3000) % 2
    probabilities = np.linspace(0.69, 0.71, 1500).repeat(2)
    assert expected_calibration_error(labels, probabilities) == pytest.approx(0.2, abs=1e-6)


def test_brier():
    labels, probabilities = constructed()
    assert brier_score(labels, probabilities) == pytest.approx(
        sk.brier_score_loss(labels, probabilities)
    )
    assert brier_score(np.array([0, 1], np.uint8), np.array([1, 0.5], np.float32)) == 0.625


def test_other_input_is_refused():
    for function in (reliability_table, brier_score, expected_calibration_error, fit_temperature):
        for labels, probabilities in [([0, 1], [0.1]), ([0, 3], [0.1, 0.2]), ([0, 1], [0, 1.5])]:
            with pytest.raises(ValueError):
                function(np.array(labels), np.array(probabilities))
    for function in (reliability_table, brier_score):
        with pytest.raises(ValueError, match="at least one"):
            function(np.array([]), np.array([]))
    with pytest.raises(ValueError, match="bins"):
        reliability_table(*constructed(), bins=0)
    assert checked(np.array([0, 1]), np.array([0, 1]))[1].dtype == np.float64
    assert checked(np.array([0, 1]), np.array([0, 1], np.float32))[1].dtype == np.float32
