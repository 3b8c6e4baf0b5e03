"""A training that diverges ends with one sentence, and nothing of it is kept."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest

from detector.networks.runtime import start_keras
from detector.params import validate
from tests.helpers import composed_params, learnable_arrays

start_keras(seed=1)

import keras  # noqa: E402

from detector.base.arrays import Split  # noqa: E402
from detector.training.checkpoint import Checkpoint  # noqa: E402
from detector.training.distribution import distribute  # noqa: E402
from detector.training.fit import scope_of, train  # noqa: E402
from stages import train as train_stage  # noqa: E402
from tests.test_finite import refused, sentence  # noqa: E402

SPLIT = Split(
    np.random.default_rng(0).integers(0, 256, (24, 8, 8, 3), dtype=np.uint8),
    np.arange(24, dtype=np.uint8) % 2, None, None,
)  # fmt: skip
STEPS = 3


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    short = ["train.epochs=2", f"train.steps_per_epoch={STEPS}", "train.batch_size=8"]
    return validate(composed_params(tmp_path_factory.mktemp("params"), "model=cnn32", *short))


class Spoil(keras.callbacks.Callback):
    """Put a value into a variable, or into one of the optimizer, after a step of an epoch."""

    def __init__(self, name, value, epoch, step):
        super().__init__()
        self.name, self.value, self.place = name, value, (epoch, step)

    def on_epoch_begin(self, epoch, logs=None):
        self.epoch = epoch

    def on_train_batch_end(self, batch, logs=None):
        if (self.epoch, batch) == self.place:
            every = [*self.model.variables, *self.model.optimizer.variables]
            (variable,) = [v for v in every if v.path.endswith(self.name)]
            variable.assign(np.full(variable.shape, self.value))


class Listener(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.heard = []

    def on_epoch_end(self, epoch, logs=None):
        self.heard.append(logs)


class NoGradient(keras.layers.Layer):
    """Give what comes in; the gradient of it is no number."""

    def call(self, x):
        return x + keras.ops.sqrt(keras.ops.relu(0.0 * x))


def small_network(*more):
    inputs = keras.Input((8, 8, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 255, dtype="float32")(inputs)
    for layer in (keras.layers.Conv2D(2, 3, name="conv"),
                  keras.layers.BatchNormalization(name="bn"),
                  keras.layers.Flatten(), *more,
                  keras.layers.Dense(1, activation="sigmoid", dtype="float32")):  # fmt: skip
        x = layer(x)
    return keras.Model(inputs, x, name="small")


def run(params, spoil=(), path=None, network=small_network, strategy="none", rate=1e-3, **recipe):
    """Train; give the network and what a listener heard."""
    keras.utils.set_random_seed(1)
    recipe = params.train.model_copy(update=recipe)
    distribution = distribute(strategy)
    with scope_of(distribution):
        model = network()
    listener = Listener()
    try:
        train(model, SPLIT, SPLIT, recipe, rate, 1, [*spoil, listener], verbose=0,
              checkpoint=Checkpoint(path) if path else None, distribution=distribution)  # fmt: skip
    finally:
        assert all(math.isfinite(value) for logs in listener.heard for value in logs.values())
    return model, listener.heard


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["none", "mirrored"])
@pytest.mark.parametrize(
    ("name", "value", "place", "said"),
    [
        ("conv/kernel", np.nan, (1, 0), "epoch 2: the loss is nan at step 2;"),
        # Validation alone sees what comes after the last step, and the moving statistics.
        ("bn/moving_mean", np.inf, (0, STEPS - 1), "epoch 1: val_loss is nan;"),
        # x / inf is 0: no loss sees it.
        (
            "bn/moving_variance", np.inf, (1, STEPS - 1),
            "epoch 2: of the weights and the optimizer 2 of ",
        ),
        (
            "conv_kernel_velocity", np.nan, (1, STEPS - 1),
            "epoch 2: of the weights and the optimizer 54 of ",
        ),
    ],
)  # fmt: skip
def test_it_ends_as_soon_as_it_is_seen(params, tmp_path, name, value, place, said, strategy):
    path = tmp_path / "c.npz"
    spoil = [Spoil(name, value, *place)]
    line = sentence(run, params, spoil, path, strategy=strategy)
    assert line.startswith(f"the training of small diverged in {said}"), line
    assert "try a smaller learning_rate" in line
    # What is kept is of the epoch before.
    assert Checkpoint(path).epochs_done() == place[0]
    if place[0]:
        with np.load(path) as file:
            assert all(np.isfinite(file[key]).all() for key in file if key != "state")


def test_a_rate_that_is_too_high(params):
    line = sentence(run, params, optimizer="sgd", schedule="constant", rate=1e30)
    assert line.startswith("the training of small diverged in epoch 1: ")


@pytest.fixture
def half_precision():
    start_keras(1, precision="mixed_float16")
    yield
    start_keras(1)


def test_half_precision_may_leave_steps_out(params, half_precision):
    """Gradients too large for the first scale are no divergence."""
    steep = keras.layers.Rescaling(30.0)
    model, heard = run(params, network=lambda: small_network(steep), optimizer="sgd")
    assert len(heard) == 2
    assert 0 < int(model.optimizer.iterations) < 2 * STEPS, model.optimizer.iterations
    assert heard[-1]["learning_rate"] > 0


@pytest.mark.parametrize("epochs", [1, 8])
def test_half_precision_that_never_takes_a_step(params, half_precision, epochs):
    """Its loss and its weights are finite: the ones that it began with."""
    line = sentence(run, params, network=lambda: small_network(NoGradient()), epochs=epochs)
    # After 16 steps the scale of 2^15 is below 1.
    epoch = min(epochs, 6)
    assert f"in epoch {epoch}: the gradients are not finite in half precision;" in line


def test_a_checkpoint_that_holds_such_numbers_is_left_out(params, tmp_path, capsys):
    path = tmp_path / "c.npz"
    wanted, _ = run(params, path=path)
    with np.load(path) as file:
        arrays = dict(file)
    spoilt = arrays["00000"].copy()
    spoilt.flat[0] = np.nan
    state = arrays["state"].tobytes().replace(b'"loss": [', b'"loss": [NaN, ')
    for change in ({"00000": spoilt}, {"state": np.frombuffer(state, np.uint8)}):
        np.savez(path, **{**arrays, **change})
        model, heard = run(params, path=path)
        assert len(heard) == 2
        for a, b in zip(model.get_weights(), wanted.get_weights(), strict=True):
            np.testing.assert_array_equal(a, b)
    assert capsys.readouterr().err.count("left out, training starts anew") == 2


@pytest.mark.slow
def test_the_train_stage_writes_nothing_of_it(tmp_path, monkeypatch):
    learnable_arrays(tmp_path / "data", {"train": 64, "val": 8})
    composed_params(tmp_path, "model=cnn32", "train.batch_size=8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["train", "--model", "cnn32"])
    adam = keras.optimizers.Adam  # a rate that params.yaml does not take
    monkeypatch.setattr(keras.optimizers, "Adam", lambda _: adam(1e30))
    Path("models/start").mkdir(parents=True)
    Path("models/start/none").touch()
    line = refused(train_stage.main)
    assert line.startswith("error: the training of cnn32 diverged in epoch 1: ")
    assert not list(Path().rglob("*.npz"))
