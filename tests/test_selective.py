"""Thresholds and silence against all the alternatives, tried one by one."""

import numpy as np
import pytest
from scipy.special import expit
from sklearn import metrics as sk

from detector.evaluation.calibration import logit
from detector.evaluation.selective import (
    abstention_band,
    aurc,
    choose_threshold,
    coverage_at_risk,
    risk_coverage,
    verdicts,
)
from detector.evaluation.settings import parse_goal


def made_up(n, seed=0, digits=None, dtype=np.float32):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 2, n).astype(np.uint8)
    probabilities = expit(rng.normal(0.6 + 1.5 * (labels - 0.5), 1)).astype(dtype)
    return labels, probabilities if digits is None else np.round(probabilities, digits)


# --- goals ----------------------------------------------------------------------------------------


def test_goals():
    assert parse_goal("0.5") == parse_goal(0.5) == ("fixed", 0.5)
    assert parse_goal("balanced") == ("balanced", None)
    assert parse_goal("fpr_0.01") == ("fpr", 0.01)
    assert parse_goal("fpr_0") == parse_goal("fpr_0.0") == ("fpr", 0)
    assert parse_goal("fpr_0.999999999") == ("fpr", 0.999999999)


@pytest.mark.parametrize(
    "text",
    [
        "", "0.6", "fpr", "fpr_", "fpr_1", "fpr_-0.1", "fpr_nan", "fpr_ 0.1", "Balanced", "tpr_0.1",
        "fpr_.05", "fpr_0.", "fpr_.0", "fpr_1e-3", "fpr_0.99999999999999999999", "fpr_00.1",
        "fpr_0.1\n", "fpr_0.\u0661",
    ],
)  # fmt: skip
def test_other_goals_are_refused(text):
    with pytest.raises(ValueError, match=r"^must be 0\.5, balanced or fpr_X"):
        parse_goal(text)
    with pytest.raises(ValueError, match="must be"):
        choose_threshold(*made_up(10), text)


@pytest.mark.parametrize("text", ["fpr=0.01", "fpr=.05", "fpr=0"])
def test_the_old_form_of_a_goal_is_named(text):
    with pytest.raises(ValueError, match=r"^fpr=X is written fpr_X now; must be 0\.5, balanced or"):
        parse_goal(text)


def test_the_fixed_goal_asks_nothing_of_the_images():
    assert choose_threshold(np.array([1, 1]), np.array([0.1, 0.2]), "0.5") == 0.5


# --- balanced -------------------------------------------------------------------------------------


def balanced(labels, probabilities, threshold):
    return sk.balanced_accuracy_score(labels, probabilities >= threshold)


@pytest.mark.parametrize("digits", [None, 1, 2])
@pytest.mark.parametrize("seed", range(5))
def test_no_threshold_is_better_balanced(digits, seed):
    labels, probabilities = made_up(80, seed, digits)
    found = choose_threshold(labels, probabilities, "balanced")
    best = max(balanced(labels, probabilities, t) for t in np.unique(probabilities))
    assert balanced(labels, probabilities, found) == pytest.approx(best, abs=1e-12)


def test_balanced_by_hand():
    labels = np.array([0, 0, 0, 1, 1])
    # odds of 1:4 and 4:1 have even odds in the middle, those of 1:9 and 4:1 have 2:3
    assert choose_threshold(labels, np.array([0.1, 0.1, 0.2, 0.8, 0.9]), "balanced") == (
        pytest.approx(0.5)
    )
    assert choose_threshold(labels, np.array([0.1, 0.1, 0.1, 0.8, 0.9]), "balanced") == (
        pytest.approx(0.4)
    )
    # two REAL weigh as much as three FAKE: better let two FAKE pass than lose a REAL
    probabilities = np.array([0.1, 0.7, 0.8, 0.3, 0.9])
    # odds of 4:1 and 9:1, in the middle 6:1
    assert choose_threshold(labels, probabilities, "balanced") == pytest.approx(6 / 7)


def test_equally_good_gaps():
    labels = np.array([0, 1, 0, 1])
    # cuts 0.1|0.3 and 0.4|0.8 are both at 3/4; the second is wider in probability and in odds
    wider = choose_threshold(labels, np.array([0.1, 0.3, 0.4, 0.8]), "balanced")
    assert wider == pytest.approx(expit((logit(0.4) + logit(0.8)) / 2))
    # 0.01|0.3 is wider in odds, 33 times, than 0.4|0.8, 6 times
    assert choose_threshold(labels, np.array([0.01, 0.3, 0.4, 0.8]), "balanced") == (
        pytest.approx(expit((logit(0.01) + logit(0.3)) / 2))
    )
    # equally wide, log(3): the lower one
    lower = choose_threshold(labels, np.array([0.25, 0.5, 0.5, 0.75]), "balanced")
    assert lower == pytest.approx(expit(logit(0.25) / 2))


