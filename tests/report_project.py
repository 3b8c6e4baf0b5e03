"""A small project with all that the report stage reads, and names that must be escaped."""

import json

import numpy as np
import pandas as pd
from scipy import stats

from detector.comparison import paired as comparison
from detector.evaluation import judgement, metrics
from detector.evaluation.decision import decide
from detector.evaluation.levels import level_table, rightness, summary
from detector.evaluation.predictions import COLUMNS
from detector.report.backbones import BACKBONE_FIGURES
from detector.report.document import FIGURES
from tests.helpers import coded, composed_params, random_pixels

NASTY = 'a|b<script>alert(1)</script>`*_[x](y)&amp; "q".jpg'
SHA = "ab" * 32
AUDIT = {
    "archive": {"name": "sample", "sha256": SHA, "bytes": 4285079, "cifake": False},
    "images": {split: {"FAKE": 150, "REAL": 150} for split in ("train", "val", "test")},
    "warnings": [f"beware of {NASTY}"],
    "exact_duplicates": {"within_train": 0, "train_and_test": 3, "test_and_train_or_val": 3},
    "dropped_duplicates": 0,
    "near_duplicates": {
        "rms_at_most": 5.0,
        "test_and_train": 1, "test_and_train_asked": 4,
        "test_and_train_examples": [[NASTY, "train/b.jpg"]],
        "fake_and_real": 0, "fake_and_real_asked": 4,
        "fake_and_real_examples": [],
    },
    "codecs": {"FAKE": {"JPEG quality 75": 300}, "REAL": {NASTY: 300}},
    "file_bytes": {"FAKE": {"median": 9, "5%": 8, "95%": 10},
                   "REAL": {"median": 7, "5%": 6, "95%": 8}, "auc": 0.96},
    "pixels": {"FAKE": {"mean": [1.0, 2.0, 3.0], "std": [4.0, 5.0, 6.0]}},
    "bad_files": {"count": 1, "first": [[NASTY, "not an image"]]},
    "ignored_files": {"count": 1, "first": ["notes.txt"]},
}  # fmt: skip
NORMALIZATION = {
    "accuracy": {"moving": 0.5125, "batch": 0.84375}, "layers": 53, "layers_that_learn": 9,
    "mean_apart": 12.346, "variance_apart": None,
}  # fmt: skip
SIZE = {
    "input_pixels": 32,
    "parameters": 25686913,
    "trainable_parameters": 7,
    "flops_per_image": 162_000_000,
}


def share(hits, n):
    low, high = stats.binomtest(hits, n).proportion_ci(method="wilson")
    return {"value": hits / n, "low": low, "high": high, "n": n}


EXTERNAL = {"n_real": 0, "n_fake": 25, "accuracy": share(20, 25), "fake_recall": share(20, 25),
            "real_recall": None, "roc_auc": None, "unsure": 0.25}  # fmt: skip


def write_json(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def predictions(split, seed, skill, n=300):
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % 2
    logits = 2 * rng.normal(np.where(labels == 1, skill, -skill), 1)
    probabilities = (1 / (1 + np.exp(-logits))).astype(np.float32)
    names = [f"{i}.jpg" for i in range(n)]
    table = {"split": split, "name": names, "label": labels, "cifar_class": -1}
    return pd.DataFrame({**table, "probability": probabilities}, columns=COLUMNS)


def make_backbone(folder, seed, skill, sets):
    val, test = predictions("val", seed, skill), predictions("test", seed + 50, skill)
    decision = decide(val["label"].to_numpy(), val["probability"].to_numpy(), "balanced", 0.02)
    (folder / "test/figures").mkdir(parents=True)
    pd.concat([val, test]).to_csv(folder / "test/predictions.csv", index=False)
    decision.write(folder / "test/decision.json")
    found = judgement.evaluate(val, test, decision, 200, 0)
    write_json(
        folder / "test/evaluation.json", found | {"size": SIZE, "normalization": NORMALIZATION}
    )
    history = "epoch,accuracy,loss,learning_rate,val_accuracy,val_loss\n0,0.7,0.6,0.1,0.8,0.5\n"
    (folder / "test/history.csv").write_text(history)
    for kind in BACKBONE_FIGURES:
        (folder / f"test/figures/{kind}.png").write_bytes(coded(random_pixels(seed), "PNG"))
    levels = pd.DataFrame({"corruption": ["none", "jpeg"], "level": ["clean", "75"],
                           "severity": [0, 1]})  # fmt: skip
    raw = np.stack([test["probability"], 1 - test["probability"]])
    args = (test["label"].to_numpy(), raw, levels, decision)
    (folder / "robustness").mkdir()
    np.save(folder / "robustness/labels.npy", args[0])
    np.save(folder / "robustness/probabilities.npy", raw)
    level_table(*args, 200, 0).to_csv(folder / "robustness/table.csv", index=False)
    write_json(folder / "robustness/summary.json", summary(*args))
    write_json(folder / "external/external.json", sets)
    return test, decision


def make_project(folder, names=("resnet50", "inceptionv3"), sets=(NASTY,), model="paper"):
    """Write all that the stage reads into `folder`. model: the choice in conf/ that has `names`."""
    composed_params(folder, f"model={names[0] if len(names) == 1 else model}")
    made = {
        name: make_backbone(
            folder / "data/results" / name, seed, 0.7 + seed / 10, dict.fromkeys(sets, EXTERNAL)
        )
        for seed, name in enumerate(names)
    }
    pairs = comparison.paired_tests(
        next(iter(made.values()))[0]["label"].to_numpy(),
        {n: test["probability"].to_numpy() for n, (test, _) in made.items()},
        {
            n: rightness(test["label"], test["probability"], rule)
            for n, (test, rule) in made.items()
        },
        200,
        0,
    )
    write_json(folder / "plots/compare/compare.json", {"resnet50": {}} | metrics.rounded(pairs))
    write_json(folder / "data/audit.json", AUDIT)
    audits = {name: {"warnings": ["only FAKE images"]} for name in sets}
    write_json(folder / "data/sets/audit.json", {"sets": audits})
    for path in FIGURES:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(coded(random_pixels(9), "PNG"))
    return folder
