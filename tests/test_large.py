"""The archives that are made for measurements, and that the measurements at scale work."""

import io
import json
import os
import subprocess
import sys
import zipfile

import numpy as np
import psutil
import pytest
from PIL import Image

from benchmarks.generated import images, write_archive
from benchmarks.large import own_memory
from detector.archives.archive import examine
from tests.helpers import ROOT, learnable_arrays


def test_an_archive_of_any_size_is_one_that_the_pipeline_takes(tmp_path):
    write_archive(tmp_path / "a.zip", 120, 16)
    contents = examine(tmp_path / "a.zip", whole=True)
    assert contents.images == {
        "train": {"REAL": 50, "FAKE": 50}, "test": {"REAL": 10, "FAKE": 10},
    }  # fmt: skip
    with zipfile.ZipFile(tmp_path / "a.zip") as archive:
        name = archive.namelist()[0]
        assert Image.open(io.BytesIO(archive.read(name))).size == (16, 16)
    write_archive(tmp_path / "b.zip", 120, 16)
    assert (tmp_path / "b.zip").read_bytes() == (tmp_path / "a.zip").read_bytes()


def test_images_are_smooth_as_photographs_are_and_all_differ():
    found = np.stack(list(images(40, 32, [1, 0])))
    assert found.shape == (40, 32, 32, 3) and found.dtype == np.uint8
    assert len({image.tobytes() for image in found}) == 40
    grey = found.astype(float).mean(axis=3)
    neighbours = np.corrcoef(grey[:, :, 1:].ravel(), grey[:, :, :-1].ravel())[0, 1]
    assert neighbours > 0.8  # 0 for white noise
    assert found.std(axis=(1, 2, 3)).std() > 5  # of different contrast


def test_own_memory_counts_what_a_tree_holds_and_no_file(tmp_path):
    file = tmp_path / "x"
    file.write_bytes(b"x" * 50 * 2**20)
    code = (
        "import mmap, subprocess, sys\n"
        f"held = bytearray(b'x') * {30 * 2**20}\n"
        f"file = open({str(file)!r}, 'rb')\n"
        "mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)\n"
        "sum(mapped[::4096])\n"
        "child = subprocess.Popen([sys.executable, '-c', "
        f"'held = bytearray(b\"x\") * {20 * 2**20}; print(flush=True); input()'], "
        "stdin=subprocess.PIPE)\n"
        "child.communicate(input())\n"
    )
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    try:
        process.stdout.readline()
        assert 50 <= own_memory(psutil.Process(process.pid)) / 2**20 < 75
    finally:
        process.kill()
        process.communicate()


@pytest.mark.soak
@pytest.mark.parametrize("part", ["large", "formats"])
def test_the_measurements_run(part, tmp_path):
    arrays = tmp_path / "arrays"
    if part == "formats":
        learnable_arrays(arrays, {"train": 64})
    extra = ["--arrays", str(arrays)] if part == "formats" else []
    done = subprocess.run(
        [sys.executable, "-m", f"benchmarks.{part}", "--quick", "--out", str(tmp_path), *extra],
        cwd=tmp_path, text=True, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "HOME": str(tmp_path)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / f"{part}.json").read_text())
    assert result["rows"] and all(row["value"] > 0 for row in result["rows"] if "met" not in row)
