"""The stage corrupt, and the reader of what it writes."""

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from detector.base.arrays import SplitWriter, load_split
from detector.base.errors import ExpectedError
from detector.corruption.corruptions import (
    choose_rows,
    corrupt,
    levels,
    levels_table,
    load_corrupted,
)
from tests.helpers import ROOT, composed_params
from tests.test_corruptions import settings, smooth_images

FILES = ("images.npy", "labels.npy", "names.npy", "rows.npy", "levels.csv")


def start(folder, *overrides, threads="2", hash_seed="0"):
    composed_params(folder, *overrides)
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "MPLCONFIGDIR": os.environ["MPLCONFIGDIR"],
        "PYTHONPATH": str(ROOT),
        "PYTHONHASHSEED": hash_seed,
        "OMP_NUM_THREADS": threads,
    }
    return subprocess.run(
        [sys.executable, "-m", "stages.corrupt"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip


def with_test_images(folder: Path, labels) -> Path:
    with SplitWriter(folder / "data/test", 32) as writer:
        n = len(labels)
        writer.append(smooth_images(n), labels, [-1] * n, [f"test/{i}.jpg" for i in range(n)])
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory, matplotlib_folder):
    folder = with_test_images(tmp_path_factory.mktemp("corrupt"), [0, 1] * 8)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MPLCONFIGDIR", str(matplotlib_folder))
        done = start(folder, "corruption.max_images=10")
    assert (done.returncode, done.stdout) == (0, ""), done.stderr
    return folder


def test_the_stage_writes_what_the_functions_give(run_folder):
    test, found = (
        load_split(run_folder / "data/test"),
        load_corrupted(run_folder / "data/corrupted"),
    )
    listed = yaml.safe_load((run_folder / "params.yaml").read_text())
    settings = SimpleNamespace(**listed["corruption"])
    rows = choose_rows(test.labels, 10, listed["seed"])
    assert isinstance(found.images, np.memmap) and len(found) == 27
    assert (found.rows == rows).all() and (found.labels == test.labels[rows]).all()
    assert (found.names == test.names[rows]).all()
    assert found.levels.equals(levels_table(levels(settings)))
    for i, level in enumerate(levels(settings)):
        expected = corrupt(test.images, level, listed["seed"])[rows]
        assert (found.images[i] == expected).all(), level
    split = found.split(3)
    assert (split.images == found.images[3]).all() and len(split) == 10
    assert split.classes.dtype == np.int8 and (split.classes == -1).all()
    with Image.open(run_folder / "plots/data/corruptions.png") as picture:
        assert picture.width > 500


def test_the_stage_gives_the_same_bytes_again(run_folder, tmp_path):
    other = with_test_images(tmp_path, [0, 1] * 8)
    start(other, "corruption.max_images=10", threads="1", hash_seed="7")
    for name in (*(f"data/corrupted/{file}" for file in FILES), "plots/data/corruptions.png"):
        assert (other / name).read_bytes() == (run_folder / name).read_bytes(), name


def test_the_stage_needs_its_images_and_a_level(tmp_path):
    done = start(tmp_path)
    assert done.returncode == 1 and done.stderr.startswith("error: data/test/images.npy: not a")
    nothing = [f"corruption.{name}=[]" for name in vars(settings()) if name != "max_images"]
    done = start(with_test_images(tmp_path, [0, 1]), *nothing)
    assert done.returncode == 1 and "lists no level" in done.stderr
    assert not (tmp_path / "data/corrupted").exists()


@pytest.fixture
def folder(run_folder, tmp_path):
    copy = tmp_path / "corrupted"
    copy.mkdir()
    for name in FILES:
        (copy / name).write_bytes((run_folder / "data/corrupted" / name).read_bytes())
    return copy


def complaint(folder) -> str:
    with pytest.raises(ExpectedError) as caught:
        load_corrupted(folder)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("name", FILES)
def test_missing_and_damaged_files(folder, name):
    content = (folder / name).read_bytes()
    for damaged in (b"", content[:5], content[: len(content) // 2]):
        (folder / name).write_bytes(damaged)
        assert complaint(folder).startswith(f"{folder}/") and "dvc repro" in complaint(folder)
    (folder / name).unlink()
    assert complaint(folder).startswith(f"{folder}/{name}: not whole")


@pytest.mark.parametrize("name", ["labels.npy", "names.npy", "rows.npy"])
def test_arrays_of_another_length(folder, name):
    np.save(folder / name, np.load(folder / name)[:-1])
    assert complaint(folder).startswith(f"{folder}/{name}: shape (9,)")
    np.save(folder / name, np.array([print] * 10, object), allow_pickle=True)
    assert "not whole" in complaint(folder)


def test_images_and_levels_that_do_not_fit(folder):
    whole = np.load(folder / "images.npy")
    for wrong in (whole[:-1], whole.astype(np.float32), whole[0], whole[..., 0]):
        np.save(folder / "images.npy", wrong)
        assert complaint(folder).startswith(f"{folder}/images.npy: ")
    np.save(folder / "images.npy", whole)
    text = (folder / "levels.csv").read_text()
    for wrong in ("corruption,level,severity\n", text.replace("clean", "dirty"), "a,b\n1,2\n"):
        (folder / "levels.csv").write_text(wrong)
        assert complaint(folder).startswith(f"{folder}/levels.csv: not a list of levels")
