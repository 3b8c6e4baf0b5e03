"""The runner trains on each Keras backend that is there, and says what it took."""

import importlib.util
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from tests.helpers import ROOT, composed_params

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Arrays whose classes differ in brightness, and params with cnn32 alone."""
    folder = tmp_path_factory.mktemp("runner")
    composed_params(folder, "model=cnn32")
    rng = np.random.default_rng(0)
    for name, count in (("train", 320), ("val", 100)):
        labels = np.arange(count, dtype=np.uint8) % 2
        images = rng.integers(0, 128, (count, 32, 32, 3), dtype=np.uint8)
        images += 100 * labels[:, None, None, None]
        (folder / "data" / name).mkdir(parents=True)
        arrays = {"images": images, "labels": labels, "classes": np.full(count, -1, np.int8)}
        arrays["names"] = np.array([f"{i}.png" for i in range(count)])
        for key, array in arrays.items():
            np.save(folder / "data" / name / f"{key}.npy", array)
    return folder


def run(folder, backend, *arguments):
    command = [sys.executable, "-m", "benchmarks.runner", "--arrays", "data", *arguments]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": backend}
    environment["TF_CPP_MIN_LOG_LEVEL"] = "3"
    return subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, timeout=300
    )


@pytest.mark.parametrize("backend", ["tensorflow", "jax", "torch"])
def test_training_on_a_backend(project, backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    size = ["--epochs", "2", "--steps", "12", "--batch", "32", "--lap", "3", "--validation", "50"]
    done = run(project, backend, "--networks", "cnn32", *size, "--out", "found.json")
    assert done.returncode == 0, done.stderr
    found = json.loads((project / "found.json").read_text())
    assert json.loads(done.stdout) == found
    assert found["machine"]["keras_backend"] == backend
    assert found.get("imported_of_tensorflow_dvc_dvclive", []) == []
    assert ("imported_of_tensorflow_dvc_dvclive" in found) == (backend != "tensorflow")
    cnn32 = found["networks"]["cnn32"]
    assert cnn32["laps"] == 2 * (12 // 3 - 1)
    work = 3 * cnn32["flops_per_image"] * cnn32["images_per_second"]
    assert cnn32["share_of_peak"] == pytest.approx(work / found["matmul_peak_flops_per_second"])
    seconds = [epoch["seconds"] for epoch in cnn32["epochs"]]
    assert len(seconds) == 2 and 0 < seconds[0] < seconds[1]
    assert all(0 <= epoch["val_accuracy"] <= 1 for epoch in cnn32["epochs"])


def test_an_unknown_network_is_named(project):
    done = run(project, "tensorflow", "--networks", "cnn32,vgg")
    assert done.returncode == 1
    assert done.stderr.startswith("error: params.yaml: model has no vgg;")
    assert len(done.stderr.splitlines()) == 1