@pytest.mark.parametrize("temperature", [0.2, 0.7, 3.0])
@pytest.mark.parametrize("seed", range(5))
def test_temperature_moves_no_image_over_the_threshold(temperature, seed):
    labels, probabilities = made_up(40, seed, dtype=np.float64)
    calm = expit(logit(probabilities) / temperature)
    plain = choose_threshold(labels, probabilities, "balanced")
    moved = choose_threshold(labels, calm, "balanced")
    assert logit(moved) == pytest.approx(logit(plain) / temperature)


def test_probabilities_beyond_the_range_of_logits_are_still_told_apart():
    probabilities = np.array([1e-12, 1e-9])
    found = choose_threshold(np.array([0, 1]), probabilities, "balanced")
    assert (probabilities >= found).tolist() == [False, True]


def test_neighbouring_floats_are_still_told_apart():
    low = np.float32(0.6)
    high = np.nextafter(low, np.float32(1))
    probabilities = np.array([low, high], np.float32)
    found = choose_threshold(np.array([0, 1]), probabilities, "balanced")
    assert (probabilities >= found).tolist() == [False, True]
    assert (probabilities.astype(float) >= found).tolist() == [False, True]


@pytest.mark.parametrize(
    ("labels", "probabilities"),
    [([0, 1, 0, 1], [0.7] * 4), ([0, 1], [0.9, 0.2]), ([0, 1, 0, 1], [0.2, 0.2, 0.8, 0.8])],
)
def test_half_where_no_gap_helps(labels, probabilities):
    assert choose_threshold(np.array(labels), np.array(probabilities), "balanced") == 0.5


# --- fpr ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("goal", ["fpr_0", "fpr_0.01", "fpr_0.05", "fpr_0.29", "fpr_0.999"])
@pytest.mark.parametrize("digits", [None, 1])
@pytest.mark.parametrize("seed", range(3))
def test_largest_threshold_that_accuses_few_photographs(goal, digits, seed):
    labels, probabilities = made_up(300, seed, digits)
    real = probabilities[labels == 1]
    found = choose_threshold(labels, probabilities, goal)
    allowed = float(goal.split("_")[1])
    assert (real < np.float32(found)).mean() <= allowed
    higher = np.nextafter(np.float32(found), np.float32(2))
    assert (real < higher).mean() > allowed


def test_fpr_by_hand():
    probabilities = np.append(np.arange(1, 101) / 128, 0.9)  # 100 REAL, then one FAKE
    labels = np.append(np.ones(100, int), 0)
    assert choose_threshold(labels, probabilities, "fpr_0") == 1 / 128
    assert choose_threshold(labels, probabilities, "fpr_0.01") == 2 / 128
    assert choose_threshold(labels, probabilities, "fpr_0.0199") == 2 / 128
    # 0.29 * 100 is 28.999999999999996 in binary
    assert choose_threshold(labels, probabilities, "fpr_0.29") == 30 / 128


def test_few_photographs_allow_no_error_at_all():
    assert choose_threshold(np.array([0, 1]), np.array([0.1, 0.4]), "fpr_0.01") == 0.4
    assert choose_threshold(np.array([0, 1]), np.array([0.3, 0.3]), "fpr_0.5") == 0.3


@pytest.mark.parametrize("goal", ["balanced", "fpr_0.01"])
def test_one_class_is_refused(goal):
    for label in (0, 1):
        with pytest.raises(ValueError, match="one class"):
            choose_threshold(np.full(3, label), np.array([0.1, 0.2, 0.3]), goal)


# --- risk and coverage ----------------------------------------------------------------------------


def test_table_by_hand():
    labels, probabilities = np.array([1, 0, 1, 0]), np.array([0.9, 0.2, 0.3, 0.55])
    table = risk_coverage(labels, probabilities, 0.5)
    assert list(table.columns) == ["coverage", "risk", "score"]
    np.testing.assert_allclose(table["coverage"], [0.25, 0.5, 0.75, 1])
    np.testing.assert_allclose(table["risk"], [0, 0, 1 / 3, 1 / 2])
    np.testing.assert_allclose(np.exp(table["score"]), [9, 4, 7 / 3, 11 / 9])
    assert aurc(table) == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)


def test_ties_enter_together():
    probabilities = np.array([0.75, 0.25, 0.75, 0.5], np.float32)
    table = risk_coverage(np.array([1, 1, 1, 0]), probabilities, 0.5)
    np.testing.assert_allclose(table["coverage"], [0.75, 1])
    np.testing.assert_allclose(table["risk"], [1 / 3, 1 / 2])
    assert aurc(table) == pytest.approx(0.75 / 3 + 0.25 / 2)


