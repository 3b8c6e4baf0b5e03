"""The demonstration of the collapse: its ways, its data, and what it makes of results."""

import json

import numpy as np

from benchmarks.collapse import (
    CURE,
    NAME,
    PAPER,
    known_backbone,
    made_of,
    settings_of,
    turned,
    way_of,
    ways,
)
from benchmarks.transfer_report import GRID, figure, markdown
from benchmarks.transfer_report import ways as ways_to_transfer
from detector.base.arrays import Split
from detector.networks.builders import BUILDERS


def test_the_ways_are_those_of_the_ablation():
    found = ways(only_paper=False)
    assert len(found) == len(ways_to_transfer()) == 14 and {PAPER, CURE} < set(found)
    assert {way[2] for way in found} == {"0", "last 2/7", "all"}
    assert ways(only_paper=True) == [PAPER, CURE]


def test_settings_are_the_papers_but_for_the_way(tmp_path):
    way = ("rescale", "train", "last 2/7", 0.99)
    with known_backbone():
        found = settings_of(way, tmp_path / "a.weights.h5", layers=95)
    chosen = found.model[NAME]
    assert (chosen.builder, chosen.trainable_layers, chosen.input_size) == (NAME, 27, 64)
    assert (chosen.dense_units, chosen.dropout, chosen.batchnorm) == (1024, 0.3, "train")
    assert (found.train.optimizer, found.train.augmentation.zoom) == ("adam", 0.2)
    assert NAME not in BUILDERS


def test_real_images_are_turned_and_know_how_often():
    images = np.zeros((3, 4, 4, 3), np.uint8)
    images[:, 0, 1] = [[10] * 3, [20] * 3, [30] * 3]  # left of the middle of the upper edge
    split = Split(images, np.array([1, 0, 1], np.uint8), np.full(3, -1, np.int8), np.array([b"x"]))
    pixels, turns = turned(split)
    assert turns.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert pixels.max(axis=(1, 2, 3)).tolist() == [10, 30] * 4  # the FAKE one is not there
    places = {0: (0, 1), 1: (2, 0), 2: (3, 2), 3: (1, 3)}  # against the clock
    for image, turn in zip(pixels, turns, strict=True):
        assert image[places[turn]].all() and np.count_nonzero(image) == 3


def run_of(way, training, moving, batch, layers):
    end = {"layer": "x", "mean": 0.0, "std": 1.0, "spread": 0.25}
    return {
        **dict(zip(GRID, way, strict=True)),
        "training_accuracy": [0.5, training],
        "accuracy": {"moving": moving, "batch": batch},
        "activations_of_real": {"end": end},
        "layers": layers,
    }


def test_the_table_says_what_was_found():
    layers = [
        {"layer": str(i), "learns": learns, "mean": mean, "variance": 2 * mean}
        for i, (learns, mean) in enumerate([(False, 9.0), (True, 1.0), (True, 2.0), (True, 4.0)])
    ]
    result = {
        "images": {"train": 2560, "val": 640},
        "seed": 1,
        "steps": 300,
        "epochs": 2,
        "seconds": 780.0,
        "pretraining": {"images": 5120, "epochs": 20, "val_accuracy": 0.448},
        "runs": [
            run_of(PAPER, 0.91, 0.5, 0.9, layers),
            run_of(("imagenet", "frozen", "0", 0.99), 0.8, 0.79, 0.79, layers[:1]),
        ],
        "machine": {"cpu": "X", "cores": 2, "python": "3.11", "versions": {"keras": "3"}},
    }
    found = [way_of(run) for run in json.loads(json.dumps(result))["runs"]]
    lines = markdown(found, made_of(result)).splitlines()
    paper, cure = ([cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:4])
    assert paper == [
        "rescale", "train", "all", "0.99", "91.0 %", "50.0 %", "90.0 %", "2.00", "4.00", "0.25",
    ]  # fmt: skip
    assert cure[3] == cure[7] == cure[8] == "" and cure[5] == "79.0 %"
    assert "44.8 % of four turns" in lines[-1] and "5,120" in lines[-1] and "13 min" in lines[-1]
    axis = figure(found).axes[0]
    shown = {tuple(point) for each in axis.collections for point in each.get_offsets().tolist()}
    assert {(91.0, 0.0), (50.0, 0.0), (79.0, 1.0)} <= {
        (round(x, 6), float(round(y))) for x, y in shown
    }
