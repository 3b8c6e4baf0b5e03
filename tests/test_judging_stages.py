"""Evaluate chooses on validation images, and compare compares the same images."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit
from sklearn import metrics as sk

from detector.base.arrays import SplitWriter
from detector.base.errors import ExpectedError
from detector.evaluation.decision import decide
from detector.evaluation.predictions import predictions_table
from stages import compare, evaluate
from tests.helpers import composed_params
from tests.report_project import make_project

# Of each split: images, how far the classes are apart, how far off the threshold is, sharpness.
MADE = {"val": (300, 1.0, 0.5, 2.0), "test": (200, 1.3, -0.3, 2.5)}


def made_up(name):
    n, apart, off, sharp = MADE[name]
    rng = np.random.default_rng(n)
    labels = np.arange(n) % 2
    logits = sharp * (rng.normal(np.where(labels, apart, -apart), 1) + off)
    return labels, expit(logits).astype(np.float32)


@pytest.fixture
def judged(tmp_path, monkeypatch):
    """Run evaluate without a network; give what it would write."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["evaluate", "--model", "cnn32"])
    composed_params(tmp_path, "model=cnn32", "evaluate.resamples=100", "evaluate.sure_error=0.05")
    for name in MADE:
        labels, _ = made_up(name)
        with SplitWriter(f"data/{name}", 8) as writer:
            images = np.zeros((len(labels), 8, 8, 3), np.uint8)
            writer.append(
                images, labels, [-1] * len(labels), [f"{i}.jpg" for i in range(len(labels))]
            )
    Path("data/leaked.csv").write_text("test,same_as,split\n1.jpg,a.jpg,train\n")
    kept = {}
    for function, stands_for in {
        "load": lambda *_: None,
        "predict": lambda _, splits, size: {
            name: predictions_table(name, split, made_up(name)[1]) for name, split in splits.items()
        },
        "diagnose": lambda *_: ({}, None),
        "look": lambda *_: None,
        "write": lambda judged, results, *_: kept.update(judged=judged, results=results),
    }.items():
        monkeypatch.setattr(evaluate, function, stands_for)
    monkeypatch.setattr("detector.diagnosis.cost.inference_rate", lambda *_: {})
    monkeypatch.setattr("detector.diagnosis.cost.size", lambda *_: {})
    monkeypatch.setattr("detector.timings.keep", lambda *_: None)
    evaluate.main()
    return kept["judged"], kept["results"]


def test_temperature_threshold_and_band_are_chosen_on_validation(judged):
    """On test images each of the three would be another one."""
    found, results = judged
    wanted, other = (decide(*made_up(name), "balanced", 0.05) for name in ("val", "test"))
    assert found.decision == wanted
    for name in ("temperature", "threshold", "abstain"):
        chosen, on_test = getattr(wanted, name), getattr(other, name)
        assert abs(chosen - on_test) > 0.1 * abs(chosen), name
    assert results["calibration"]["temperature"] == round(wanted.temperature, 6)
    labels, raw = made_up("test")
    calibrated = expit(np.log(raw / (1 - raw.astype(float))) / wanted.temperature)
    at = results["test_at_threshold"]
    assert at["threshold"] == round(wanted.threshold, 6) and at["n"] == 200
    right = (calibrated >= wanted.threshold) == labels
    assert at["accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    sure = np.abs(np.log(calibrated / (1 - calibrated)) - np.log(wanted.threshold / (
        1 - wanted.threshold))) >= wanted.abstain  # fmt: skip
    assert results["selective"]["sure_n"] == sure.sum()
    assert all(((calibrated >= wanted.threshold) == real)[sure].sum() > 20 for real in (0, 1))
    assert results["selective"]["error_of_the_sure"] == pytest.approx(
        (~right)[sure].mean(), abs=1e-6
    )
    assert (results["val"]["n"], results["test"]["n"]) == (300, 200)


def test_each_split_is_judged_by_its_own_images(judged):
    _, results = judged
    for name in MADE:
        labels, raw = made_up(name)
        assert results[name]["roc_auc"] == pytest.approx(sk.roc_auc_score(labels, raw), abs=1e-6)