def test_the_distance_is_from_the_threshold_in_logits():
    # 0.99 is nearer to 0.8 than 0.5 is in probability, but farther in odds: 99 / 4 against 4
    table = risk_coverage(np.array([1, 1]), np.array([0.99, 0.5]), 0.8)
    np.testing.assert_allclose(np.exp(table["score"]), [99 / 4, 4])
    assert table["risk"].tolist() == [0, 0.5]


def test_extremes():
    labels = np.array([0, 1])
    perfect = risk_coverage(labels, np.array([0.0, 1.0], np.float32), 0.5)
    assert len(perfect) <= 2 and aurc(perfect) == 0 and coverage_at_risk(perfect, 0) == 1
    hopeless = risk_coverage(labels, np.array([1.0, 0.0]), 0.5)
    assert aurc(hopeless) == 1 and coverage_at_risk(hopeless, 0.99) == 0
    equal = risk_coverage(labels, np.array([0.5, 0.5]), 0.5)
    assert equal.to_numpy().tolist() == [[1, 0.5, 0]]
    one_class = risk_coverage(np.array([1, 1]), np.array([0.9, 0.1]), 0.5)
    assert one_class["risk"].iloc[-1] == 0.5
    for threshold in (0.0, 1.0):
        assert np.isfinite(risk_coverage(labels, np.array([0.0, 1.0]), threshold)).all(axis=None)


@pytest.mark.parametrize("threshold", [0.3, 0.5, 0.9])
def test_area_against_one_image_at_a_time(threshold):
    labels, probabilities = made_up(300)
    distance = np.abs(logit(probabilities) - logit(threshold))
    wrong = (probabilities >= threshold) != (labels == 1)
    running = np.cumsum(wrong[np.argsort(-distance)]) / np.arange(1, 301)
    table = risk_coverage(labels, probabilities, threshold)
    assert aurc(table) == pytest.approx(running.mean(), abs=1e-4)
    assert table["risk"].iloc[-1] == wrong.mean() and table["coverage"].iloc[-1] == 1


def test_coverage_may_be_won_back():
    """An early error does not forbid a later, larger share of right images."""
    labels = np.array([0, 1, 1, 1, 1])
    table = risk_coverage(labels, np.array([0.99, 0.95, 0.9, 0.85, 0.8]), 0.5)
    np.testing.assert_allclose(table["risk"], [1, 1 / 2, 1 / 3, 1 / 4, 1 / 5])
    assert coverage_at_risk(table, 0.2) == 1
    assert coverage_at_risk(table, 0.19) == 0


# --- verdicts -------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_error", [0.0, 0.05, 0.1, 0.2])
@pytest.mark.parametrize(("digits", "threshold"), [(None, 0.5), (2, 0.5), (2, 0.7)])
def test_band_keeps_its_word_and_no_smaller_does(max_error, digits, threshold):
    labels, probabilities = made_up(400, 3, digits)
    band = abstention_band(labels, probabilities, threshold, max_error)
    distance = np.abs(logit(probabilities) - logit(threshold))
    wrong = (probabilities >= threshold) != (labels == 1)
    errors = {d: wrong[distance >= d].mean() for d in np.unique(distance)}
    good = [d for d, error in errors.items() if error <= max_error]
    assert band == (min(good) if good else None)
    if band is not None:
        said = verdicts(probabilities, threshold, band)
        sure = said != "UNSURE"
        assert ((said == "REAL") != (labels == 1))[sure].mean() <= max_error
        coverage = coverage_at_risk(risk_coverage(labels, probabilities, threshold), max_error)
        assert sure.mean() == coverage


def test_band_by_hand():
    labels, probabilities = np.array([1, 0, 1, 0]), np.array([0.9, 0.2, 0.3, 0.55])
    assert abstention_band(labels, probabilities, 0.5, 0.5) == 0
    assert np.exp(abstention_band(labels, probabilities, 0.5, 0.4)) == pytest.approx(7 / 3)
    assert np.exp(abstention_band(labels, probabilities, 0.5, 0)) == pytest.approx(4)
    assert abstention_band(labels, 1 - probabilities, 0.5, 0.1) is None
    for max_error in (-0.1, 1.1, np.nan):
        with pytest.raises(ValueError, match="share of errors"):
            abstention_band(labels, probabilities, 0.5, max_error)


def test_verdicts():
    probabilities = np.array([0.05, 0.4, 0.5, 0.6, 0.95], np.float32)
    assert verdicts(probabilities, 0.5).tolist() == ["FAKE", "FAKE", "REAL", "REAL", "REAL"]
    band = np.log(2)
    expected = ["FAKE", "UNSURE", "UNSURE", "UNSURE", "REAL"]
    assert verdicts(probabilities, 0.5, band).tolist() == expected
    assert set(verdicts(probabilities, 0.5, None)) == {"UNSURE"}
    assert verdicts(np.array([]), 0.5, band).shape == (0,)
