"""Two phases of a training, and a rate of its own for the backbone."""

import numpy as np
import pytest

from detector.networks.runtime import start_keras
from detector.params import validate
from tests.helpers import composed_params

start_keras(seed=1)

import keras  # noqa: E402

from detector.base.arrays import Split  # noqa: E402
from detector.networks.model import build_model  # noqa: E402
from detector.training.checkpoint import Checkpoint  # noqa: E402
from detector.training.clock import EpochClock  # noqa: E402
from detector.training.fit import make_optimizer, train  # noqa: E402

EPOCHS, HEAD_EPOCHS, STEPS = 4, 2, 3
SPLIT = Split(
    np.random.default_rng(0).integers(0, 256, (40, 32, 32, 3), dtype=np.uint8),
    np.arange(40, dtype=np.uint8) % 2,
    np.full(40, -1, np.int8),
    np.array([b"x"] * 40),
)


class Killed(Exception):
    pass


class Watch(keras.callbacks.Callback):
    """Note what Keras calls, and the weights after each epoch; end before an epoch begins."""

    def __init__(self, kill_before=None):
        super().__init__()
        self.kill_before, self.calls, self.weights = kill_before, [], []

    def on_train_begin(self, logs=None):
        self.calls.append("begin")
        self.weights.append(self.by_part())

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.kill_before:
            raise Killed

    def on_epoch_end(self, epoch, logs=None):
        self.calls.append(epoch)
        self.weights.append(self.by_part())

    def on_train_end(self, logs=None):
        self.calls.append("end")

    def by_part(self):
        (backbone,) = [layer for layer in self.model.layers if isinstance(layer, keras.Model)]
        head = [w for layer in self.model.layers[-2:] for w in layer.get_weights()]
        return {"backbone": backbone.get_weights(), "head": head}


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    recipe = {
        "epochs": EPOCHS, "head_epochs": HEAD_EPOCHS, "steps_per_epoch": STEPS, "batch_size": 8,
        "warmup": 0.4,
    }  # fmt: skip
    overrides = [f"train.{key}={value}" for key, value in recipe.items()]
    overrides.append("transfer.weights=none")
    folder = tmp_path_factory.mktemp("params")
    dropout = "model.cnn32.dropout=0.3"
    return validate(composed_params(folder, "model=cnn32", "train=tuned", dropout, *overrides))


def run(params, path=None, kill_before=None, settings=None, **recipe):
    """Train in a process's state of its own. Returns the network, history, watch and clock."""
    start_keras(seed=1)
    settings = settings or params.model["cnn32"]
    recipe = params.train.model_copy(update=recipe)
    model = build_model(settings, 32, recipe.augmentation, seed=1)
    watch, clock = Watch(kill_before), EpochClock()
    checkpoint = Checkpoint(path, clock) if path else None
    callbacks = [watch, clock]
    history = train(
        model, SPLIT, SPLIT, recipe, 0.01, 1, callbacks, verbose=0, checkpoint=checkpoint
    )
    return model, history, watch, clock


@pytest.fixture(scope="module")
def undisturbed(params):
    return run(params)


def moved(before, after):
    return [not np.array_equal(a, b) for a, b in zip(before, after, strict=True)]


@pytest.mark.slow
def test_the_head_learns_first_and_then_both(undisturbed):
    _, history, watch, clock = undisturbed
    assert watch.calls == ["begin", *range(EPOCHS), "end"]  # one training to who is told of it
    assert {len(values) for values in history.values()} == {EPOCHS} == {len(clock.epochs)}
    assert [epoch.ended for epoch in clock.epochs] == sorted(epoch.ended for epoch in clock.epochs)
    start, after_head, end = (watch.weights[i] for i in (0, HEAD_EPOCHS, EPOCHS))
    # Statistics of BatchNormalization among them.
    assert not any(moved(start["backbone"], after_head["backbone"]))
    assert all(moved(start["head"], after_head["head"]))
    assert all(moved(after_head["head"], end["head"]))
    whitening, *others = moved(after_head["backbone"], end["backbone"])
    assert all(others) and not whitening
    # Each phase has a warm-up of 2 of its 6 steps and then a cosine of its own, here after the
    # third and the sixth step.
    rates = history["learning_rate"]
    falling = [0.01 * (1 + np.cos(np.pi * step / 4)) / 2 for step in (0, 3)]
    assert rates == pytest.approx(2 * falling)


@pytest.mark.slow
def test_what_trainable_layers_freezes_stays_so(params):
    settings = params.model["cnn32"].model_copy(update={"trainable_layers": 3})
    model, _, watch, _ = run(params, settings=settings, epochs=2, head_epochs=1, warmup=0.0)
    (backbone,) = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    assert [layer.trainable for layer in backbone.layers[-3:]] == [True] * 3
    assert not any(layer.trainable for layer in backbone.layers[:-3])
    learning = {id(v) for layer in backbone.layers[-3:] for v in layer.variables}
    changed = moved(watch.weights[1]["backbone"], watch.weights[2]["backbone"])
    assert changed == [id(v) in learning for v in backbone.weights]


