"""Every figure is a PNG, the same for the same input."""

from functools import partial

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from detector.base.arrays import Split
from detector.comparison import figures as compared
from detector.diagnosis import figures
from detector.evaluation.calibration import reliability_table
from detector.evaluation.metrics import precision_recall_table, roc_table
from detector.evaluation.selective import risk_coverage
from detector.figures import style
from detector.preprocessing.figures import sample_sheet
from tests.helpers import random_pixels


def split(n=90):
    images = np.stack([random_pixels(i) for i in range(n)])
    labels = (np.arange(n) % 3 == 0).astype(np.uint8)
    return Split(images, labels, np.full(n, -1, np.int8), np.array([b"x"] * n))


def predictions():
    rng = np.random.default_rng(0)
    labels = np.arange(200) % 2
    return pd.DataFrame({"label": labels, "probability": rng.random(200) * 0.5 + labels * 0.5})


def arrays():
    table = predictions()
    return table["label"].to_numpy(), table["probability"].to_numpy()


def risk():
    table = risk_coverage(*arrays(), 0.5)
    return pd.concat({"a": table, "b": table}, names=["backbone"]).reset_index("backbone")


def curve_tables():
    table = predictions()
    return [
        pd.concat(
            {name: curve(table["label"], table["probability"]) for name in ("resnet50", "other")},
            names=["backbone"],
        ).reset_index("backbone")
        for curve in (roc_table, precision_recall_table)
    ]


def history(epochs=3):
    return pd.DataFrame(
        [
            (name, epoch, part, 1 / epoch, 1 - 0.5 / epoch)
            for name in ("resnet50", "other")
            for epoch in range(1, epochs + 1)
            for part in ("train", "validation")
        ],
        columns=["backbone", "epoch", "split", "loss", "accuracy"],
    )


def comparison_table(*names):
    return pd.DataFrame(
        [(n, s, m, 0.7) for n in names for s in ("here", "paper") for m in ("accuracy", "f1")],
        columns=["backbone", "source", "metric", "value"],
    )


CONFUSION = {
    "FAKE_predicted_FAKE": 90,
    "FAKE_predicted_REAL": 10,
    "REAL_predicted_FAKE": 1000,
    "REAL_predicted_REAL": 0,
}
FIGURES = {
    "sample_sheet": (partial(sample_sheet, split(), 1), 900, 500),
    "few_samples": (partial(sample_sheet, split(3), 1), 900, 500),
    "confusion_matrix": (partial(figures.confusion_matrix, CONFUSION, "title"), 400, 350),
    "histogram": (partial(figures.probability_histogram, *arrays(), 0.4, "title"), 600, 350),
    "reliability": (
        partial(figures.reliability, {"before": reliability_table(*arrays())}, "title"),
        450,
        400,
    ),
    "risk_coverage": (partial(compared.risk_coverage, risk(), "title"), 500, 400),
    "curves": (partial(compared.curves, *curve_tables(), "title"), 900, 450),
    "learning_curves": (partial(compared.learning_curves, history(), "title"), 900, 400),
    "one_epoch": (partial(compared.learning_curves, history(1), "title"), 900, 400),
    "comparison": (
        partial(compared.comparison, comparison_table("a", "b"), "title", True),
        900,
        400,
    ),
    "one_backbone": (partial(compared.comparison, comparison_table("a"), "title", False), 500, 400),
}


@pytest.mark.parametrize("name", FIGURES)
def test_figure(name, tmp_path):
    draw, width, height = FIGURES[name]
    first, second = tmp_path / "first.png", tmp_path / ".partial.second.png"
    draw(first)
    assert style.plt.get_fignums() == []  # closed
    style.plt.plot([1, 2])  # what others left open is no matter
    draw(second)
    style.plt.close("all")
    with Image.open(first) as image:
        image.load()
        assert image.format == "PNG" and image.width >= width and image.height >= height
        assert len(np.unique(np.asarray(image.convert("L")))) > 10  # not a blank sheet
        assert image.info.keys() <= {"dpi"}  # no version, no date
    assert first.read_bytes() == second.read_bytes()


def test_the_seed_chooses_the_samples(tmp_path):
    for seed in (1, 2):
        sample_sheet(split(), seed, tmp_path / f"{seed}.png")
    assert (tmp_path / "1.png").read_bytes() != (tmp_path / "2.png").read_bytes()
