"""The stage preprocess as DVC starts it: a process in a folder with params.yaml and the archive."""

import io
import json
import os
import struct
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from detector.base import program
from detector.base.arrays import load_split
from stages import preprocess
from tests.helpers import (
    FOLDERS,
    ROOT,
    coded,
    composed_params,
    image_members,
    make_archive,
    patch,
    png,
    random_pixels,
    zip_of,
)
from tests.kaggle_server import content_sha256

RAW = Path("data/raw/sample.zip")


def start(folder, matplotlib, hash_seed="0"):
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "MPLCONFIGDIR": str(matplotlib),
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": hash_seed,
    }
    return subprocess.run(
        [sys.executable, "-m", "stages.preprocess"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def files(folder: Path) -> dict[str, bytes]:
    """Give what the stage wrote."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("params.yaml", RAW.name)
    }


def rows(csv: Path) -> list[list[str]]:
    return pd.read_csv(csv, keep_default_na=False).to_numpy().tolist()


@pytest.fixture(scope="module")
def good(tmp_path_factory, matplotlib_folder):
    folder = tmp_path_factory.mktemp("good")
    composed_params(folder)
    make_archive(folder / RAW)
    done = start(folder, matplotlib_folder)
    assert done.returncode == 0, done.stderr
    few = ["only 2 FAKE and 2 REAL images in val", "only 10 FAKE and 10 REAL images in test"]
    assert [line.split(", ")[0] for line in done.stdout.splitlines()] == [
        f"warning: {said}" for said in few
    ]
    return folder


def test_the_outs_and_nothing_else(good):
    arrays = [f"data/{s}/{c}.npy" for s in ("test", "train", "val") for c in
              ("classes", "images", "labels", "names")]  # fmt: skip
    assert sorted(files(good)) == sorted(
        [
            *arrays,
            "data/bad_files.csv",
            "data/audit.json",
            "data/leaked.csv",
            "plots/data/samples.png",
            "plots/data/spectra.png",
        ]
    )


def test_every_image_is_in_one_split_with_its_label_and_pixels(good):
    found = {}
    for split, sizes in {"train": [8, 8], "val": [2, 2], "test": [10, 10]}.items():
        arrays = load_split(good / "data" / split)
        assert np.bincount(arrays.labels).tolist() == sizes
        assert set(arrays.classes) == {-1}
        for image, label, name in zip(arrays.images, arrays.labels, arrays.names, strict=True):
            name = name.decode()
            assert name not in found and (split == "test") == name.startswith("test/")
            found[name] = (label, image)
    for name, data in image_members():
        label, image = found.pop(name)
        assert label == ("REAL" in name)
        assert np.array_equal(image, np.asarray(Image.open(io.BytesIO(data))))
    assert not found


def test_the_report(good):
    report = json.loads((good / "data/audit.json").read_text())
    archive = (good / RAW).read_bytes()
    assert report["archive"] == {
        "name": "sample",
        "sha256": content_sha256(archive),
        "bytes": len(archive),
        "cifake": False,
    }
    assert report["images"] == {
        "train": {"FAKE": 8, "REAL": 8},
        "val": {"FAKE": 2, "REAL": 2},
        "test": {"FAKE": 10, "REAL": 10},
    }
    assert report["codecs"] == {name: {"JPEG quality 75 4:2:0": 20} for name in ("FAKE", "REAL")}
    assert [warning[:7] for warning in report["warnings"]] == ["only 2 ", "only 10"]
    assert set(report["exact_duplicates"].values()) == {0}
    assert report["bad_files"] == report["ignored_files"] == {"count": 0, "first": []}
    assert (good / "data/bad_files.csv").read_text() == "member,reason\n"
    with Image.open(good / "plots/data/samples.png") as sheet:
        sheet.load()


def test_the_same_archive_gives_the_same_bytes(good, tmp_path, matplotlib_folder):
    composed_params(tmp_path)
    (tmp_path / RAW).parent.mkdir(parents=True)
    (tmp_path / RAW).write_bytes((good / RAW).read_bytes())
    assert start(tmp_path, matplotlib_folder, hash_seed="7").returncode == 0
    assert files(tmp_path) == files(good)


# From here on in this process, which is quicker.


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    composed_params(tmp_path)
    return tmp_path


def test_the_order_inside_the_zip_is_no_matter(good, place):
    zip_of(RAW, image_members()[::-1])
    program.run(preprocess.main)
    assert files(place) == files(good)


def test_what_an_earlier_run_left_is_replaced(place):
    make_archive(RAW, each=5)
    for old in ("data/train/old.npy", "data/.partial.val/images.npy", "data/audit.json"):
        Path(old).parent.mkdir(parents=True, exist_ok=True)
        Path(old).write_text("old")
    program.run(preprocess.main)
    assert not Path("data/train/old.npy").exists()
    assert not list(Path().rglob(".partial*"))
    assert json.loads(Path("data/audit.json").read_text())["bad_files"]["count"] == 0


def test_classes_and_shares_by_name(place):
    composed_params(place, "data.cifar_class_in_name=true", "preprocess.validation_fraction=0.5")
    brackets = ["", " (2)", " (10)"]
    zip_of(
        RAW,
        [
            (f"{folder}/{i:04d}{bracket}.jpg", coded(random_pixels(1000 * n + 10 * i + k)))
            for n, folder in enumerate(FOLDERS)
            for i in range(4)
            for k, bracket in enumerate(brackets)
        ],
    )
    program.run(preprocess.main)
    for split, count in (("train", 2), ("val", 2), ("test", 4)):
        arrays = load_split(f"data/{split}")
        for label in (0, 1):
            classes = np.sort(arrays.classes[arrays.labels == label])
            assert classes.tolist() == np.repeat([0, 1, 9], count).tolist()


def test_warnings_are_printed(place, capsys):
    members = image_members(5)
    members = [(n, coded(random_pixels(i), quality=90 if "REAL" in n else 75))
               for i, (n, _) in enumerate(members)]  # fmt: skip
    zip_of(RAW, members)
    program.run(preprocess.main)
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].startswith("warning: JPEG quality 75 4:2:0: 100.0% of FAKE but 0.0% of REAL")
    assert printed[-1].startswith("warning: only 5 FAKE and 5 REAL images in test")
    report = json.loads(Path("data/audit.json").read_text())
    assert printed == [f"warning: {warning}" for warning in report["warnings"]]


def encrypt(data, local, entry):
    data[local + 6] |= 1
    data[entry + 8] |= 1


def damage(data, local, entry):
    data[local + 30 + 25 + 200] ^= 1


def compress(data, local, entry):
    data[local + 8 : local + 10] = data[entry + 10 : entry + 12] = struct.pack("<H", 97)


def swell(data, local, entry):
    data[entry + 24 : entry + 28] = struct.pack("<I", 2**30)


PIXELS = random_pixels(77)
PICTURE = Image.fromarray(PIXELS)
# Name and file of a member that cannot be used, and what must be said of it.
BAD = {
    "train/REAL/empty.jpg": (b"", "empty file"),
    "train/REAL/garbage.jpg": (bytes(range(256)), "not a JPEG, PNG"),
    "train/FAKE/truncated.jpg": (coded(PIXELS)[:900], "damaged ("),
    "train/FAKE/large.jpg": (coded(random_pixels(1, 64)), "64x64 pixels, not 32x32"),
    "train/FAKE/grey.jpg": (coded(PICTURE.convert("L")), "colour mode L, not RGB"),
    "train/FAKE/cmyk.jpg": (coded(PICTURE.convert("CMYK")), "colour mode CMYK, not RGB"),
    "test/REAL/palette.png": (coded(PICTURE.convert("P"), "PNG"), "colour mode P, not RGB"),
    "test/REAL/alpha.png": (coded(PICTURE.convert("RGBA"), "PNG"), "colour mode RGBA, not RGB"),
    "test/REAL/deep.png": (png(32, 32, 16, 2, bytes(32 * 193)), "more than 8 bits a channel"),
    "test/REAL/animated.png": (
        coded(PICTURE, "PNG", save_all=True, append_images=[Image.new("RGB", (32, 32))]),
        "animated, 2 frames",
    ),
    "test/FAKE/bomb.png": (png(60_000, 60_000, 8, 2, b""), "more than 67,108,864 pixels"),
    "test/FAKE/program.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n", "PostScript"),
    "test/FAKE/encrypt.jpg": (coded(PIXELS), "encrypted"),
    "test/FAKE/damaged_.jpg": (coded(PIXELS), "damaged in the archive (Bad CRC-32"),
    "test/FAKE/compress.jpg": (coded(PIXELS), "compressed in a way that is not supported"),
    "test/FAKE/swollen_.jpg": (coded(PIXELS), "claims 1073741824 bytes"),
    "test/FAKE/.hidden.jpg": (coded(PIXELS), "a hidden file"),
    "test/FAKE/a.txt": (b"text", "the name does not end in .jpg"),
    "../escape.jpg": (coded(PIXELS), "the name leads out of the archive"),
    "val/FAKE/a.jpg": (coded(PIXELS), "not in train/REAL"),
    "train/REAL/line\nbreak.jpg": (b"", "empty file"),
    "train/REAL/0000.jpg": (coded(PIXELS), "the archive has this name twice"),
}


def archive_of_bad_files(path: Path) -> None:
    members = [*image_members(), *((name, data) for name, (data, _) in BAD.items())]
    members.insert(5, ("__MACOSX/train/REAL/._a.jpg", b"ignored"))
    members.insert(9, ("train/REAL/Thumbs.db", b"ignored"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the name that is there twice
        zip_of(path, members)
    patch(path, "test/FAKE/encrypt.jpg", encrypt)
    patch(path, "test/FAKE/damaged_.jpg", damage)
    patch(path, "test/FAKE/compress.jpg", compress)
    patch(path, "test/FAKE/swollen_.jpg", swell)


def assert_all_are_listed(csv: Path) -> None:
    listed = rows(csv)
    assert [name for name, _ in listed] == sorted(BAD)
    for name, reason in listed:
        assert reason.startswith(BAD[name][1])
        assert reason.isprintable()


def test_bad_files_stop_the_run(tmp_path, matplotlib_folder):
    composed_params(tmp_path)
    archive_of_bad_files(tmp_path / RAW)
    done = start(tmp_path, matplotlib_folder)
    assert done.returncode == 1 and done.stdout == ""
    assert "Traceback" not in done.stderr
    line = done.stderr.splitlines()[-1]  # after the progress bar
    assert line == (
        f"error: {RAW}: {len(BAD)} of its files cannot be used, first '../escape.jpg' (the name "
        "leads out of the archive); all are listed in .work/bad_files.csv: mend the archive, or "
        "leave them out with -S preprocess.on_bad_image=drop"
    )
    assert list(files(tmp_path)) == [".work/bad_files.csv"]
    assert_all_are_listed(tmp_path / ".work/bad_files.csv")


def test_bad_files_are_dropped_counted_and_listed(good, tmp_path, matplotlib_folder):
    composed_params(tmp_path, "preprocess.on_bad_image=drop")
    archive_of_bad_files(tmp_path / RAW)
    done = start(tmp_path, matplotlib_folder)
    assert done.returncode == 0, done.stderr
    assert_all_are_listed(tmp_path / "data/bad_files.csv")
    report = json.loads((tmp_path / "data/audit.json").read_text())
    assert report["bad_files"]["count"] == len(BAD)
    assert report["bad_files"]["first"] == rows(tmp_path / "data/bad_files.csv")[:20]
    assert report["ignored_files"] == {
        "count": 2,
        "first": ["__MACOSX/train/REAL/._a.jpg", "train/REAL/Thumbs.db"],
    }
    kept = {
        name.decode()
        for split in ("train", "val", "test")
        for name in load_split(tmp_path / "data" / split).names
    }
    assert kept == {name for name, _ in image_members()}
    assert sum(sum(counts.values()) for counts in report["images"].values()) == len(kept)
    assert not list(tmp_path.rglob(".partial*"))
