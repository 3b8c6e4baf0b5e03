"""Faults that no other test makes: what then is said, and what is left. See docs/reliability.md."""

import os
import shutil
import subprocess
import sys
import time
import zipfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from detector.base import program
from detector.base.arrays import SplitWriter, load_split
from detector.base.errors import ExpectedError
from detector.base.params import read_tree
from detector.params import validate
from stages import evaluate, preprocess, train
from tests.clone import small_clone
from tests.helpers import ROOT, composed_params, image_members, make_archive, random_pixels, zip_of
from tests.verify import hashes

RAW = Path("data/raw/sample.zip")
SENTENCE = "free some space or mend the permissions and run again"


def flip(path, share=0.5):
    """Change one bit in the middle of a file."""
    data = bytearray(path.read_bytes())
    data[int(share * len(data))] ^= 1
    path.write_bytes(data)


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    composed_params(tmp_path, "model=cnn32")
    return tmp_path


def refused(main, capsys) -> str:
    """Run a stage; give its one line on stderr after it left nothing half-written."""
    with pytest.raises(SystemExit) as caught:
        program.run(main)
    assert "Traceback" not in capsys.readouterr().err
    (line,) = str(caught.value.code).splitlines()
    assert line.startswith("error: ") and not list(Path().rglob(".partial*"))
    return line


def unprivileged():
    """Give what starts a program for which permissions count, even for root."""
    if os.geteuid() != 0:
        return []
    if not shutil.which("setpriv"):
        pytest.skip("root may write everywhere, and there is no setpriv to give that up")
    return ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def preprocess_as_dvc_does(folder, before=()):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [*before, sys.executable, "-m", "stages.preprocess"],
        cwd=folder, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr
    return done.returncode, (done.stderr.splitlines() or [""])[-1]


def test_no_permission(place):
    before = unprivileged()
    make_archive(RAW)
    Path("data").chmod(0o555)
    code, line = preprocess_as_dvc_does(place, before)
    Path("data").chmod(0o755)
    assert code == 1 and line.startswith("error: data/") and line.endswith(SENTENCE)
    assert "cannot be written (Permission denied)" in line
    RAW.chmod(0)
    code, line = preprocess_as_dvc_does(place, before)
    assert code == 1 and line.startswith(f"error: {RAW}: not a readable zip ")
    assert "Permission denied" in line and not list(Path().rglob("*.npy"))
    RAW.chmod(0o644)
    assert preprocess_as_dvc_does(place, before)[0] == 0


@contextmanager
def small_disk(folder, size):
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("a small disk can only be made where mount is allowed")
    try:
        yield lambda options: subprocess.run(
            ["mount", "-o", f"remount,{options}", str(folder)], check=True
        )
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def test_a_disk_that_gets_full_and_one_that_is_read_only(place):
    with small_disk(place / "data", "3m") as remount:
        make_archive(RAW, each=250)  # 1 MB, and its arrays take 3 MB
        code, line = preprocess_as_dvc_does(place)
        assert code == 1 and line.startswith("error: data/") and line.endswith(SENTENCE)
        assert "No space left on device" in line
        assert [str(path) for path in Path("data").rglob("*")] == ["data/raw", str(RAW)]
        remount("size=16m,ro")
        code, line = preprocess_as_dvc_does(place)
        assert code == 1 and line.endswith(SENTENCE)
        assert line.startswith("error: data/train: cannot be written (Read-only file system)")
        remount("size=16m,rw")
        assert preprocess_as_dvc_does(place)[0] == 0
        assert len(load_split("data/test")) == 500


def write_splits():
    for name in ("train", "val", "test"):
        with SplitWriter(f"data/{name}", 32) as writer:
            writer.append(np.stack([random_pixels(i) for i in range(8)]), [0, 1] * 4, [-1] * 8,
                          [f"{name}/{i}" for i in range(8)])  # fmt: skip


@pytest.mark.parametrize(("stage", "split"), [(train, "train"), (train, "val"), (evaluate, "test")])
@pytest.mark.parametrize("fault", ["truncated", "header", "shape"])
def test_a_stage_refuses_arrays_that_are_not_whole(place, monkeypatch, capsys, stage, split, fault):
    write_splits()
    path = Path(f"data/{split}/images.npy")
    if fault == "truncated":
        path.write_bytes(path.read_bytes()[:-1000])
    elif fault == "header":
        flip(path, share=0)
    else:
        np.save(path, np.load(path)[..., 0])
    monkeypatch.setattr(sys, "argv", ["stage", "--model", "cnn32"])
    line = refused(stage.main, capsys)
    where = path.parent if fault == "shape" else path
    assert line.startswith(f"error: {where}: ") and "preprocess'" in line
    assert not Path("models").exists() and not Path("metrics").exists()


