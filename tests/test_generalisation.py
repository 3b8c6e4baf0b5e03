"""External sets are judged by what was frozen on validation; figures recomputed by others."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy.special import expit, logit
from scipy.stats import binomtest
from sklearn.metrics import accuracy_score, recall_score, roc_auc_score

from detector.base.arrays import SplitWriter
from detector.base.errors import ExpectedError
from detector.evaluation.decision import Decision
from detector.evaluation.generalisation import judge
from stages import generalise
from tests.helpers import ROOT, composed_params, random_pixels

DECISION = Decision(2.0, "balanced", 0.6, 0.3, 0.01, 100)


def predictions(n_fake: int, n_real: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    labels = np.repeat([0, 1], [n_fake, n_real]).astype(np.uint8)
    logits = np.random.default_rng(seed).normal(np.where(labels, 1.0, -1.0), 1.5)
    return labels, expit(logits).astype(np.float32)


def assert_is_share(found: dict, value: float, n: int) -> None:
    low, high = binomtest(round(value * n), n).proportion_ci(method="wilson")
    assert found["n"] == n
    assert (found["value"], found["low"], found["high"]) == pytest.approx(
        (value, low, high), abs=1e-6
    )


def test_both_classes():
    labels, raw = predictions(120, 80)
    found = judge(labels, raw, DECISION, resamples=300, seed=1)
    calibrated = expit(logit(raw.astype(float)) / 2)
    called = (calibrated >= 0.6).astype(int)
    assert (found["n_fake"], found["n_real"], found["threshold"]) == (120, 80, 0.6)
    assert_is_share(found["accuracy"], accuracy_score(labels, called), 200)
    assert_is_share(found["fake_recall"], recall_score(labels, called, pos_label=0), 120)
    assert_is_share(found["real_recall"], recall_score(labels, called), 80)
    auc = found["roc_auc"]
    assert auc["value"] == pytest.approx(roc_auc_score(labels, raw), abs=1e-6)
    assert 0.5 < auc["low"] < auc["value"] < auc["high"] < 1
    near = np.abs(logit(calibrated) - logit(0.6)) < 0.3
    assert 0 < near.mean() < 1
    assert found["unsure"] == pytest.approx(near.mean(), abs=1e-6)
    assert found["mean_probability"]["FAKE"] == pytest.approx(calibrated[:120].mean(), abs=1e-6)
    assert found["mean_probability"]["REAL"] == pytest.approx(calibrated[120:].mean(), abs=1e-6)
    json.dumps(found, allow_nan=False)


def test_the_order_of_the_images_is_no_matter_but_for_the_bootstrap():
    labels, raw = predictions(50, 50)
    order = np.random.default_rng(3).permutation(100)
    one, other = (judge(labels[o], raw[o], DECISION, 200, 1) for o in (slice(None), order))
    assert one.pop("roc_auc")["value"] == other.pop("roc_auc")["value"]
    assert one == other


@pytest.mark.parametrize(("n_fake", "n_real"), [(7, 0), (0, 7)])
def test_one_class(n_fake, n_real):
    labels, raw = predictions(n_fake, n_real)
    found = judge(labels, raw, DECISION, resamples=200, seed=1)
    here, absent = ("fake", "real") if n_fake else ("real", "fake")
    assert found["roc_auc"] is None
    assert found[f"{absent}_recall"] is None
    assert found["mean_probability"][absent.upper()] is None
    assert found[f"{here}_recall"] == found["accuracy"]
    json.dumps(found, allow_nan=False)


def test_an_image_at_the_threshold_is_real_and_the_seed_decides():
    rule = Decision(1.0, "0.5", 0.5, 0.0, 0.01, 100)
    labels, raw = np.array([0, 1]), np.array([0.1, 0.5])
    assert judge(labels, raw, rule, 100, 1)["accuracy"]["value"] == 1
    areas = [judge(*predictions(50, 50), DECISION, 100, seed)["roc_auc"] for seed in (1, 1, 2)]
    assert areas[0] == areas[1] != areas[2]


def test_no_images_are_a_fault_of_the_caller():
    with pytest.raises(ValueError, match="at least one"):
        judge(np.array([]), np.array([]), DECISION, 100, 0)


# The stage


def set_of(name: str, labels: list[int], seed: int) -> np.ndarray:
    images = np.stack([random_pixels(seed + i, 8) for i in range(len(labels))])
    with SplitWriter(f"data/sets/{name}", 8) as writer:
        names = [
            f"REAL/größe {i}.jpg" if label else f"FAKE/{i}.png" for i, label in enumerate(labels)
        ]
        writer.append(images, labels, [-1] * len(labels), names)
    return images


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["generalise", "--model", "resnet50"])
    composed_params(tmp_path)
    Path("data/sets").mkdir(parents=True)
    Path("models").mkdir()
    DECISION.write("models/resnet50.decision.json")
    return tmp_path


def list_sets(*names: str) -> None:
    Path("data/sets/sets.json").write_text(json.dumps([{"name": name} for name in names]))


def outs() -> tuple[str, dict]:
    return (
        Path("data/results/resnet50/external/predictions.csv").read_text(),
        json.loads(Path("data/results/resnet50/external/external.json").read_text()),
    )


def test_without_sets_no_network_is_loaded(place):
    list_sets()
    code = (
        "import sys; from detector.base import program; from stages import generalise\n"
        "program.run(generalise.main)\n"
        "assert not {'keras', 'tensorflow', 'torch', 'jax'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, "--model", "resnet50"],
        env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert outs() == ("set,name,label,probability\n", {})


def test_each_set_is_predicted_and_judged(place, monkeypatch):
    """The network is one that looks at the first pixel."""
    labels = {"b": [1, 0, 1, 0, 0], "a": [0, 0, 0]}
    images = {name: set_of(name, of_set, seed=len(of_set)) for name, of_set in labels.items()}
    list_sets(*labels)
    asked = []

    def load(name, params, image_size):
        asked.append((name, image_size, params.model[name].builder))
        return lambda split: (split.images[:, 0, 0, 0] / 255).astype(np.float32)

    monkeypatch.setattr(generalise, "load", load)
    generalise.main()
    assert asked == [("resnet50", 8, "ResNet50")]
    _, report = outs()
    assert list(report) == ["b", "a"]
    table = pd.read_csv(
        "data/results/resnet50/external/predictions.csv", dtype={"probability": "f4"}
    )
    assert list(table.columns) == generalise.COLUMNS
    for name, of_set in labels.items():
        rows = table[table["set"] == name]
        raw = (images[name][:, 0, 0, 0] / 255).astype(np.float32)
        assert rows["label"].tolist() == of_set
        assert np.array_equal(rows["probability"], raw)  # nine digits give back the same float32
        assert report[name] == judge(np.array(of_set), raw, DECISION, 2000, seed=1)
    assert table["name"][0] == "REAL/größe 0.jpg"


def test_what_an_earlier_run_left_is_replaced(place):
    folder = Path("data/results/resnet50/external")
    folder.mkdir(parents=True)
    (folder / "old.csv").touch()
    list_sets()
    generalise.main()
    assert sorted(p.name for p in folder.iterdir()) == ["external.json", "predictions.csv"]


@pytest.mark.parametrize("content", [None, "{", "[1]", '[{"n": 1}]'])
def test_a_damaged_list_of_sets(place, content):
    if content is not None:
        Path("data/sets/sets.json").write_text(content)
    with pytest.raises(ExpectedError, match=r"sets\.json: not a list of sets"):
        generalise.main()
