"""The demonstration of the collapse: its ways, its data, and what it makes of results."""

import json

import numpy as np
import pytest

from benchmarks.collapse import GRID, NAME, PAPER, known_backbone, real_images, settings_of, ways
from benchmarks.collapse_report import figure, markdown
from detector.data.arrays import Split
from detector.errors import ExpectedError
from detector.networks.backbones import BACKBONES


def test_every_way_that_differs_stands_once():
    found = ways(only_paper=False)
    assert len(found) == len(set(found)) == 14 and PAPER in found
    # Nothing that learns is normalised: the momentum would say nothing.
    assert all(way[3] == 0.99 for way in found if way[1] == "frozen")
    assert not [way for way in found if way[1] == "train" and way[2] == "0"]
    assert {way[0] for way in found} == set(GRID["preprocessing"])


def test_the_papers_way_and_its_cure_differ_in_what_the_grid_has():
    first, second = ways(only_paper=True)
    assert first == PAPER and second[0] == "imagenet"


def test_settings_are_the_papers_but_for_the_way(tmp_path):
    with known_backbone():
        found = settings_of(PAPER, tmp_path / "a.weights.h5", layers=95)
    chosen = found.model[NAME]
    assert (chosen.backbone, chosen.trainable_layers, chosen.input_pixels) == (NAME, 27, 64)
    assert (chosen.dense_units, chosen.dropout, chosen.batchnorm) == (1024, 0.3, "train")
    assert (found.train.optimizer, found.train.augmentation.zoom) == ("adam", 0.2)
    assert NAME not in BACKBONES


def test_classes_are_those_of_the_names_of_real_images():
    names = np.array([b"train/REAL/0001.jpg", b"train/FAKE/5.jpg", b"train/REAL/0007 (10).jpg"])
    images = np.arange(3, dtype=np.uint8)[:, None, None, None].repeat(3, axis=-1)
    split = Split(images, np.array([1, 0, 1], np.uint8), np.full(3, -1, np.int8), names)
    pixels, classes = real_images(split)
    assert pixels[:, 0, 0, 0].tolist() == [0, 2] and classes.tolist() == [0, 9]
    named = Split(images, split.labels, split.classes, np.array([b"a/cat.png"] * 3))
    with pytest.raises(ExpectedError, match=r"cat\.png: the name tells no class"):
        real_images(named)


def run_of(way, training, moving, batch, layers):
    return {
        **dict(zip(GRID, way, strict=True)),
        "training_accuracy": [0.5, training],
        "accuracy": {"moving": moving, "batch": batch},
        "activations_of_real": {"end": {"spread": 0.25}},
        "layers": layers,
    }


def test_the_table_says_what_was_found():
    layers = [
        {"layer": str(i), "learns": learns, "mean": mean, "variance": 2 * mean}
        for i, (learns, mean) in enumerate([(False, 9.0), (True, 1.0), (True, 2.0), (True, 4.0)])
    ]
    result = {
        "images": {"train": 80_000, "val": 20_000},
        "seed": 1,
        "steps": 300,
        "epochs": 2,
        "pretraining": {"images": 40_000, "epochs": 3, "val_accuracy": 0.654},
        "runs": [
            run_of(PAPER, 0.91, 0.5, 0.9, layers),
            run_of(("imagenet", "frozen", "0", 0.99), 0.8, 0.79, 0.79, layers[:1]),
        ],
        "machine": {"cpu": "X", "cores": 2, "python": "3.11", "versions": {"keras": "3"}},
    }
    lines = markdown(json.loads(json.dumps(result))).splitlines()
    paper, cure = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:4])
    assert paper == [
        "rescale", "train", "last 2/7", "0.99", "91.0 %", "50.0 %", "90.0 %", "2.00", "4.00",
        "0.25",
    ]  # fmt: skip
    assert cure[3] == cure[7] == cure[8] == "" and cure[5] == "79.0 %"
    assert "65.4 % of ten classes" in lines[-1] and "80,000" in lines[-1]
    axis = figure(result).axes[0]
    shown = {tuple(point) for each in axis.collections for point in each.get_offsets().tolist()}
    assert {(91.0, 0.0), (50.0, 0.0), (79.0, 1.0)} <= {(round(x, 6), y) for x, y in shown}
