"""Test images that a network was trained on are named, and figures without them stand beside."""

import json

import numpy as np
import pandas as pd
import pytest

from detector.audit.duplicates import leaked, to_drop
from detector.base import program
from detector.base.arrays import load_split
from detector.evaluation import judgement
from stages import preprocess
from tests.helpers import coded, composed_params, image_members, random_pixels, zip_of
from tests.test_evaluation import TEST, VALIDATION, decided


def images(*rows):
    """Give a table of images from pairs of split and digest; each is called by its row."""
    table = pd.DataFrame(rows, columns=["split", "digest"])
    return table.assign(member=[f"{i}.png" for i in range(len(rows))])


TABLE = images(
    ("test", 7), ("val", 7), ("train", 7), ("train", 7), ("train", 1), ("val", 1), ("val", 2),
    ("test", 2), ("test", 3), ("test", 3), ("val", 4), ("val", 4),
)  # fmt: skip


def test_leaked_images_stand_beside_the_first_of_train_or_else_of_val():
    assert leaked(TABLE).to_dict("list") == {
        "test": ["0.png", "7.png"], "same_as": ["2.png", "6.png"], "split": ["train", "val"],
    }  # fmt: skip
    assert leaked(TABLE[8:]).empty and list(leaked(TABLE[8:]).columns) == list(leaked(TABLE))


def test_what_is_dropped_repeats_a_later_split():
    assert np.flatnonzero(to_drop(TABLE)).tolist() == [1, 2, 3, 5, 6]
    rest = TABLE[~to_drop(TABLE)]
    assert leaked(rest).empty and not to_drop(rest).any()


@pytest.mark.parametrize("choice", ["keep", "drop"])
def test_the_stage(tmp_path, monkeypatch, choice):
    monkeypatch.chdir(tmp_path)
    composed_params(tmp_path, f"preprocess.duplicates={choice}")
    members = dict(image_members())
    name = "train/FAKE/0003.jpg"
    again = coded(np.asarray(random_pixels(1, 32)), "PNG")
    members |= {"train/REAL/a.png": again, "test/FAKE/b.png": again}
    zip_of(tmp_path / "data/raw/sample.zip", members.items())
    program.run(preprocess.main)
    table = pd.read_csv("data/leaked.csv")
    audit = json.loads((tmp_path / "data/audit.json").read_text())
    listed = pd.read_csv("data/bad_files.csv")
    learned = [load_split(f"data/{split}") for split in ("train", "val")]
    names = [name for split in learned for name in split.names.tolist()]
    assert name.encode() in names
    for split in learned:
        assert {len(split.images), len(split.labels), len(split.classes)} == {len(split)}
    if choice == "keep":
        (split,) = {n for n, s in zip(("train", "val"), learned, strict=True)
                    if b"train/REAL/a.png" in s.names.tolist()}  # fmt: skip
        assert table.to_dict("list") == {
            "test": ["test/FAKE/b.png"], "same_as": ["train/REAL/a.png"], "split": [split],
        }  # fmt: skip
        assert (audit["dropped_duplicates"], len(listed), len(names)) == (0, 0, 21)
        assert audit["exact_duplicates"]["test_and_train_or_val"] == 1
    else:
        assert table.empty and b"train/REAL/a.png" not in names
        assert (audit["dropped_duplicates"], len(names)) == (1, 20)
        assert audit["exact_duplicates"]["test_and_train_or_val"] == 0
        assert listed["member"].tolist() == ["train/REAL/a.png"]
        assert "preprocess.duplicates" in listed["reason"][0]
        for split in learned:  # each image is still that of its name
            for row, member in enumerate(split.names.tolist()):
                _, folder, file = member.decode().split("/")
                number = int(file[:4]) + 1000 * {"FAKE": 1, "REAL": 0}[folder]
                near = split.images[row].astype(int) - random_pixels(number, 32)
                assert split.labels[row] == (folder == "REAL") and np.abs(near).mean() < 60


def test_figures_without_them():
    names = TEST["name"][:100].tolist()
    found = judgement.evaluate(VALIDATION, TEST, decided(), 100, 0, names)
    assert found["test_without_leaked"] == judgement.at_half(TEST[100:], 100, 0)
    assert found["test_without_leaked"]["n"] == 900 and found["test"]["n"] == 1000
    assert "test_without_leaked" not in judgement.evaluate(VALIDATION, TEST, decided(), 100, 0)