@pytest.mark.parametrize("each", [500, pytest.param(30_000, marks=pytest.mark.soak)])
def test_one_percent_of_the_members_damaged(place, capsys, each):
    """30,000 of each split and class are as many as CIFAKE has."""
    members = dict(image_members(each))
    damaged = sorted(members)[::100]
    zip_of(RAW, members.items())
    data = bytearray(RAW.read_bytes())
    with zipfile.ZipFile(RAW) as archive:
        starts = [archive.getinfo(name).header_offset + 30 + len(name) for name in damaged]
    for name, start in zip(damaged, starts, strict=True):
        data[start + len(members[name]) // 2] ^= 1
    RAW.write_bytes(data)

    line = refused(preprocess.main, capsys)
    assert f"{len(damaged)} of its files cannot be used, first {damaged[0]!r}" in line
    assert pd.read_csv(".work/bad_files.csv")["member"].tolist() == damaged
    assert not list(Path().rglob("*.npy"))

    composed_params(place, "preprocess.on_bad_image=drop")
    program.run(preprocess.main)
    listed = pd.read_csv("data/bad_files.csv")
    assert listed["member"].tolist() == damaged
    assert listed["reason"].str.startswith("damaged in the archive (Bad CRC-32").all()
    kept = [n.decode() for s in ("train", "val", "test") for n in load_split(f"data/{s}").names]
    assert sorted(kept) == sorted(set(members) - set(damaged))


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    clone = small_clone(tmp_path_factory.mktemp("faults") / "repository", "model=cnn32")
    clone("dvc repro train@cnn32")
    clone.commit()
    return clone


CLEAN = "Data and pipelines are up to date."
STATUS = "dvc status download preprocess train@cnn32"


@pytest.mark.slow
@pytest.mark.parametrize("name", [RAW, "data/train/images.npy", "models/cnn32.weights.h5"])
def test_flipped_bits_are_noticed_and_the_bytes_come_back(clone, name):
    wanted = hashes(clone.folder)
    whole = clone.path(name).read_bytes()
    flip(clone.path(name))
    out = name if str(name) != "data/train/images.npy" else "data/train"
    assert f"modified:           {out}" in clone(STATUS)
    said = clone("dvc repro train@cnn32")
    assert "checking out outputs" in said and "Epoch" not in said
    assert clone.path(name).read_bytes() == whole
    assert hashes(clone.folder) == wanted and CLEAN in clone(STATUS)


@pytest.mark.slow
@pytest.mark.soak
def test_edited_lock_and_params_are_noticed_and_wrong_ones_refused(clone):
    lock, params = clone.path("dvc.lock"), clone.path("params.yaml")
    text = lock.read_text()
    out = text.index("path: models/cnn32.weights.h5")
    md5 = text.index(" md5: ", out) + len(" md5: ")
    lock.write_text(f"{text[:md5]}{'a' * 32}{text[md5 + 32 :]}")
    assert "not in cache:       models/cnn32.weights.h5" in clone(STATUS)
    clone("dvc repro train@cnn32")
    assert lock.read_text() == text
    lock.write_text(text[: out + len("path")])  # cut off before the colon
    said = clone("dvc repro train@cnn32", fails=True)
    assert "dvc.lock' " in said and "Traceback" not in said
    lock.write_text(text)
    text = params.read_text()
    params.write_text(text.replace("epochs: 2", "epochs: 3"))
    assert "train.epochs" in clone(STATUS)
    params.write_text(text.replace("epochs: 2", "epochs: many"))
    said = clone("dvc repro train@cnn32", fails=True)
    assert "error: params.yaml: train.epochs" in said and "Traceback" not in said
    params.write_text(text)
    assert "Epoch" not in clone("dvc repro train@cnn32") and CLEAN in clone(STATUS)


@pytest.mark.slow
@pytest.mark.parametrize("year", [1, 100])
def test_a_clock_that_jumped(clone, year):
    """Files of 1971 or of 2070: hashes decide, not times."""
    for folder in ("data", "models", "metrics", "plots", "detector", "stages"):
        for path in clone.path(folder).rglob("*"):
            os.utime(path, (year * 31_557_600, year * 31_557_600))
    assert CLEAN in clone(STATUS)
    assert "Running stage" not in clone("dvc repro train@cnn32")


@pytest.mark.slow
@pytest.mark.soak
def test_two_runs_at_once(clone):
    wanted = hashes(clone.folder)
    command = "dvc repro --force --single-item train@cnn32"
    first = subprocess.Popen(
        command, shell=True, cwd=clone.folder, env=clone.environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    busy = clone.path(".dvc/tmp/rwlock")
    while not (busy.exists() and "cnn32.weights.h5" in busy.read_text()):
        assert first.poll() is None, first.communicate()[0]
        time.sleep(0.02)
    said = clone(command, fails=True)
    assert "is busy, it is being blocked by" in said and "Traceback" not in said
    output, _ = first.communicate(timeout=300)
    assert first.returncode == 0, output
    assert hashes(clone.folder) == wanted and CLEAN in clone(STATUS)


@pytest.mark.slow
def test_weights_that_are_not_those_of_the_network(clone, place):
    from detector.networks.model import load_trained

    settings = validate(read_tree()).model["cnn32"]
    whole = clone.path("models/cnn32.weights.h5").read_bytes()

    def flipped(place):
        return whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :]

    # bytes 17 and 136 are of HDF5's tree and heap
    wrong = [b"", b"<html>" * 100, whole[:-1], flipped(0), flipped(17), flipped(136), whole]
    for i, data in enumerate(wrong):
        path = place / f"{i}.weights.h5"  # HDF5 remembers a file that it could not open
        path.write_bytes(data)
        units = 8 if data is whole else settings.dense_units
        with pytest.raises(ExpectedError) as caught:
            load_trained(str(path), settings.model_copy(update={"dense_units": units}), 32)
        (line,) = str(caught.value).splitlines()
        assert line.startswith(f"{path}: not the weights of cnn32 with these settings (")
