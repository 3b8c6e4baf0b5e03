"""Kill the pipeline at any moment and run the same command again: the same bytes come out."""

import os
import signal
import subprocess
import time

import pytest

from tests.clone import small_clone
from tests.verify import hashes

pytestmark = pytest.mark.slow
POINTS = 24  # of make soak
COMMANDS = ("dvc repro", "dvc exp run")
LONG = pytest.mark.soak  # what the shorter ones show is enough for each change of the code


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """Give a clone in which the pipeline ran, its outs' hashes, and the seconds that it took."""
    clone = small_clone(tmp_path_factory.mktemp("resume") / "repository", "model=cnn32")
    conf = clone.path("conf/train/quick.yaml")
    conf.write_text(conf.read_text().replace("epochs: 2", "epochs: 4"))
    # What `dvc exp run` composes by default is then what `dvc repro` finds.
    config = clone.path("conf/config.yaml")
    config.write_text(config.read_text().replace("model: default", "model: cnn32"))
    clone("python -m conf.compose")
    clone.commit()
    start = time.monotonic()
    clone("dvc repro")
    return clone, hashes(clone.folder), time.monotonic() - start


def from_nothing(clone):
    """Take away everything that a run makes: outs, dvc.lock, cache, checkpoints, locks."""
    clone("git checkout --quiet . && git clean -fdxq")


def start(clone, command):
    # exec: DVC is the child itself, so that `end` waits for it. One that nobody waited for would
    # seem alive to the next run.
    return subprocess.Popen(
        f"exec {command}", shell=True, cwd=clone.folder, env=clone.environment,
        start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        # A shell lets what it runs in the background ignore it, tests among them.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )  # fmt: skip


def end(process, number):
    os.killpg(process.pid, number)
    output, _ = process.communicate(timeout=60)
    return output


def wait_for(clone, pattern, process):
    """Wait until there is such a file."""
    while not list(clone.folder.glob(pattern)):
        assert process.poll() is None, process.communicate()[0]
        time.sleep(0.01)


def partials(clone):
    return [p for p in clone.folder.rglob(".partial.*") if ".dvc" not in p.parts]


@pytest.mark.parametrize("command", ["dvc repro", pytest.param("dvc exp run", marks=LONG)])
def test_training_goes_on_after_the_last_finished_epoch(undisturbed, command):
    clone, wanted, _ = undisturbed
    from_nothing(clone)
    process = start(clone, command)
    wait_for(clone, ".work/checkpoints/cnn32/[!.]*.npz", process)
    end(process, signal.SIGKILL)
    assert not clone.path("models/cnn32.weights.h5").exists()
    output = clone(command)
    assert "training goes on after epoch " in output and "Epoch 1/4" not in output
    assert hashes(clone.folder) == wanted
    assert not partials(clone) and not clone.path(".work/checkpoints/cnn32").exists()


@pytest.mark.soak
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_cleanly(undisturbed, number):
    clone, wanted, _ = undisturbed
    from_nothing(clone)
    process = start(clone, "dvc repro")
    wait_for(clone, ".work/checkpoints/cnn32/[!.]*.npz", process)
    output = end(process, number)
    assert process.returncode != 0 and "Traceback" not in output
    assert not partials(clone) and not clone.path("models/cnn32.weights.h5").exists()
    clone("dvc repro")
    assert hashes(clone.folder) == wanted


@pytest.mark.soak
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("point", range(POINTS // 2))
def test_a_kill_at_any_moment(undisturbed, command, point):
    clone, wanted, seconds = undisturbed
    from_nothing(clone)
    process = start(clone, command)
    # The two commands are killed at moments of their own, evenly spread together.
    share = (2 * point + COMMANDS.index(command) + 0.5) / POINTS
    time.sleep(share * seconds)
    ended = process.poll() is not None
    end(process, signal.SIGKILL) if not ended else process.communicate()
    clone(command)
    assert hashes(clone.folder) == wanted
    assert not partials(clone)
