"""The paper's figures, and the table that they and ours make."""

import numpy as np
import pandas as pd
import pytest

from detector.comparison.paired import (
    add_robustness,
    caption,
    chart_rows,
    comparison_rows,
    markdown_table,
    paired_tests,
    pairs_in_words,
    paper_results,
)
from detector.evaluation.metrics import percent

# The paper's Table 4 and the figures of its text.
PAPER = {
    "ResNet50": {
        "train_accuracy": [0.7758, 0.8212, 0.8327, 0.8389, 0.8444],
        "train_loss": [0.4933, 0.4063, 0.3823, 0.3726, 0.3663],
        "validation_accuracy": 0.5120,
        "accuracy": 0.5090,
        "precision": 0.5046,
        "recall": 0.9996,
        "specificity": 0.0185,
        "f1": 0.6706,
    },
    "InceptionV3": {
        "train_accuracy": [0.8883, 0.9286, 0.9374, 0.9419, 0.9454],
        "train_loss": [0.2781, 0.1841, 0.1632, 0.1484, 0.1393],
        "validation_accuracy": 0.9478,
        "accuracy": 0.9459,
        "precision": 0.9547,
        "recall": 0.9363,
        "specificity": 0.9556,
        "f1": 0.9454,
    },
}
METRICS = ["validation_accuracy", "accuracy", "precision", "recall", "specificity", "f1"]


def measured(start):
    """Metrics as of evaluation.judgement; only f1 has an interval, of a point to both sides."""
    values = {metric: start + i / 100 for i, metric in enumerate(METRICS)}
    ends = {"low": values["f1"] - 0.01, "high": values["f1"] + 0.01}
    return {**values, "intervals": {"f1": {"value": values["f1"], "n": 9, **ends}}}


def test_the_papers_results():
    assert paper_results() == PAPER


@pytest.mark.parametrize("name", PAPER)
def test_the_papers_results_agree_with_each_other(name):
    """10,000 test images of each class: accuracy and F1 follow from the other three."""
    paper = paper_results()[name]
    assert paper["accuracy"] == pytest.approx(
        (paper["recall"] + paper["specificity"]) / 2, abs=2e-4
    )
    predicted_real = paper["recall"] + 1 - paper["specificity"]
    assert paper["precision"] == pytest.approx(paper["recall"] / predicted_real, abs=2e-4)
    f1 = 2 * paper["precision"] * paper["recall"] / (paper["precision"] + paper["recall"])
    assert paper["f1"] == pytest.approx(f1, abs=2e-4)


def test_rows_stand_beside_the_papers_of_the_same_backbone():
    results = {"plain": measured(0.5), "mine": measured(0.7)}
    rows = comparison_rows(
        results, {"plain": "ResNet50", "mine": "InceptionV3"}, dict.fromkeys(results)
    )
    assert list(rows.columns) == ["backbone", "source", "metric", "value", "low", "high"]
    assert len(rows) == 2 * 2 * len(METRICS)
    values = rows.set_index(["backbone", "source", "metric"])["value"]
    for name, backbone in (("plain", "ResNet50"), ("mine", "InceptionV3")):
        for metric in METRICS:
            assert values[name, "here", metric] == results[name][metric]
            assert values[name, "paper", metric] == PAPER[backbone][metric]
    ends = rows.dropna()[["backbone", "source", "metric"]].to_numpy().tolist()
    assert ends == [["plain", "here", "f1"], ["mine", "here", "f1"]]


@pytest.mark.parametrize(
    ("is_cifake", "theirs"), [(True, "mine, n"), (False, "paper, CIFAKE: other images")]
)
def test_a_chart_keeps_the_papers_apart_unless_it_is_cifake(is_cifake, theirs):
    rows = comparison_rows({"a": measured(0.5)}, {"a": "ResNet50"}, {"a": measured(0.25)})
    charted = chart_rows(rows, "mine, n", is_cifake).set_index(["source", "metric"])
    assert set(charted.loc["here", "images"]) == {"mine, n"}
    assert set(charted.loc["paper", "images"]) == {theirs}
    assert set(charted.index.get_level_values("source")) == {"here", "paper"}
    assert charted.loc[("paper", "recall"), "percent"] == "99.96%"


