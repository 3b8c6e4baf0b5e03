"""`python -m detector.demo` as a program, with a network of Keras."""

import os
import re
import signal
import subprocess
import sys
import time

import httpx
import numpy as np
import pytest

from benchmarks.demo_load import asked, photographs, sample_images
from detector.deployment.model_archive import write_model
from detector.prediction.detector import load
from tests.helpers import ROOT, coded
from tests.model_files import described, noisy_images, settings, spread

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from detector.networks.model import build_model, save_weights

    folder = tmp_path_factory.mktemp("model")
    network = build_model(settings(), 32)
    spread(network, noisy_images(40))
    save_weights(network, folder / "model.weights.h5")
    write_model(folder / "tiny.zip", described(), folder / "model.weights.h5")
    return folder / "tiny.zip"


def start(*options):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "detector", "demo", *map(str, options)],
        cwd=ROOT, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def test_it_answers_as_the_network_does_and_ends_on_ctrl_c(model):
    process = start("--model", model, "--port", 0)
    try:
        line = process.stdout.readline()
        address = re.fullmatch(r"Open (http://127\.0\.0\.1:\d+/) in a browser; .*\n", line)[1]
        images = noisy_images(5, seed=9)
        expected = load(model).predict(images)
        for i, image in enumerate(images):
            reply = httpx.post(f"{address}api/predict", content=coded(image, "PNG"), timeout=60)
            said = reply.json()
            assert said["model"] == "tiny"
            assert said["verdict"] == expected.verdict[i]
            assert said["probability"] == pytest.approx(expected.probability[i], abs=1e-6)
        assert len(set(np.round(expected.probability, 3))) > 1
        for files in (sample_images(24), photographs(2)):
            assert asked(address, files, 8)["without_answer"] == 0
        process.send_signal(signal.SIGINT)
        output, errors = process.communicate(timeout=30)
        assert (process.returncode, output, errors) == (0, "", "")
    finally:
        process.kill()


def test_it_ends_while_people_are_connected(model):
    process = start("--model", model, "--port", 0)
    try:
        address = re.search(r"http://\S+", process.stdout.readline())[0]
        with httpx.Client(base_url=address) as client:
            assert client.get("/").status_code == 200
            process.send_signal(signal.SIGTERM)
            begun = time.monotonic()
            process.wait(20)
        assert time.monotonic() - begun < 15
        assert "Traceback" not in process.stderr.read()
    finally:
        process.kill()


def test_errors_are_one_sentence(tmp_path):
    broken = tmp_path / "broken.zip"
    broken.write_bytes(b"no zip")
    process = start("--model", broken, "--port", 0)
    output, errors = process.communicate(timeout=60)
    assert process.returncode == 2
    assert output == ""
    assert errors.startswith(f"error: {broken}: not a model")
    assert errors.count("\n") == 1