@pytest.mark.slow
def test_the_first_step_of_the_backbone_is_smaller_by_the_factor(params):
    def step(rate):
        changes = {"epochs": 1, "head_epochs": 0, "steps_per_epoch": 1, "warmup": 0.0}
        changes |= {"optimizer": "sgd", "schedule": "constant", "backbone_rate": rate}
        model, history, watch, _ = run(params, **changes)
        assert history["learning_rate"] == [pytest.approx(0.01)]  # the head's
        (backbone,) = [layer for layer in model.layers if isinstance(layer, keras.Model)]
        before, after = watch.weights
        learns = [v.trainable for v in backbone.weights]
        parts = {
            part: [b.astype(float) - a for a, b in zip(before[part], after[part], strict=True)]
            for part in before
        }
        of_backbone = zip(parts["backbone"], learns, strict=True)
        return [change for change, trains in of_backbone if trains], parts["head"]

    (backbone, head), (slower, same_head) = step(1.0), step(0.25)
    for a, b in zip(backbone, slower, strict=True):
        assert np.abs(a).max() > 1e-5
        assert b == pytest.approx(0.25 * a, abs=2e-7)  # rounding of weights of size 1
    for a, b in zip(head, same_head, strict=True):
        assert np.abs(a).max() > 0 and np.array_equal(a, b)


@pytest.mark.parametrize("optimizer", ["adam", "adamw", "sgd"])
def test_weight_decay_and_schedule_are_by_the_same_factor(params, optimizer):
    recipe = params.train.model_copy(update={"optimizer": optimizer, "warmup": 0.0})
    backbone, head = keras.Variable(np.ones(3)), keras.Variable(np.ones(3))
    made = make_optimizer(recipe, 0.5, 10, [backbone])
    made.build([backbone, head])
    made.apply([keras.ops.zeros(3), keras.ops.zeros(3)])  # what moves them is weight decay alone
    decay = 0.004 if optimizer == "adamw" else 0  # Keras' default
    wanted = [1 - decay * 0.5 * recipe.backbone_rate, 1 - decay * 0.5]
    found = [float(v.numpy()[0]) for v in (backbone, head)]
    assert found == pytest.approx(wanted, abs=1e-7)
    rates = [float(each.learning_rate) for each in made.optimizers]
    assert rates[0] == pytest.approx(recipe.backbone_rate * rates[1]) and 0 < rates[1] < 0.5


def test_without_a_factor_there_is_one_optimizer(params):
    recipe = params.train.model_copy(update={"backbone_rate": 1.0})
    made = make_optimizer(recipe, 0.5, 10, [keras.Variable(np.ones(3))])
    assert type(made) is keras.optimizers.AdamW


def test_warm_up_rises_in_equal_steps_and_then_falls_to_zero(params):
    made = make_optimizer(params.train.model_copy(update={"warmup": 0.4}), 0.8, 10)
    rates = []
    for step in range(11):
        made.iterations.assign(step)
        rates.append(float(made.learning_rate))
    assert rates[:5] == pytest.approx([0.2, 0.35, 0.5, 0.65, 0.8])
    assert rates[7] == pytest.approx(0.4)  # half-way along the cosine
    assert rates[10] == pytest.approx(0, abs=1e-7) and rates[4:] == sorted(rates[4:], reverse=True)
    short = make_optimizer(params.train.model_copy(update={"warmup": 0.9}), 0.8, 1)
    assert float(short.learning_rate) == pytest.approx(0.8)  # one step has none


def same(found, wanted):
    assert not any(moved(found[0].get_weights(), wanted[0].get_weights()))
    assert found[1] == wanted[1]
    assert len(found[3].epochs) == EPOCHS


@pytest.mark.slow
@pytest.mark.parametrize("epoch", [1, HEAD_EPOCHS, pytest.param(3, marks=pytest.mark.soak)])
def test_resumed_in_either_phase_it_ends_at_the_same_bits(
    params, undisturbed, tmp_path, epoch, capsys
):
    path = tmp_path / "c.npz"
    with pytest.raises(Killed):
        run(params, path, kill_before=epoch)
    found = run(params, path)
    assert f"training goes on after epoch {epoch}" in capsys.readouterr().err
    assert found[2].calls == ["begin", *range(epoch, EPOCHS), "end"]
    same(found, undisturbed)


@pytest.mark.slow
def test_a_checkpoint_of_the_second_phase_that_is_damaged(params, undisturbed, tmp_path, capsys):
    path = tmp_path / "c.npz"
    with pytest.raises(Killed):
        run(params, path, kill_before=3)
    with np.load(path) as file:
        arrays = dict(file)
    np.savez(path, **{**arrays, "00003": arrays["00003"][:-1]})
    found = run(params, path)
    assert "damaged (its arrays are of another network)" in capsys.readouterr().err
    same(found, undisturbed)


@pytest.mark.slow
def test_a_finished_training_trains_nothing(params, undisturbed, tmp_path):
    path = tmp_path / "c.npz"
    run(params, path)
    stamp = path.stat().st_mtime_ns
    found = run(params, path)
    assert found[2].calls == ["begin", "end"] and path.stat().st_mtime_ns == stamp
    same(found, undisturbed)