def test_a_backbone_that_the_paper_does_not_have():
    rows = comparison_rows({"new": measured(0.5)}, {"new": "efficientnetb0"}, {"new": None})
    assert rows["source"].tolist() == ["here"] * len(METRICS)


def test_the_caption_says_whether_it_is_cifake():
    assert (
        caption("cifake", True, 20000, 0)
        == "Here: CIFAKE, 20,000 test images. Paper: as published."
    )
    words = caption("sample", False, 400, 7)
    assert "400 test images of the data set 'sample', which is not CIFAKE. 7 of them" in words
    assert "validation image; without leaked: the other 393." in words
    assert "compare them on data=cifake only" in words


def test_the_table_in_markdown():
    rows = comparison_rows(
        {"resnet50": measured(0.5), "new": measured(0.6)},
        {"resnet50": "ResNet50", "new": "efficientnetb0"},
        {"resnet50": None, "new": measured(0.25)},
    )
    lines = markdown_table(rows, "The caption.").split("\n")
    assert lines[:4] == [
        "The caption.",
        "",
        "| % | resnet50, here | resnet50, paper | new, here | new, here, without leaked |",
        "|---|--:|--:|--:|--:|",
    ]
    assert lines[4] == "| validation accuracy | 50.00 | 51.20 | 60.00 |  |"
    ours = "65.00 (64.00 to 66.00) | 30.00 (29.00 to 31.00) |"
    assert lines[-2] == f"| f1 | 55.00 (54.00 to 56.00) | 67.06 | {ours}"
    assert lines[-1] == ""
    assert len(lines) == 4 + len(METRICS) + 1
    assert {line.count("|") for line in lines[2:-1]} == {6}


def test_cells_without_a_value_are_empty():
    rows = pd.DataFrame(
        [
            ("a", "here", "accuracy", 0.5, np.nan, np.nan),
            ("a", "here", "f1", 0.25, np.nan, np.nan),
            ("b", "here", "f1", 1.0, np.nan, np.nan),
        ],
        columns=["backbone", "source", "metric", "value", "low", "high"],
    )
    assert markdown_table(rows, "").split("\n")[4:6] == [
        "| accuracy | 50.00 |  |",
        "| f1 | 25.00 | 100.00 |",
    ]


def at(labels, probabilities, threshold=0.5):
    return {name: (p >= threshold) == (labels == 1) for name, p in probabilities.items()}


def test_paired_tests_of_known_discordant_pairs():
    """20 images; a errs on 2, b on 10, both on 1: only a is right on 9, only b on 1."""
    labels = np.arange(20) % 2
    sure = np.where(labels == 1, 0.9, 0.1)
    a, b = sure.copy(), sure.copy()
    a[[0, 1]] = 1 - a[[0, 1]]
    b[1:11] = 1 - b[1:11]
    raw = {"a": a, "b": b}
    tests = paired_tests(labels, raw, at(labels, raw), resamples=200, seed=0)
    found = tests["a minus b"]
    table = {k: v for k, v in found["mcnemar"].items() if k != "p_value"}
    assert table == {"both_right": 9, "only_a": 9, "only_b": 1, "both_wrong": 1}
    # two-sided binomial test of 1 among 10 at one half: 2 * (1 + 10) / 2^10
    assert found["mcnemar"]["p_value"] == pytest.approx(22 / 1024)
    gain = found["difference"]["accuracy"]
    assert gain["value"] == pytest.approx(8 / 20) and gain["low"] > 0
    words = pairs_in_words(tests)
    assert "+40.00 points" in words and "n = 20" in words and "p = 0.021" in words
    assert "only a is right on 9, only b on 1 images" in words
    assert "damaged" not in words


