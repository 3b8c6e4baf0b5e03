"""The stage external: arrays and audit of each set, whatever it lies in; bad files stop the run."""

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from detector.base import program
from detector.base.arrays import SPLITS, SplitWriter, load_split
from detector.external.sets import LISTED
from detector.images import external_images
from detector.images.decode import decode_image
from stages import external
from tests.helpers import ROOT, coded, composed_params, patch, random_pixels
from tests.test_external import good, put
from tests.test_external_images import BAD, PICTURE, PIXELS, palette_with_a_hole

REPORT = Path("data/sets/audit.json")


@pytest.fixture
def place(tmp_path, monkeypatch):
    """Give a function that starts the stage beside small arrays, with overrides as for -S."""
    monkeypatch.chdir(tmp_path)
    Path("data/external").mkdir(parents=True)
    for i, split in enumerate(SPLITS):
        with SplitWriter(f"data/{split}", 32) as writer:
            images = np.stack([random_pixels(77_000 + i), random_pixels(78_000 + i)])
            writer.append(images, [0, 1], [-1] * 2, [f"{split}/FAKE/f.png", f"{split}/REAL/r.png"])

    def start(*overrides: str) -> dict:
        composed_params(tmp_path, *overrides)
        program.run(external.main)
        return json.loads(REPORT.read_text())["sets"]

    return start


def test_no_sets(place):
    for name in ("README.md", ".gitkeep", ".DS_Store", "Thumbs.db", "list.csv"):
        Path("data/external", name).touch()
    Path("data/external/__MACOSX/REAL").mkdir(parents=True)
    assert place() == {}
    assert REPORT.read_text() == '{\n  "sets": {}\n}\n'
    assert json.loads(Path("data/sets/sets.json").read_text()) == []
    assert Path("data/sets/bad_files.csv").read_text() == "set,member,reason\n"
    assert len(list(Path("data/sets").iterdir())) == 3


def files(folder: str) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file()
    }


def test_zip_and_folder_in_any_order_give_the_same(place):
    members = good(5, seed=1) | good(5, size=50, seed=900)
    put("a.zip", members)
    put("b", dict(reversed(members.items())))
    put("c.zip", dict(reversed(members.items())))
    reports = place()
    assert reports["a"] == reports["b"] == reports["c"]
    assert files("data/sets/a") == files("data/sets/b") == files("data/sets/c")
    assert json.loads(Path("data/sets/sets.json").read_text()) == [
        {"name": name, "FAKE": 5, "REAL": 5} for name in "abc"
    ]
    split = load_split("data/sets/a")
    assert [name.decode() for name in split.names] == sorted(members)
    assert split.labels.tolist() == [0] * 5 + [1] * 5 and set(split.classes) == {-1}
    for image, name in zip(split.images, split.names, strict=True):
        expected = Image.open(io.BytesIO(members[name.decode()]))
        assert np.array_equal(image, expected.resize((32, 32), Image.Resampling.BICUBIC))


