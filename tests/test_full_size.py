"""Download and preprocess CIFAKE itself: 120,000 images.

Needs it: CIFAKE_ARCHIVE=/path/to/cifake.zip make test
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from detector.base.layout import CIFAKE_SHA256
from tests.kaggle_server import Place, serve

ARCHIVE = os.environ.get("CIFAKE_ARCHIVE")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not ARCHIVE, reason="CIFAKE_ARCHIVE names no archive of CIFAKE"),
]


def test_download_from_a_server_and_preprocess(tmp_path):
    payload = Path(ARCHIVE).read_bytes()
    with serve(payload) as kaggle:
        place = Place(tmp_path, kaggle.endpoint)
        place.set(kaggle="owner/slug/versions/3", sha256=CIFAKE_SHA256, cifar_class_in_name=True)
        line = place.succeed()
    assert "train 50000 REAL + 50000 FAKE, test 10000 REAL + 10000 FAKE" in line
    assert place.zip.read_bytes() == payload

    done = subprocess.run(
        [sys.executable, "-m", "stages.preprocess"],
        cwd=place.cwd, env=place.env, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    report = json.loads((place.cwd / "data/audit.json").read_text())
    assert report["images"] == {
        "train": {"FAKE": 40_000, "REAL": 40_000},
        "val": {"FAKE": 10_000, "REAL": 10_000},
        "test": {"FAKE": 10_000, "REAL": 10_000},
    }
    assert report["bad_files"]["count"] == 0
    for split, share in (("train", 4000), ("val", 1000), ("test", 1000)):
        classes = np.load(place.cwd / f"data/{split}/classes.npy")
        labels = np.load(place.cwd / f"data/{split}/labels.npy")
        for label in (0, 1):  # the same number of every CIFAR class
            assert list(np.bincount(classes[labels == label])) == [share] * 10
        images = np.load(place.cwd / f"data/{split}/images.npy", mmap_mode="r")
        assert images.shape == (len(labels), 32, 32, 3)
