"""The decision frozen on validation, and what evaluate says of a network, recomputed by others."""

import json

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from sklearn import metrics as sk

from detector.base.errors import ExpectedError
from detector.evaluation import judgement
from detector.evaluation.decision import decide, read_decision
from detector.evaluation.predictions import COLUMNS


def predictions(n, seed, sharpness=3.0):
    """Predictions of a network that is right on average, and `sharpness` times too sure."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    logits = sharpness * (rng.normal(0, 1.5, n) + np.where(labels == 1, 1.2, -1.2))
    return pd.DataFrame(
        {
            "split": "test",
            "name": [f"{i}.jpg" for i in range(n)],
            "label": labels,
            "cifar_class": -1,
            "probability": (1 / (1 + np.exp(-logits))).astype(np.float32),
        },
        columns=COLUMNS,
    )


VALIDATION, TEST = predictions(2000, seed=1), predictions(1000, seed=2)


def decided(goal="balanced", sure_error=0.05):
    labels, raw = VALIDATION["label"].to_numpy(), VALIDATION["probability"].to_numpy()
    return decide(labels, raw, goal, sure_error)


@pytest.fixture
def report():
    return judgement.evaluate(VALIDATION, TEST, decided(), resamples=100, seed=0)


def test_headline_metrics_agree_with_scikit_learn(report):
    labels, raw = TEST["label"], TEST["probability"]
    called = raw >= 0.5
    test = report["test"]
    assert test["accuracy"] == pytest.approx(sk.accuracy_score(labels, called), abs=1e-6)
    assert test["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, raw), abs=1e-6)
    right = int((called == labels).sum())
    low, high = stats.binomtest(right, 1000).proportion_ci(method="wilson")
    found = test["intervals"]["accuracy"]
    assert (found["low"], found["high"]) == pytest.approx((low, high), abs=1e-6)
    assert found["n"] == 1000
    for part in (test, report["val"], report["test_at_threshold"]):
        assert len(part["intervals"]) == 9
        for name, interval in part["intervals"].items():
            assert interval["low"] <= interval["value"] <= interval["high"], name
            assert interval["value"] == pytest.approx(part[name], abs=1e-5), name


def test_calibration_is_measured_and_mended(report):
    found = report["calibration"]
    assert found["temperature"] > 1.5  # it was too sure
    assert found["after"]["ece"] < found["before"]["ece"] / 2
    assert found["after"]["log_loss"] < found["before"]["log_loss"]
    labels, raw = TEST["label"].to_numpy(), TEST["probability"].to_numpy()
    assert found["before"]["brier"] == pytest.approx(np.mean((raw - labels) ** 2), abs=1e-6)
    # ECE by another way: 15 bins of equal mass, cut by rank (no ties here to speak of)
    order = np.argsort(raw, kind="stable")
    bins = np.array_split(order, 15)
    gaps = [len(b) / 1000 * abs(raw[b].mean() - labels[b].mean()) for b in bins]
    assert found["before"]["ece"] == pytest.approx(sum(gaps), abs=2e-3)
    kept = np.clip(raw.astype(float), 1e-7, 1 - 1e-7)
    logits = np.log(kept / (1 - kept))
    cooled = 1 / (1 + np.exp(-logits / decided().temperature))
    assert found["after"]["brier"] == pytest.approx(np.mean((cooled - labels) ** 2), abs=1e-6)
    assert found["after"]["log_loss"] == pytest.approx(sk.log_loss(labels, cooled), abs=1e-6)


def test_the_threshold_is_chosen_on_validation_alone(report):
    decision = decided()
    assert report["test_at_threshold"]["threshold"] == round(decision.threshold, 6)
    calibrated = decision.calibrate(TEST["probability"].to_numpy())
    accuracy = np.mean((calibrated >= decision.threshold) == TEST["label"])
    assert report["test_at_threshold"]["accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert decided("0.5").threshold == 0.5
    strict = decided("fpr_0.01")
    real = VALIDATION["label"] == 1
    called_fake = strict.calibrate(VALIDATION["probability"].to_numpy()) < strict.threshold
    assert 0.005 < called_fake[real].mean() <= 0.01


def test_the_sure_make_fewer_errors(report):
    found = report["selective"]
    everyone = 1 - report["test_at_threshold"]["accuracy"]
    assert found["error_of_the_sure"] < everyone / 2 and found["error_of_the_sure"] < 0.1
    assert 0.1 < found["unsure"] < 0.9
    assert found["sure_n"] == round((1 - found["unsure"]) * 1000)
    assert 0 < found["coverage_at_1%_error"] < found["coverage_at_2%_error"] < 1
    assert 0 < found["aurc"] < everyone


def test_classes_are_reported_where_they_are_known():
    table = TEST.assign(cifar_class=np.arange(1000) % 3)
    by_class = judgement.at_half(table, 100, 0)["accuracy_by_cifar_class"]
    assert list(by_class) == ["airplane", "automobile", "bird"]
    assert "accuracy_by_cifar_class" not in judgement.at_half(TEST, 100, 0)


def test_the_report_is_json_and_the_same_every_time(report):
    again = judgement.evaluate(VALIDATION, TEST, decided(), resamples=100, seed=0)
    assert json.dumps(report, allow_nan=False) == json.dumps(again)


def test_few_images_of_a_class_are_warned_of(report):
    assert report["warnings"] == []
    few = TEST[(TEST["label"] == 1) | (TEST["name"].str.len() < 6)]  # 0.jpg, 2.jpg, ... are FAKE
    found = judgement.evaluate(VALIDATION[:60], few, decided(), resamples=100, seed=0)
    assert [words.split(",")[0] for words in found["warnings"]] == [
        "only 30 FAKE images in val", "only 30 REAL images in val", "only 5 FAKE images in test",
    ]  # fmt: skip


def test_a_decision_comes_back_to_the_last_bit(tmp_path):
    decision = decided()
    decision.write(tmp_path / "decision.json")
    assert read_decision(tmp_path / "decision.json") == decision


@pytest.mark.parametrize("text", ["", "[]", '{"temperature": 1}', "{}"])
def test_another_file_is_refused(tmp_path, text):
    (tmp_path / "decision.json").write_text(text)
    with pytest.raises(ExpectedError, match=r"decision\.json: not a decision"):
        read_decision(tmp_path / "decision.json")


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("temperature", "x"), ("temperature", 0), ("temperature", float("nan")),
        ("temperature", None), ("threshold", 1.5), ("threshold", float("nan")),
        ("abstain", -1), ("abstain", float("inf")), ("abstain", [1]),
        ("sure_error", 2), ("sure_error", None), ("n", "many"), ("n", -1), ("goal", 0.5),
        ("sure_error", float("nan")), ("n", float("inf")), ("n", 0),
    ],
)  # fmt: skip
def test_values_that_no_decision_has_are_refused(tmp_path, key, value):
    path = tmp_path / "decision.json"
    decided().write(path)
    content = json.loads(path.read_text())
    path.write_text(json.dumps({**content, key: value}))
    with pytest.raises(ExpectedError, match=rf"decision\.json: not a decision .*\({key} is "):
        read_decision(path)
