"""Several replicas learn what one learns; one of them writes; a lost one is noticed."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from detector.base.errors import ExpectedError
from tests.helpers import ROOT, composed_params, learnable_arrays

IMAGES = {"train": 320, "val": 257}  # of whose last batch of 1 one of two workers has no row
EPOCHS, BATCH = 4, 32
TOLERANCE = 1e-3  # of a loss, relative: sums in another order, fed back through the steps
NAME = "cnn32"
OUTS = (f"models/{NAME}.weights.h5", f"models/{NAME}.history.csv", f"data/training/{NAME}",
        f".work/cost/{NAME}/training.json")  # fmt: skip


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    """Give a folder with arrays, on which a network has something to learn, and params.yaml."""
    folder = tmp_path_factory.mktemp("distribution")
    learnable_arrays(folder / "data", IMAGES)
    return folder


def place(template, folder, *overrides):
    shutil.copytree(template / "data", folder / "data")
    composed_params(
        folder, f"model={NAME}", f"train.epochs={EPOCHS}", f"train.batch_size={BATCH}",
        "train.augmentation.horizontal_flip=false",
        f"model.{NAME}.learning_rate=0.0003", *overrides,
    )  # fmt: skip
    return folder


def start(folder, config=None, before=""):
    """Start the stage in a folder; `before`: Python that is run first."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}
    environment.pop("TF_CONFIG", None)
    if config is not None:
        environment["TF_CONFIG"] = config
    code = f"import sys, runpy; sys.argv = ['train', '--model', '{NAME}']\n{before}\n"
    code += "runpy.run_module('stages.train', run_name='__main__')"
    return subprocess.Popen(
        [sys.executable, "-c", code], cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


def two_workers(folder, other=None, before=""):
    """Start both of them on loopback, the second one in a folder of its own if one is given."""
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        second.bind(("127.0.0.1", 0))
        addresses = [f"127.0.0.1:{each.getsockname()[1]}" for each in (first, second)]
    return [
        start(place, json.dumps({
            "cluster": {"worker": addresses}, "task": {"type": "worker", "index": index},
        }), before)
        for index, place in enumerate((folder, other or folder))
    ]  # fmt: skip


def refuse(*processes):
    """Give the last line of each: all end with one sentence."""
    lines = []
    for process in processes:
        output = process.communicate(timeout=240)[0]
        lines.append((["", *output.splitlines()])[-1])
        assert process.returncode not in (0, None) and "Traceback" not in output, output
        assert lines[-1].startswith("error: "), output
    return lines


def succeed(*processes):
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0] * len(processes), outputs
    return outputs


def bytes_read(output):
    (line,) = [line for line in output.splitlines() if " bytes of images" in line]
    return int(line.split(": read ")[1].split(" ")[0].replace(",", ""))


def losses(folder):
    return pd.read_csv(folder / OUTS[1])[["loss", "val_loss"]].to_numpy()


@pytest.fixture(scope="module")
def alone(template, tmp_path_factory):
    folder = place(template, tmp_path_factory.mktemp("alone"))
    succeed(start(folder))
    return folder


@pytest.fixture(scope="module")
def together(template, tmp_path_factory):
    folder = place(template, tmp_path_factory.mktemp("two"), "train.strategy=multiworker")
    return folder, succeed(*two_workers(folder))


@pytest.mark.slow
def test_two_workers_learn_what_one_learns(alone, together):
    folder, _ = together
    assert losses(alone).min() > 1e-3  # there is something to compare
    np.testing.assert_allclose(losses(folder), losses(alone), rtol=TOLERANCE)
    columns = ["accuracy", "val_accuracy", "learning_rate"]
    one, two = (pd.read_csv(each / OUTS[1])[columns] for each in (alone, folder))
    np.testing.assert_allclose(two, one, atol=1e-6)


@pytest.mark.slow
def test_the_chief_alone_writes_and_logs(alone, together):
    folder, (chief, other) = together
    files = {each.relative_to(folder).as_posix() for each in folder.rglob("*") if each.is_file()}
    assert files == {
        each.relative_to(alone).as_posix() for each in alone.rglob("*") if each.is_file()
    }
    assert all((folder / out).exists() for out in OUTS)
    assert f"Epoch {EPOCHS}/{EPOCHS}" in chief and "Epoch" not in other
    curve = pd.read_csv(folder / OUTS[2] / "plots/metrics/train/loss.tsv", sep="\t")
    assert len(curve) == EPOCHS  # a line an epoch, of one writer


@pytest.mark.slow
def test_workers_of_other_params_and_data_are_refused(template, tmp_path):
    """They would train on in silence, each with its own."""
    first, second = tmp_path / "0", tmp_path / "1"
    place(template, first, "train.strategy=multiworker")
    place(template, second, "train.strategy=multiworker", "seed=2")
    labels = np.load(second / "data/train/labels.npy")
    np.save(second / "data/train/labels.npy", 1 - labels)
    lines = refuse(*two_workers(first, second))
    assert lines[0] == lines[1]
    assert lines[0].startswith(
        "error: the workers do not belong together: other params on worker 2; other data on "
        "worker 2 than on worker 1; bring params.yaml, "
    )
    assert not (first / "models").exists()


@pytest.mark.slow
def test_a_divergence_ends_all_workers(template, tmp_path):
    folder = place(template, tmp_path / "diverged", "train.strategy=multiworker")
    high = (
        "import keras; adam = keras.optimizers.Adam; keras.optimizers.Adam = lambda _: adam(1e30)"
    )
    lines = refuse(*two_workers(folder, before=high))
    assert lines[0] == lines[1]
    assert lines[0].startswith(f"error: the training of {NAME} diverged in epoch 1: ")
    assert not (folder / "models").exists() and not list(folder.rglob("*.npz"))


