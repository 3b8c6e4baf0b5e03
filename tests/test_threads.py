"""The same bytes on one core and on several: `threads` and not the machine divides the sums."""

import hashlib
import os
import subprocess
import sys
from contextlib import nullcontext

import pytest

from detector.networks import runtime
from detector.params import validate
from tests.helpers import ROOT, composed_params, learnable_arrays
from tests.verify import on_one_cpu

NAME = "cnn32"


def trained(folder, cores, threads):
    """Train on one core, or on all that this process has; give the hash of the weights."""
    folder.mkdir()
    learnable_arrays(folder / "data", {"train": 96, "val": 16})
    (folder / "models/start").mkdir(parents=True)
    (folder / "models/start/none").touch()
    composed_params(folder, f"model={NAME}", "train.epochs=1", f"threads={threads}")
    with on_one_cpu() if cores == 1 else nullcontext():
        done = subprocess.run(
            [sys.executable, "-m", "stages.train", "--model", NAME], cwd=folder, text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return hashlib.sha256((folder / f"models/{NAME}.weights.h5").read_bytes()).hexdigest()


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="needs Linux")
def test_weights_do_not_depend_on_the_number_of_cores(tmp_path):
    if len(os.sched_getaffinity(0)) < 2:
        pytest.skip("this process has one core")
    alone, together = (trained(tmp_path / f"{cores}", cores, 2) for cores in (1, 2))
    assert alone == together
    # So that the equality is not for want of sums that are divided.
    assert trained(tmp_path / "one thread", 2, 1) != together


def test_the_default_is_that_of_conf(tmp_path):
    assert validate(composed_params(tmp_path)).threads == runtime.THREADS
