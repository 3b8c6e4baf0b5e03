"""`python -m detector predict` as a process: its answers, and how it ends when disturbed."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import termios
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from detector.base.arrays import SplitWriter, load_split
from detector.deployment.model_archive import read_description
from detector.images.decode import decode_image
from detector.networks.runtime import start_keras
from tests.helpers import ROOT, coded, random_pixels
from tests.predicting import BRIGHT, make_model, put

pytestmark = pytest.mark.slow
COMMAND = [sys.executable, "-m", "detector", "predict"]


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with a network, whose answers are spread over 0 to 1, and the test images."""
    folder = tmp_path_factory.mktemp("place")
    settings = read_description(make_model(folder)).settings
    start_keras(seed=0)
    from detector.networks.model import build_model, save_weights

    network = build_model(settings.model_copy(update={"weights": "none"}), 32)
    rng = np.random.default_rng(0)
    network.set_weights(
        [
            rng.normal(scale=(2 / np.prod(w.shape[:-1])) ** 0.5, size=w.shape) if w.ndim > 1 else w
            for w in network.get_weights()
        ]
    )
    save_weights(network, folder / "w.weights.h5")
    make_model(folder, folder / "w.weights.h5")
    with zipfile.ZipFile(ROOT / "data/sample/sample.zip") as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("test/"))
        archive.extractall(folder, [name for name in names if name.endswith(".jpg")])
    return folder


def environment() -> dict[str, str]:
    paths = filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths)}


def run(place, *arguments, code=0, redirect="", **options):
    """Run the command in `place`, with a redirection of the shell."""
    done = subprocess.run(
        ["sh", "-c", f'exec "$@" {redirect}', "sh", *COMMAND, *arguments],
        cwd=place, env=environment(), capture_output=True, timeout=300, **options,
    )  # fmt: skip
    assert done.returncode == code, done.stderr.decode()
    assert b"Traceback" not in done.stderr
    return done


def test_the_answers_are_those_of_evaluate_for_every_test_image_of_the_sample(place):
    said = json.loads(run(place, "--json", "test").stdout)
    files = [entry["file"] for entry in said["images"]]
    assert len(files) == 800 and files == sorted(files)

    from detector.networks.batches import OrderedBatches
    from detector.networks.model import load_trained

    pixels = [decode_image((place / name).read_bytes(), 32)[0] for name in files]
    with SplitWriter(place / "arrays", 32) as writer:
        writer.append(np.stack(pixels), [0] * 800, [-1] * 800, files)
    settings = read_description(place / "models/cnn32.zip").settings
    network = load_trained(str(place / "w.weights.h5"), settings, 32)
    batches = OrderedBatches(load_split(place / "arrays"), 256)
    expected = network.predict(batches, verbose=0)[:, 0]
    raw = np.array([entry["raw"] for entry in said["images"]])
    assert np.ptp(expected) > 0.2
    assert np.abs(raw - expected).max() <= 1e-6


def test_pictures_and_answers_of_a_photograph(place):
    put(place / "photo.jpg", random_pixels(1, 640)[:480], "JPEG")
    done = run(place, "--explain", "pictures", "photo.jpg")
    assert (place / "pictures/1_photo.gradcam.png").read_bytes().startswith(b"\x89PNG")
    assert b" ? " in done.stdout and b"640x480 pixels, reduced" in done.stdout
    assert done.stderr == b"" and b"\x1b" not in done.stdout


def test_a_reader_that_goes_away_ends_it_quietly(place):
    with subprocess.Popen(
        [*COMMAND, "--json", "test"],
        cwd=place, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        # The answers are more than a pipe holds, so it is still writing.
        assert process.stdout.readline().startswith(b'{"model"')
        process.stdout.close()
        assert process.stderr.read() == b""
        assert process.wait(60) == 141


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("starting", [True, False])
def test_a_signal_ends_it_with_all_its_processes(place, number, starting):
    """Sent while it imports TensorFlow, or once it answers."""
    with subprocess.Popen(
        [*COMMAND, "--json", "test"],
        cwd=place, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        start_new_session=True,
    ) as process:  # fmt: skip
        if starting:
            while "libtensorflow" not in Path(f"/proc/{process.pid}/maps").read_text():
                time.sleep(0.01)
        else:
            process.stdout.read(10)
        os.killpg(process.pid, number)  # as a terminal does
        _, errors = process.communicate(timeout=60)
    assert process.returncode == 128 + number and errors == b""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.1)
    pytest.fail("a process is left")


def test_standard_streams_may_be_closed_or_full(place):
    put(place / "a.png", BRIGHT)
    done = run(place, "-", redirect="<&-", code=1)
    assert b"  -: standard input is closed" in done.stderr
    done = run(place, "a.png", redirect=">&-", code=2)
    assert done.stderr == b"error: standard output is closed, so that no answer can be given\n"
    done = run(place, "a.png", redirect=">/dev/full", code=2)
    assert done.stderr == b"error: standard output cannot be written (No space left on device)\n"
    done = run(place, "--json", "a.png", "none.png", redirect="2>&-", code=1)
    assert json.loads(done.stdout)["counts"]["unreadable"] == 1
    done = run(place, "--csv", "-", input=coded(BRIGHT))
    assert done.stdout.count(b"\n") == 2


def test_a_terminal_gets_colours_and_a_bar_and_no_raw_names(place):
    for i in range(3):
        put(place / f"odd/{i}\x1b[31m.png", BRIGHT)
    for option, coloured in ((), True), (("--csv",), False):
        main, terminal = pty.openpty()
        termios.tcsetwinsize(terminal, (30, 80))
        environ = {**environment(), "TERM": "xterm", "COLUMNS": "80"}
        environ.pop("NO_COLOR", None)
        with subprocess.Popen(
            [*COMMAND, *option, "odd"], cwd=place, env=environ, stdout=terminal, stderr=terminal
        ) as process:
            os.close(terminal)
            shown = b""
            with contextlib.suppress(OSError):  # how Linux ends a terminal
                while part := os.read(main, 4096):
                    shown += part
            assert process.wait() == 0
        os.close(main)
        assert b"| 0/3 [" in shown
        assert shown.count(b"\\x1b[31m.png") == 3 and b"\x1b[31m.png" not in shown
        assert (b"\x1b[0m" in shown) == coloured


def test_help_does_not_wait_for_numpy():
    code = "import sys, detector.__main__; print('numpy' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment(), cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout == "False\n"