def test_the_words_of_pairs():
    gain = {"value": -0.0312, "low": 0.0005, "high": 0.06, "n": 1800}
    pair = {
        "mcnemar": {"only_a": 0, "only_b": 25, "p_value": 5.96e-8},
        "difference": {"accuracy": gain},
    }
    damage = {"value": 0.01, "low": 0.002, "high": 0.018, "n": 4000}
    words = pairs_in_words({"a minus b": pair, "a minus c": pair | {"robustness": {
        "corrupted": damage,
    }}})  # fmt: skip
    said = (
        "accuracy differs by -3.12 points (95 % interval +0.05 to +6.00, n = 1,800); only a is "
        "right on 0, only {} on 25 images; McNemar's exact p = 6e-08"
    )
    assert words == "\n".join([
        "Paired tests at the thresholds frozen on validation:",
        "",
        f"- a minus b: {said.format('b')}",
        f"- a minus c: {said.format('c')}; mean accuracy over corrupted images differs by +1.00 "
        "points (+0.20 to +1.80, n = 4,000)",
        "",
    ])  # fmt: skip


def test_robustness_joins_the_pair():
    """a is right on every damaged image, b on 3 of 4 at one level of two: 1/8 less."""
    labels = np.array([0, 0, 1, 1])
    right = {"a": np.ones((3, 4), bool), "b": np.ones((3, 4), bool)}
    right["b"][1, 0] = False
    pairs = {"a minus b": {"mcnemar": {}, "difference": {}}}
    add_robustness(pairs, labels, right)
    found = pairs["a minus b"]["robustness"]
    assert found["corrupted"]["value"] == pytest.approx(1 / 8) and found["clean"]["value"] == 0
    p = {"a": np.array([0.1, 0.2, 0.8, 0.9]), "b": np.array([0.1, 0.2, 0.8, 0.9])}
    tests = paired_tests(labels, p, at(labels, p), resamples=100, seed=0)
    tests["a minus b"]["robustness"] = found
    assert "over corrupted images differs by +12.50 points" in pairs_in_words(tests)


def test_one_network_has_no_pair():
    one = {"a": np.array([0.1, 0.9])}
    right = {"a": np.array([True, True])}
    assert paired_tests(np.array([0, 1]), one, right, resamples=100, seed=0) == {}
    assert pairs_in_words({}) == ""


def test_the_area_is_of_the_raw_and_the_accuracy_of_what_was_called():
    """Beyond 1e-7 calibration makes one tie of what b still tells apart."""
    labels = np.array([0, 0, 1, 1])
    raw = {"a": np.array([0.9, 0.1, 0.2, 0.3]), "b": np.array([1e-9, 2e-9, 3e-9, 4e-9])}
    right = {"a": np.ones(4, bool), "b": np.array([True, False, False, False])}
    (found,) = paired_tests(labels, raw, right, resamples=100, seed=0).values()
    assert found["difference"]["roc_auc"]["value"] == 0.5 - 1
    assert found["difference"]["accuracy"]["value"] == 0.75
    assert found["mcnemar"]["only_a"] == 3


def test_shares_are_written_in_one_way():
    """An accuracy of 159/160 as float32, which is a hair lower, and as the JSON has it."""
    assert percent(np.float32(0.99375)) == percent(0.99375) == percent(0.9937498) == "99.38"
    # a half goes to the even digit, in decimals
    assert [percent(x) for x in (0.97125, 0.98625, 0.00125, 0.00375)] == [
        "97.12", "98.62", "0.12", "0.38",
    ]  # fmt: skip
    assert percent(1) == "100.00" and percent(0.0000004) == "0.00" and percent(-0.03) == "-3.00"
    assert percent(0.015, "+") == "+1.50" and percent(-0.015, "+") == "-1.50"