@pytest.mark.slow
def test_each_worker_reads_half_of_the_images(together):
    _, outputs = together
    validation = EPOCHS * IMAGES["val"]
    every = EPOCHS * (IMAGES["train"] // BATCH) * BATCH + validation
    shares = [bytes_read(output) / (every * 32 * 32 * 3) for output in outputs]
    assert shares == pytest.approx([0.5, 0.5], abs=0.02)
    assert [output.count("worker 2 of 2, 2 devices in all") for output in outputs] == [0, 1]


@pytest.mark.soak
def test_a_lost_worker_is_said_and_the_training_goes_on(template, together, tmp_path):
    folder = place(template, tmp_path / "killed", "train.strategy=multiworker")
    chief, other = two_workers(folder)
    while not list(folder.glob(".work/checkpoints/*/[!.]*.npz")):
        assert chief.poll() is None, chief.communicate()[0]
        time.sleep(0.01)
    other.send_signal(signal.SIGKILL)
    other.communicate()
    output = chief.communicate(timeout=180)[0]
    assert chief.returncode == 1 and "Traceback" not in output
    last = output.splitlines()[-1]
    assert last.startswith("error: a worker of this training is gone (") and "task:1" in last
    assert not (folder / OUTS[0]).exists()
    again, _ = succeed(*two_workers(folder))
    assert "training goes on after epoch " in again and f"Epoch 1/{EPOCHS}" not in again
    for out in OUTS[:2]:
        assert (folder / out).read_bytes() == (together[0] / out).read_bytes()
    assert not list(folder.glob(".work/checkpoints/*/*"))


TWO_CPUS = (
    "import tensorflow as tf; tf.config.set_logical_device_configuration("
    "tf.config.list_physical_devices('CPU')[0], 2 * [tf.config.LogicalDeviceConfiguration()])"
)


@pytest.mark.slow
def test_two_devices_of_one_machine(template, alone, tmp_path):
    folder = place(template, tmp_path / "mirrored", "train.strategy=mirrored")
    (output,) = succeed(start(folder, before=TWO_CPUS))
    np.testing.assert_allclose(losses(folder), losses(alone), rtol=TOLERANCE)
    assert "worker 1 of 1, 2 devices in all: read" in output


def test_more_devices_than_images_in_a_batch():
    from detector.training.distribution import Distribution

    distribution = Distribution(SimpleNamespace(num_replicas_in_sync=4))
    distribution.require_rows(4, images=4)
    with pytest.raises(ExpectedError, match=r"^train\.batch_size 3: is shared by 4 devices"):
        distribution.require_rows(3, images=100)
    with pytest.raises(ExpectedError, match=r"^data/train: 3 images cannot be shared by 4 dev"):
        distribution.require_rows(32, images=3)


RANDOM_STATES = f"""{TWO_CPUS}
import keras
from detector.training.distribution import distribute
from detector.networks.model import build_model
from detector.params import validate
import yaml
params = validate(yaml.safe_load(open("params.yaml")))
distribution = distribute("mirrored")
with distribution.scope():
    model = build_model(params.model["{NAME}"], 32, params.train.augmentation, 1, True)
distribution.align(model.variables)
states = [v.value for v in model.variables if "seed" in v.path]
print([[part.numpy().tolist() for part in state.values] for state in states])
synchronized = [layer.synchronized for layer in model.get_layer("{NAME}").layers
                if isinstance(layer, keras.layers.BatchNormalization)]
print(synchronized)
"""


@pytest.mark.slow
def test_each_device_draws_other_random_numbers(template, tmp_path):
    folder = place(
        template, tmp_path, f"model.{NAME}.dropout=0.3", "train.augmentation.horizontal_flip=true"
    )
    done = subprocess.run(
        [sys.executable, "-c", RANDOM_STATES], cwd=folder, text=True, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    states, synchronized = map(json.loads, done.stdout.lower().splitlines())
    assert len(states) == 2  # of the flip and of the dropout
    flat = [tuple(part) for state in states for part in state]
    assert len(set(flat)) == 4  # no two replicas, no two layers alike
    assert synchronized and all(synchronized)


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (None, "TF_CONFIG is not set"),
        ("{", "JSONDecodeError"),
        ("[]", "TypeError"),
        ('{"cluster": {"worker": ["a:1"]}}', "KeyError: 'task'"),
        (
            '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}',
            "task is worker 1, which is none of the 1 workers",
        ),
        (
            '{"cluster": {"worker": ["a:1"], "chief": ["b:1"]}, "task": {"type": "chief"}}',
            "cluster has chief, worker, not worker alone",
        ),
        ('{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker"}}', "TypeError"),
    ],
)  # fmt: skip
def test_a_wrong_tf_config(config, said, monkeypatch):
    from detector.training.distribution import read_tf_config

    monkeypatch.delenv("TF_CONFIG", raising=False)
    if config is not None:
        monkeypatch.setenv("TF_CONFIG", config)
    with pytest.raises(ExpectedError) as caught:
        read_tf_config()
    assert said in str(caught.value) and "\n" not in str(caught.value)


def test_a_right_tf_config(monkeypatch):
    from detector.training.distribution import read_tf_config

    config = {"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}}
    monkeypatch.setenv("TF_CONFIG", json.dumps(config))
    assert read_tf_config() == (1, 2)
