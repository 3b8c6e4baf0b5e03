"""Robustness tables against scikit-learn, intervals and sums by hand; the figures."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from scipy.special import expit
from sklearn import metrics as sk
from sklearn.utils import resample

from detector.comparison import figures
from detector.comparison.figures import robustness_curves
from detector.corruption.figures import corruption_sheet
from detector.evaluation.decision import Decision
from detector.evaluation.intervals import mean_interval, wilson
from detector.evaluation.levels import (
    from_clean,
    level_table,
    paired_robustness,
    rightness,
    summary,
)
from detector.evaluation.resampling import bootstrap_metrics
from tests.helpers import random_pixels

LEVELS = pd.DataFrame(
    [("none", "clean", 0), ("jpeg", "90", 0), ("jpeg", "10", 1), ("blur", "1", 0)],
    columns=["corruption", "level", "severity"],
)
DECISION = Decision(1.7, "balanced", 0.6, 0.1, 0.01, 100)


def detector(n=300, seed=0, skill=(3, 2, 0.5, 1)):
    """Give labels, a third of them REAL, and probabilities float32 of falling skill by level."""
    rng = np.random.default_rng(seed)
    labels = (np.arange(n) % 3 == 0).astype(np.uint8)
    scores = [s * (labels - 0.5) + rng.normal(0, 1, n) for s in skill]
    return labels, expit(2 * np.stack(scores)).astype(np.float32)


def table_of(labels, probabilities, levels=LEVELS, decision=DECISION, resamples=200, seed=1):
    return level_table(labels, probabilities, levels, decision, resamples, seed)


def test_each_level_against_scikit_learn():
    labels, probabilities = detector()
    table = table_of(labels, probabilities)
    assert table[["corruption", "level", "severity"]].equals(LEVELS)
    assert (table["n"] == 300).all()
    for row, p in zip(table.itertuples(), probabilities, strict=True):
        logits = np.log(p / (1 - p.astype(float))) / 1.7
        called = (1 / (1 + np.exp(-logits)) >= 0.6).astype(int)
        hits = int((called == labels).sum())
        assert row.accuracy == pytest.approx(sk.accuracy_score(labels, called), abs=1e-6)
        assert (row.accuracy_low, row.accuracy_high) == pytest.approx(wilson(hits, 300), abs=1e-6)
        assert row.roc_auc == pytest.approx(sk.roc_auc_score(labels, p), abs=1e-6)
        assert row.real_recall == pytest.approx(sk.recall_score(labels, called), abs=1e-6)
        fake = sk.recall_score(labels, called, pos_label=0)
        assert row.fake_recall == pytest.approx(fake, abs=1e-6)


def test_intervals_of_the_auc_are_those_of_each_level_alone():
    labels, probabilities = detector()
    table = table_of(labels, probabilities)
    for row, p in zip(table.itertuples(), probabilities, strict=True):
        alone = bootstrap_metrics(labels, p, 200, seed=1)["roc_auc"]
        ends = row.roc_auc_low, row.roc_auc_high
        assert ends == pytest.approx((alone["low"], alone["high"]), abs=1e-6)


def test_an_image_at_the_threshold_is_real():
    rule = Decision(1.0, "0.5", 0.5, 0.0, 0.01, 100)
    found = rightness(np.array([1, 1, 0, 0]), np.array([[0.5, 0.4, 0.5, 0.4]]), rule)
    assert found.tolist() == [[True, False, False, True]]


def test_auc_is_of_the_raw_probability():
    """Calibration clips at 1e-7, and what is beyond would be one tie."""
    labels = np.array([0, 1, 0, 1])
    probabilities = np.tile(np.array([1e-9, 2e-9, 1e-9, 3e-9], np.float32), (4, 1))
    assert (table_of(labels, probabilities)["roc_auc"] == 1).all()


def test_summary_by_hand():
    labels, probabilities = detector()
    table = table_of(labels, probabilities)
    result = summary(labels, probabilities, LEVELS, DECISION)
    assert (result["n"], result["levels"]) == (300, 3)
    for name in ("accuracy", "roc_auc"):
        assert result[name] == pytest.approx(table[name][1:].mean(), abs=2e-6)
        assert result[f"clean_{name}"] == table[name][0]
        jpeg, blur = table[name][1:3].mean(), table[name][3]
        assert result["by_corruption"]["jpeg"][name] == pytest.approx(jpeg, abs=2e-6)
        assert result["by_corruption"]["blur"][name] == pytest.approx(blur, abs=2e-6)
    assert list(result["by_corruption"]) == ["jpeg", "blur"]
    clean = result["intervals"]["clean_accuracy"]
    assert (clean["low"], clean["high"]) == tuple(table.loc[0, ["accuracy_low", "accuracy_high"]])
    mean = result["intervals"]["accuracy"]
    assert mean["value"] == result["accuracy"] and mean["n"] == 300
    assert mean["low"] < mean["value"] < mean["high"]
    assert all(type(v) is float for v in (mean["low"], result["accuracy"], result["clean_roc_auc"]))


def test_the_mean_is_over_images():
    """Against a bootstrap by scikit-learn, and wider than if levels were independent images."""
    labels, probabilities = detector(skill=(3, 1, 1, 1))
    probabilities[2:] = probabilities[1]  # the same at three levels: three are worth one
    right = rightness(labels, probabilities, DECISION)
    drawn = [
        right[1:, resample(np.arange(300), stratify=labels, random_state=i)].mean()
        for i in range(1000)
    ]
    mean = summary(labels, probabilities, LEVELS, DECISION)["intervals"]["accuracy"]
    assert (mean["low"], mean["high"]) == pytest.approx(
        np.quantile(drawn, [0.025, 0.975]), abs=8e-3
    )
    low, high = wilson(int(right[1].sum()), 300)
    assert mean["high"] - mean["low"] > 0.85 * (high - low)


def test_paired_by_hand():
    labels, a = detector()
    _, b = detector(seed=5, skill=(2, 1, 0.5, 0.5))
    right = [rightness(labels, p, DECISION) for p in (a, b)]
    result = paired_robustness(labels, *right)
    gap = right[0][1:].mean() - right[1][1:].mean()
    assert result["corrupted"]["value"] == pytest.approx(gap, abs=1e-6)
    assert result["corrupted"]["low"] < gap < result["corrupted"]["high"]
    calibrated = [DECISION.calibrate(p[0]) for p in (a, b)]
    one, other = ((p >= 0.6) == (labels == 1) for p in calibrated)
    clean = mean_interval(labels == 1, one.astype(float) - other, -1, 1)
    assert result["clean"] == pytest.approx(clean, abs=1e-6)
    swapped = paired_robustness(labels, *right[::-1])["corrupted"]
    assert swapped["low"] == pytest.approx(-result["corrupted"]["high"], abs=2e-6)


def test_what_is_hard_for_both_cancels():
    labels, a = detector()
    right = rightness(labels, a, DECISION)
    worse = right.copy()
    worse[1:, ::3] = False
    same = paired_robustness(labels, right, right)
    assert same["corrupted"] == same["clean"]
    low, high = (same["clean"][end] for end in ("low", "high"))
    # another image may tell them apart: Wilson's end of 0 of 300 is 0.0126
    assert same["clean"]["value"] == 0 and low == -high and 0.0063 < high < 0.0252
    result = paired_robustness(labels, right, worse)
    assert result["corrupted"]["low"] > 0 and result["clean"] == same["clean"]


@pytest.mark.parametrize("half", [False, True])
def test_where_no_image_differs_the_mean_is_no_point(half):
    """All are right at every level, or every REAL at half of the levels, as blur makes it."""
    labels, _ = detector()
    probabilities = np.tile(np.where(labels, 0.99, 0.01).astype(np.float32), (4, 1))
    if half:
        probabilities[2:] = 0.01
    mean = summary(labels, probabilities, LEVELS, DECISION)["intervals"]["accuracy"]
    assert mean["low"] < mean["value"] <= mean["high"] <= 1
    assert 0.0126 / 2 < mean["high"] - mean["low"] < 0.04
    assert (mean["n_fake"], mean["n_real"]) == (200, 100)
    table = table_of(labels, probabilities)
    assert (table["roc_auc_low"] < table["roc_auc_high"]).all()


def test_seed_decides():
    data = detector()
    first = table_of(*data)
    assert table_of(*data).equals(first)
    assert not table_of(*data, seed=2).equals(first)


@pytest.mark.parametrize("temperature", [1.0, 2.5])
def test_two_images_and_equal_probabilities(temperature):
    decision = Decision(temperature, "0.5", 0.5, 0.0, 0.01, 10)
    labels = np.array([0, 1])
    equal = np.full((4, 2), 0.5, np.float32)
    table = table_of(labels, equal, decision=decision)
    assert (table[["accuracy", "roc_auc"]] == 0.5).all(axis=None)
    assert (table["roc_auc_low"] < 0.2).all() and (table["roc_auc_high"] > 0.8).all()
    assert (table["real_recall"] == 1).all() and (table["fake_recall"] == 0).all()
    assert np.isfinite(table.select_dtypes("number")).all(axis=None)
    mean = summary(labels, equal, LEVELS, decision)["intervals"]["accuracy"]
    assert mean["value"] == 0.5 and mean["low"] < 0.2 and mean["high"] > 0.8


def test_other_input_is_refused():
    labels, probabilities = detector(30)
    for judge in (
        partial(level_table, decision=DECISION, resamples=10, seed=1),
        partial(summary, decision=DECISION),
    ):
        with pytest.raises(ValueError, match="one class"):
            judge(np.ones(30, int), probabilities, LEVELS)
        with pytest.raises(ValueError, match="do not fit"):
            judge(labels, probabilities[:2], LEVELS)
        with pytest.raises(ValueError, match="do not fit"):
            judge(labels[:-1], probabilities, LEVELS)
        with pytest.raises(ValueError, match="not none, clean"):
            judge(labels, probabilities, LEVELS[::-1])
        broken = probabilities.copy()
        broken[3, 7] = np.nan
        with pytest.raises(ValueError, match="probability"):
            judge(labels, broken, LEVELS)
    with pytest.raises(ValueError, match="no level is corrupted"):
        summary(labels, probabilities[:1], LEVELS[:1], DECISION)
    with pytest.raises(ValueError, match="resamples"):
        level_table(labels, probabilities, LEVELS, DECISION, 0, 1)
    right = rightness(labels, probabilities, DECISION)
    for a, b in ((right, right[:2]), (right[:, :-1], right[:, :-1]), (probabilities, right)):
        with pytest.raises(ValueError, match="are not bool"):
            paired_robustness(labels, a, b)
    with pytest.raises(ValueError, match="one class"):
        paired_robustness(np.zeros(30), right, right)
    with pytest.raises(ValueError, match="no level is corrupted"):
        paired_robustness(labels, right[:1], right[:1])


# --- figures --------------------------------------------------------------------------------------


def backbones(*names, levels=LEVELS):
    tables = {name: table_of(*detector(60, seed=len(name))) for name in names}
    whole = pd.concat(tables, names=["backbone"]).reset_index("backbone")
    return whole[whole["corruption"].isin(levels["corruption"])]


IMAGES = np.stack([[random_pixels(10 * i + j) for j in range(6)] for i in range(4)])
FIGURES = {
    "curves": (partial(robustness_curves, backbones("resnet50", "other"), "title"), 700, 350),
    "one_panel": (
        partial(robustness_curves, backbones("resnet50", levels=LEVELS[:2]), "title"),
        400,
        350,
    ),
    "sheet": (partial(corruption_sheet, IMAGES, LEVELS), 250, 400),
    "sheet_by_class": (
        lambda path: corruption_sheet(IMAGES, LEVELS, path, np.array([0, 0, 1, 1, 0, 1])),
        250,
        400,
    ),
    "one_image": (partial(corruption_sheet, IMAGES[:, :1], LEVELS), 250, 400),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure(name, tmp_path):
    draw, width, height = FIGURES[name]
    first, second = tmp_path / "first.png", tmp_path / ".partial.second.png"
    draw(path=first)
    assert figures.plt.get_fignums() == []  # closed
    draw(path=second)
    with Image.open(first) as image:
        image.load()
        assert image.format == "PNG" and image.width >= width and image.height >= height
        assert len(np.unique(np.asarray(image.convert("L")))) > 10  # not a blank sheet
        assert image.info.keys() <= {"dpi"}  # no version, no date
    assert first.read_bytes() == second.read_bytes()


def drawn_by(function, *arguments, monkeypatch):
    """Give the figure instead of writing it."""
    kept = []
    for room in ("comparison", "corruption"):
        monkeypatch.setattr(
            f"detector.{room}.figures.save", lambda figure, path: kept.append(figure)
        )
    function(*arguments)
    return kept[0]


def test_curves_go_from_clean_to_the_strongest(monkeypatch):
    table = backbones("resnet50", "other")
    shuffled = table.sample(frac=1, random_state=0)
    shuffled = shuffled.sort_values("backbone", ascending=False, kind="stable")
    figure = drawn_by(robustness_curves, shuffled, "t", "x.png", monkeypatch=monkeypatch)
    panel = next(a for a in figure.axes if a.get_title().startswith("JPEG"))
    assert [text.get_text() for text in panel.get_xticklabels()] == ["clean", "90", "10"]
    line = next(one for one in panel.lines if one.get_label() == "resnet50")
    expected = table[table["backbone"] == "resnet50"]["accuracy"][:3]
    assert list(line.get_ydata()) == list(expected)
    figures.plt.close(figure)


def test_the_sheet_shows_the_picked_images_at_their_levels(monkeypatch):
    figure = drawn_by(corruption_sheet, IMAGES, LEVELS, "x.png", monkeypatch=monkeypatch)
    sheet = figure.axes[0].images[0].get_array()
    assert (sheet[:32, 68:100] == IMAGES[2, 0]).all()  # clean, 90, 10
    assert (sheet[34:66, 34:66] == IMAGES[1, 5]).all()
    blur = figure.axes[1].images[0].get_array()
    assert (blur[:32, 34:66] == IMAGES[3, 0]).all() and (blur[:, 68:] == 255).all()
    figures.plt.close(figure)


def test_nothing_to_draw(tmp_path):
    with pytest.raises(ValueError, match="no level is corrupted"):
        robustness_curves(backbones("a", levels=LEVELS[:1]), "t", tmp_path / "x.png")
    with pytest.raises(ValueError, match="no level is corrupted"):
        corruption_sheet(IMAGES[:1], LEVELS[:1], tmp_path / "x.png")


def test_curves_start_at_the_clean_level():
    table = pd.DataFrame(
        [
            ("none", "clean", 0, 0.9), ("jpeg", "90", 0, 0.8), ("jpeg", "50", 1, 0.7),
            ("blur", "1.0", 0, 0.6),
        ],
        columns=["corruption", "level", "severity", "accuracy"],
    )  # fmt: skip
    drawn = from_clean(table)
    assert drawn.index.tolist() == list(range(5))
    assert drawn.to_numpy().tolist() == [
        ["jpeg", "clean", 0, 0.9], ["jpeg", "90", 1, 0.8], ["jpeg", "50", 2, 0.7],
        ["blur", "clean", 0, 0.9], ["blur", "1.0", 1, 0.6],
    ]  # fmt: skip