def test_as_dvc_starts_it_with_several_processes_the_bytes_are_the_same(place, monkeypatch):
    put("a", good(80))
    put("b.zip", good(3, size=48))
    place()
    ours = files("data") | {"report": REPORT.read_bytes()}
    # Chunks of another size, other processes, another hash seed.
    code = (
        "from detector.images import external_images; external_images.CHUNK = 7\n"
        "from detector.base import program; from stages import external; program.run(external.main)"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7"}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    assert files("data") | {"report": REPORT.read_bytes()} == ours


def bad_set(name: str) -> Path:
    return put(name, good(3) | {member: data for member, (data, _) in BAD.items()})


def test_bad_files_stop_the_run(place):
    bad_set("a")
    put("fine.zip", good(1))
    with pytest.raises(SystemExit) as end:
        place()
    assert end.value.code == (
        f"error: data/external: {len(BAD)} of its files cannot be used, first 'REAL/animated.png' "
        "of the set a (animated, 2 frames); all are listed in .work/external_bad_files.csv: mend "
        "the sets, or leave them out with -S preprocess.on_bad_image=drop"
    )
    assert list(files(".work")) == ["external_bad_files.csv"]
    assert not files("data/sets") and not REPORT.exists() and not list(Path().rglob(".partial*"))
    listed = pd.read_csv(".work/external_bad_files.csv", keep_default_na=False)
    assert list(listed["member"]) == sorted(BAD) and set(listed["set"]) == {"a"}
    for member, reason in zip(listed["member"], listed["reason"], strict=True):
        assert reason.startswith(BAD[member][1])


def test_bad_files_are_dropped_counted_and_listed_alike_in_zip_and_folder(place):
    bad_set("a")
    bad_set("b.zip")
    reports = place("preprocess.on_bad_image=drop")
    assert reports["a"] == reports["b"]
    assert reports["a"]["images"] == {"FAKE": 3, "REAL": 3}
    assert reports["a"]["bad_files"]["count"] == len(BAD)
    listed = pd.read_csv("data/sets/bad_files.csv", keep_default_na=False)
    assert list(listed["set"]) == ["a"] * len(BAD) + ["b"] * len(BAD)
    assert list(listed["member"]) == sorted(BAD) * 2
    first = listed.head(len(BAD))[["member", "reason"]].to_numpy().tolist()
    assert reports["a"]["bad_files"]["first"] == first[:LISTED]


def test_damage_in_the_zip_itself(place):
    path = put(
        "a.zip", good(2) | {f"REAL/{n}.jpg": coded(PIXELS) for n in ("crypt", "harm", "swell")}
    )

    def encrypt(data, local, entry):
        data[local + 6] |= 1
        data[entry + 8] |= 1

    def harm(data, local, entry):
        data[local + 30 + 13 + 200] ^= 1

    def swell(data, local, entry):
        data[entry + 24 : entry + 28] = (2**30).to_bytes(4, "little")

    for change in (encrypt, harm, swell):
        patch(path, f"REAL/{'crypt' if change is encrypt else change.__name__}.jpg", change)
    report = place("preprocess.on_bad_image=drop")["a"]
    reasons = dict(report["bad_files"]["first"])
    assert reasons["REAL/crypt.jpg"] == "encrypted"
    assert reasons["REAL/harm.jpg"].startswith("damaged in the archive (Bad CRC-32")
    assert reasons["REAL/swell.jpg"] == "has 1,073,741,824 bytes; at most 67,108,864 are read"
    assert report["bad_files"]["count"] == 3 and report["images"]["REAL"] == 2


def test_a_file_over_the_limit_in_a_folder(place, monkeypatch):
    put("a", good(2))
    monkeypatch.setattr(external_images, "MAXIMUM_BYTES", 1_000_000)
    with open("data/external/a/test/REAL/big.bmp", "wb") as file:
        file.truncate(1_000_001)
    report = place("preprocess.on_bad_image=drop")["a"]
    assert report["bad_files"]["first"] == [
        ["test/REAL/big.bmp", "has 1,000,001 bytes; at most 1,000,000 are read"]
    ]


def test_a_set_of_which_nothing_can_be_used(place):
    put("a", {"FAKE/a.jpg": b"no image"})
    with pytest.raises(SystemExit) as end:
        place("preprocess.on_bad_image=drop")
    assert str(end.value.code).startswith("error: data/external/a: none of its images can be used")


def test_only_fake(place, capsys):
    put("gen.zip", {f"fake/{i}.png": coded(random_pixels(i, 64), "PNG") for i in range(4)})
    report = place()["gen"]
    assert report["images"] == {"FAKE": 4, "REAL": 0}
    assert report["codecs"] == {"FAKE": {"PNG": 4}, "REAL": {}}
    assert set(report["file_bytes"]) == {"FAKE"}
    (warning,) = report["warnings"]
    assert warning.startswith("only FAKE images: accuracy is their recall, and there is no AUC")
    assert capsys.readouterr().out == f"warning: gen: {warning}\n"


def test_what_is_left_out_and_ignored_is_counted(place):
    put("a", good(6) | {"LICENSE": b"", "test/REAL/.DS_Store": b""})
    report = place("external.max_images=4")["a"]
    assert report["images"] == {"FAKE": 4, "REAL": 4}
    assert report["left_out"] == {"FAKE": 2, "REAL": 2}
    assert report["ignored_files"] == {"count": 2, "first": ["LICENSE", "test/REAL/.DS_Store"]}
    assert report["warnings"] == []


def test_recoding_takes_the_difference_of_coders_away(place):
    """The same pixels as PNG and as BMP: by class only the coder differs."""
    members = {f"REAL/{i}.png": coded(random_pixels(i), "PNG") for i in range(9)}
    members |= {f"FAKE/{i}.jpg": coded(random_pixels(i), quality=20) for i in range(9)}
    put("a", members)
    plain = place()["a"]
    images = np.array(load_split("data/sets/a").images)
    assert not plain["recoded"]
    assert plain["codecs"] == {"FAKE": {"JPEG quality 20 4:2:0": 9}, "REAL": {"PNG": 9}}
    assert "PNG: 0.0% of FAKE but 100.0% of REAL files" in plain["warnings"][1]
    recoded = place("external.recode=true")["a"]
    assert recoded == plain | {"recoded": True}  # the audit is of the files as they came
    for before, after in zip(images, load_split("data/sets/a").images, strict=True):
        assert np.array_equal(after, decode_image(coded(before, quality=75), 32)[0])


def test_conversions_and_enlarged_images(place, capsys):
    put("a", good(2) | {
        "REAL/a.png": coded(PICTURE.convert("LA"), "PNG"),
        "FAKE/b.png": palette_with_a_hole(),
        "FAKE/c.png": coded(PICTURE.crop((0, 0, 31, 32)), "PNG"),
    })  # fmt: skip
    report = place()["a"]
    assert report["converted"] == {
        "alpha flattened": 1,
        "cropped to a square": 1,
        "enlarged": 1,
        "greyscale": 1,
        "opaque alpha dropped": 1,
        "palette": 1,
    }
    assert "1 of 7 images are smaller than 32x32" in report["warnings"][-1]
    assert "warning: a: 1 of 7 images" in capsys.readouterr().out


def archive_members(split: str) -> dict[str, bytes]:
    """Give the images of a split as files."""
    arrays = load_split(f"data/{split}")
    return {
        name.decode(): coded(np.array(image), "PNG")
        for name, image in zip(arrays.names, arrays.images, strict=True)
    }


def test_the_archive_itself_among_the_sets_is_named(place, capsys):
    put("all.zip", archive_members("train") | archive_members("val") | archive_members("test"))
    put("mixed.zip", good(3) | archive_members("train"))
    put("tested.zip", good(3) | archive_members("test"))
    put("other.zip", good(3))
    reports = place()
    shared = {name: report["near_duplicates"] for name, report in reports.items()}
    counts = {name: (found["training"], found["test"]) for name, found in shared.items()}
    assert counts == {"all": (4, 2), "mixed": (2, 0), "tested": (0, 2), "other": (0, 0)}
    assert shared["all"]["training_asked"] == 6 and shared["all"]["rms_at_most"] == 5
    assert ["train/REAL/r.png", "train/REAL/r.png"] in shared["mixed"]["training_examples"]
    of_training, of_test = reports["all"]["warnings"][:2]
    assert of_training == (
        "4 of 6 images have a near-duplicate among the training images (RMS at most 5 grey "
        "levels): this is no other data"
    )
    assert of_test.startswith("2 of 6 images have a near-duplicate among the test images")
    assert reports["other"]["warnings"] == []
    assert f"warning: all: {of_training}" in capsys.readouterr().out


def test_recoding_and_another_coder_hide_no_shared_image(place):
    arrays = load_split("data/train")
    smooth = np.kron(arrays.images[0][:4, :4], np.ones((8, 8, 1), np.uint8))
    with SplitWriter("data/train", 32) as writer:
        writer.append(smooth[None], [0], [-1], ["train/FAKE/smooth.png"])
    put("a", {"FAKE/a.jpg": coded(smooth, quality=95), "FAKE/b.png": coded(PICTURE, "PNG")})
    for recode in ("false", "true"):
        found = place(f"external.recode={recode}")["a"]["near_duplicates"]
        assert found["training_examples"] == [["FAKE/a.jpg", "train/FAKE/smooth.png"]]
