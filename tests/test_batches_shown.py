"""Which images a training shows, epoch by epoch: those that TrainingBatches promises."""

import json
import os
import subprocess
import sys
from contextlib import suppress

import numpy as np
import pytest

from detector.networks.runtime import start_keras
from detector.params import validate
from tests.helpers import ROOT, composed_params

start_keras(seed=1)

import keras  # noqa: E402
import tensorflow as tf  # noqa: E402

from detector.base.arrays import Split  # noqa: E402
from detector.networks.batches import TrainingBatches  # noqa: E402
from detector.training.checkpoint import Checkpoint  # noqa: E402
from detector.training.distribution import distribute  # noqa: E402
from detector.training.fit import scope_of, train  # noqa: E402

pytestmark = pytest.mark.slow
SEED, EPOCHS = 3, 4
# Images, images a batch, batches an epoch, batches at once, epochs of the head.
CASES = [
    (160, 8, 6, 1, 0),  # 1.2 passes, as 300 batches of 64 of 80,000 images in five epochs
    (37, 8, None, 1, 2),  # whole batches that leave some images of a pass to the next epoch
    (10, 4, 6, 4, 0),  # more than two passes an epoch
    (3, 8, 2, 1, 0),  # fewer images than a batch may have
]


class Killed(Exception):
    pass


class Recorder(keras.layers.Layer):
    """Note the number that each training image holds; `epochs` has a list an epoch."""

    def __init__(self):
        super().__init__()
        self.epochs = {}
        self.epoch = None

    def call(self, images, training=False):
        if training:
            tf.numpy_function(self.note, [images[:, 0, 0, :2]], [], stateful=True)
        return images

    def note(self, pixels):
        numbers = pixels.astype(int) @ [1, 256]
        self.epochs.setdefault(self.epoch, []).extend(numbers.tolist())


def split_of(n):
    images = np.zeros((n, 8, 8, 3), np.uint8)
    images[:, 0, 0, 0], images[:, 0, 0, 1] = np.arange(n) % 256, np.arange(n) // 256
    return Split(images, np.arange(n, dtype=np.uint8) % 2, None, None)


def shown(params, case, path=None, kill_before=None, strategy="none"):
    """Train; give the numbers of the images that the network saw, a sorted list an epoch."""
    n, batch_size, steps, at_once, head_epochs = case
    # One validation image, of which one of several devices has none.
    recipe = params.train.model_copy(
        update={
            "epochs": EPOCHS, "batch_size": batch_size, "steps_per_epoch": steps,
            "steps_per_execution": at_once, "head_epochs": head_epochs,
        }
    )  # fmt: skip
    distribution = distribute(strategy)
    recorder = Recorder()
    with scope_of(distribution):
        inputs = keras.Input((8, 8, 3), dtype="uint8")
        flat = keras.layers.Rescaling(1 / 255)(keras.layers.Flatten()(recorder(inputs)))
        model = keras.Model(inputs, keras.layers.Dense(1, activation="sigmoid")(flat))

    def begin(epoch, logs):
        if epoch == kill_before:
            raise Killed
        recorder.epoch = epoch

    watch = keras.callbacks.LambdaCallback(on_epoch_begin=begin)
    checkpoint = Checkpoint(path) if path else None
    with suppress(Killed):
        train(model, split_of(n), split_of(1), recipe, 0.01, SEED, [watch], verbose=0,
              checkpoint=checkpoint, distribution=distribution)  # fmt: skip
    return {epoch: sorted(numbers) for epoch, numbers in recorder.epochs.items()}


def promised(case):
    n, batch_size, steps, *_ = case
    batches = TrainingBatches(split_of(n), batch_size, steps, SEED)
    return {
        epoch: sorted(int(i) for step in range(len(batches)) for i in batches.rows(step, epoch))
        for epoch in range(EPOCHS)
    }


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    return validate(composed_params(tmp_path_factory.mktemp("params"), "model=cnn32"))


@pytest.mark.parametrize("case", [CASES[0], *CASES[2:]])
def test_an_epoch_shows_the_batches_of_its_number(params, case):
    found = shown(params, case)
    assert found == promised(case)
    every = np.concatenate(list(found.values()))
    times = np.bincount(every, minlength=case[0])  # pass after pass, no image is passed over
    assert {times.min(), times.max()} <= {len(every) // case[0], -(-len(every) // case[0])}


@pytest.mark.parametrize(("case", "epoch"), [(CASES[0], 1), (CASES[1], 3)])
def test_a_resumed_training_shows_the_same(params, case, epoch, tmp_path):
    before = shown(params, case, tmp_path / "c.npz", kill_before=epoch)
    after = shown(params, case, tmp_path / "c.npz")
    assert list(after) == list(range(epoch, EPOCHS))
    assert {**before, **after} == promised(case)


ON_TWO_DEVICES = """
import json, sys
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], 2 * [tf.config.LogicalDeviceConfiguration()])
from pathlib import Path
import yaml
from tests import test_batches_shown as here
params = here.validate(yaml.safe_load(Path("params.yaml").read_text()))
path = Path("c.npz")
before = here.shown(params, here.CASES[0], path, kill_before=2, strategy="mirrored")
after = here.shown(params, here.CASES[0], path, strategy="mirrored")
print(json.dumps([before, after]))
"""


def test_several_devices_show_the_same_together(tmp_path):
    composed_params(tmp_path, "model=cnn32")
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES], cwd=tmp_path, text=True, capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    before, after = json.loads(done.stdout.splitlines()[-1])
    assert list(after) == ["2", "3"]
    assert {int(key): of for key, of in {**before, **after}.items()} == promised(CASES[0])