# --- compare --------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("compare"))


@pytest.fixture
def place(project, tmp_path, monkeypatch):
    shutil.copytree(project, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "data/results"


def compared(monkeypatch):
    kept = []
    monkeypatch.setattr(compare, "write", lambda loaded, rows, pairs, *_: kept.append(pairs))
    compare.main()
    return kept[0]["resnet50 minus inceptionv3"]


def test_pairs_are_at_the_frozen_thresholds_and_the_area_is_of_raw_probabilities(
    place, monkeypatch
):
    """As raw ones at thresholds of calibrated ones would be right on others."""
    right, areas, at_raw = {}, {}, {}
    for name in ("resnet50", "inceptionv3"):
        folder = place / name / "test"
        rule = json.loads((folder / "decision.json").read_text())
        table = pd.read_csv(folder / "predictions.csv")
        # beyond 1e-7 all are equal once they are calibrated
        small = table["split"].eq("test") & table["probability"].lt(0.2)
        table.loc[small, "probability"] *= 1e-9
        table.to_csv(folder / "predictions.csv", index=False)
        test = table[table["split"] == "test"]
        raw, real = test["probability"].to_numpy(), test["label"].to_numpy() == 1
        kept = np.clip(raw, 1e-7, 1 - 1e-7)
        calibrated = expit(np.log(kept / (1 - kept)) / rule["temperature"])
        right[name] = (calibrated >= rule["threshold"]) == real
        at_raw[name] = (raw >= rule["threshold"]) == real
        areas[name] = sk.roc_auc_score(real, raw)
        assert areas[name] != sk.roc_auc_score(real, calibrated)
    a, b = right.values()
    found = compared(monkeypatch)
    assert found["mcnemar"]["only_a"] == (a & ~b).sum()
    assert found["mcnemar"]["only_b"] == (b & ~a).sum()
    raw_a, raw_b = at_raw.values()
    assert (a & ~b).sum() != (raw_a & ~raw_b).sum()
    gain = found["difference"]
    assert gain["accuracy"]["value"] == pytest.approx(a.mean() - b.mean())
    assert gain["roc_auc"]["value"] == pytest.approx(areas["resnet50"] - areas["inceptionv3"])


@pytest.mark.parametrize("column", ["name", "label"])
def test_other_test_images_are_refused(place, monkeypatch, column):
    path = place / "resnet50/test/predictions.csv"
    table = pd.read_csv(path)
    table[column] = table[column].replace({"7.jpg": "other.jpg", 1: 0, 0: 1})
    table.to_csv(path, index=False)
    with pytest.raises(ExpectedError) as caught:
        compared(monkeypatch)
    assert str(caught.value) == (
        "resnet50 and inceptionv3 judged different images; a paired test needs the same data, seed "
        "and corruption: 'dvc repro' makes both anew"
    )


def test_other_damaged_images_are_refused(place, monkeypatch):
    path = place / "resnet50/robustness/labels.npy"
    np.save(path, 1 - np.load(path), allow_pickle=False)
    with pytest.raises(ExpectedError, match="judged different images"):
        compared(monkeypatch)


def test_what_is_of_no_chosen_backbone_is_moved_and_not_deleted(place, monkeypatch, capsys):
    """A copy made before an experiment, which was gone without a word."""
    before = {path.relative_to(place) for path in place.rglob("*")}
    for _ in range(2):
        shutil.copytree(place / "resnet50", place / "before")
        (place / "notes.txt").write_text("mine")
        compared(monkeypatch)
        assert {path.relative_to(place) for path in place.rglob("*")} == before
    copies = list(Path(".work/results").glob("*/before/test/predictions.csv"))
    assert len(copies) == 2 and len(list(Path(".work/results").glob("*/notes.txt"))) == 2
    for copy in copies:
        assert copy.read_bytes() == (place / "resnet50/test/predictions.csv").read_bytes()
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 4 and said[0].startswith("data/results/before is of no backbone")
    assert Path(said[0].split("moved to ")[1]).is_dir()
