"""A training that was interrupted goes on to the same weights; a bad checkpoint is left out."""

import json

import numpy as np
import pytest
import yaml

from conf.compose import compose
from detector.base.errors import ExpectedError
from detector.networks.runtime import start_keras
from detector.params import validate

start_keras(seed=1)

import keras  # noqa: E402

from detector.base.arrays import Split  # noqa: E402
from detector.networks.model import build_model  # noqa: E402
from detector.training import fit as training  # noqa: E402
from detector.training.checkpoint import Checkpoint, fingerprint, tell_of_others  # noqa: E402
from detector.training.clock import EpochClock  # noqa: E402
from stages import train as stage  # noqa: E402
from tests.test_deps import closure  # noqa: E402

pytestmark = pytest.mark.slow

EPOCHS = 3


class Killed(Exception):
    pass


class KillBefore(keras.callbacks.Callback):
    """End the training when an epoch begins: the checkpoint of the one before is written."""

    def __init__(self, epoch):
        super().__init__()
        self.epoch = epoch

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epoch:
            raise Killed


class Listener(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.heard = []

    def on_epoch_end(self, epoch, logs=None):
        self.heard.append((epoch, dict(logs)))


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    folder = tmp_path_factory.mktemp("params")
    robust = ["train=quick_robust", "model.cnn32.dropout=0.3", "train.schedule=onecycle"]
    small = [f"train.epochs={EPOCHS}", "train.steps_per_epoch=3", "train.batch_size=8"]
    compose(folder / "params.yaml", ["model=cnn32", *robust, *small])
    return validate(yaml.safe_load((folder / "params.yaml").read_text()))


@pytest.fixture(scope="module")
def split():
    rng = np.random.default_rng(0)
    labels = np.arange(40, dtype=np.uint8) % 2
    images = rng.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8)
    return Split(images, labels, np.full(40, -1, np.int8), np.array([f"{i}" for i in range(40)]))


def run(params, split, path, kill_before=None):
    """Train in a process's state of its own; a kill comes before an epoch begins."""
    start_keras(seed=1)
    settings, recipe = params.model["cnn32"], params.train
    model = build_model(settings, 32, recipe.augmentation, seed=1)
    clock, listener = EpochClock(), Listener()
    checkpoint = Checkpoint(path, clock, told=[listener])
    callbacks = [listener, clock, KillBefore(kill_before)]
    rate = settings.learning_rate
    history = training.train(
        model, split, split, recipe, rate, 1, callbacks, verbose=0, checkpoint=checkpoint
    )
    return model.get_weights(), history, listener.heard, clock


@pytest.fixture(scope="module")
def undisturbed(params, split, tmp_path_factory):
    return run(params, split, tmp_path_factory.mktemp("whole") / "c.npz")


def same(first, second):
    weights, history, heard, _ = first
    others, other_history, other_heard, _ = second
    assert len(weights) == len(others)
    for a, b in zip(weights, others, strict=True):
        np.testing.assert_array_equal(a, b)
    assert history == other_history
    assert json.dumps(heard) == json.dumps(other_heard)


@pytest.mark.parametrize("epoch", [1, 2])
def test_resumed_training_ends_at_the_same_bits(
    params, split, tmp_path, undisturbed, epoch, capsys
):
    path = tmp_path / "c.npz"
    with pytest.raises(Killed):
        run(params, split, path, kill_before=epoch)
    assert "goes on" not in capsys.readouterr().err
    resumed = run(params, split, path)
    assert f"{path}: training goes on after epoch {epoch}" in capsys.readouterr().err
    same(resumed, undisturbed)
    assert len(resumed[3].epochs) == EPOCHS
    assert resumed[3].report(resumed[1], 8)["seconds_total"] > 0


def test_a_kill_after_the_last_epoch_trains_nothing(params, split, tmp_path, undisturbed):
    path = tmp_path / "c.npz"
    run(params, split, path)
    stamp = path.stat().st_mtime_ns
    same(run(params, split, path), undisturbed)
    assert path.stat().st_mtime_ns == stamp


def test_another_state_of_the_random_layers_would_be_seen(params, split, tmp_path, undisturbed):
    """So that the equality above is not for want of randomness."""
    path = tmp_path / "c.npz"
    with pytest.raises(Killed):
        run(params, split, path, kill_before=1)
    with np.load(path) as file:
        arrays = dict(file)
    seeds = [key for key, array in arrays.items() if array.shape == (2,) and key != "state"]
    assert len(seeds) >= 4  # flip, blur, noise, JPEG or dropout
    for key in seeds:
        arrays[key] = arrays[key] + arrays[key].dtype.type(1)
    np.savez(path, **arrays)
    weights = run(params, split, path)[0]
    pairs = zip(weights, undisturbed[0], strict=True)
    assert any(not np.array_equal(a, b) for a, b in pairs)


def damage_bytes(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def damage_state(path):
    with np.load(path) as file:
        arrays = dict(file)
    arrays["state"] = np.frombuffer(b'{"history": {"loss": [1.0], "accuracy": []}}', np.uint8)
    np.savez(path, **arrays)


def damage_shape(path):
    with np.load(path) as file:
        arrays = dict(file)
    arrays["00000"] = arrays["00000"][:-1]
    np.savez(path, **arrays)


def make_pickle(path):
    with np.load(path) as file:
        arrays = dict(file)
    arrays["00000"] = np.array([print], dtype=object)
    np.savez(path, **arrays)


@pytest.mark.parametrize(
    "damage",
    [
        damage_bytes,
        damage_state,
        damage_shape,
        make_pickle,
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(path.read_bytes()[:1000]),
        lambda path: path.write_text("no archive"),
    ],
    ids=["bit", "state", "shape", "pickle", "empty", "truncated", "text"],
)
def test_a_damaged_checkpoint_is_left_out_with_a_word(params, split, tmp_path, damage, capsys):
    path = tmp_path / "c.npz"
    settings, recipe = params.model["cnn32"], params.train
    model = build_model(settings, 32, recipe.augmentation, seed=1)
    model.compile(training.make_optimizer(recipe, 0.1, 9), loss="binary_crossentropy")
    model.optimizer.build(model.trainable_variables)
    keeper = Checkpoint(path)
    keeper.set_model(model)
    keeper.on_epoch_end(0, {"loss": 1.0, "accuracy": 0.5})
    before = model.get_weights()
    damage(path)
    again = Checkpoint(path, told=[listener := Listener()])
    assert again.restore(model) == 0 and again.history == {} and listener.heard == []
    words = capsys.readouterr().err
    assert words.startswith(f"{path}: damaged (") and len(words.splitlines()) == 1
    for a, b in zip(before, model.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)


def test_those_of_other_settings_are_told_of(tmp_path, capsys):
    for name in ("this.npz", "other.npz"):
        (tmp_path / name).touch()
    tell_of_others(tmp_path / "this.npz")
    words = capsys.readouterr().err
    assert words == (
        f"{tmp_path / 'other.npz'}: left out, it is of other params, data, code or versions\n"
    )


def test_fingerprint_changes_with_params_data_and_code(tmp_path):
    data, source, weights = tmp_path / "data", tmp_path / "module.py", tmp_path / "w.h5"
    data.mkdir()
    (data / "images.npy").write_bytes(b"1")
    source.write_text("x = 1\n")
    weights.write_bytes(b"1")

    def made(rate=0.1):
        return fingerprint({"rate": rate}, [data, weights], [source])

    first = made()
    assert first == made() and len(first.digits) == 16
    found = {"": first, "params": made(rate=0.2)}
    for part, path in (("data", data / "images.npy"), ("data of w.h5", weights), ("code", source)):
        kept = path.read_bytes()
        path.write_bytes(b"x = 2\n")
        found[part] = made()
        path.write_bytes(kept)
    assert len({each.digits for each in found.values()}) == 5
    for part, each in found.items():
        changed = [name for name in first._fields if getattr(each, name) != getattr(first, name)]
        assert changed == part.split()[:1]


def test_the_mark_of_the_train_stage_is_of_all_that_it_runs(tmp_path, monkeypatch):
    """Also of modules that are imported only later, such as distributed.py."""
    compose(tmp_path / "params.yaml", ["model=cnn32"])
    params = validate(yaml.safe_load((tmp_path / "params.yaml").read_text()))
    seen = []
    monkeypatch.setattr("detector.training.checkpoint.fingerprint", lambda *of: seen.append(of))
    stage.fingerprint_of("cnn32", params)
    ((given, data, sources),) = seen
    names = [path.relative_to(stage.ROOT).as_posix() for path in sources]
    assert all(path.exists() for path in sources)
    for module in closure("stages/train.py"):  # distributed.py, which is imported late, among them
        assert any(module == name or module.startswith(f"{name}/") for name in names), module
    assert data == ["data/train", "data/val", "models/start/none"]
    for change in ({"seed": 2}, {"threads": 3}):
        stage.fingerprint_of("cnn32", params.model_copy(update=change))
        assert str(seen[-1][0]) != str(given)


def test_a_place_that_cannot_be_written_is_one_sentence(params, tmp_path):
    (tmp_path / "file").touch()
    model = build_model(params.model["cnn32"], 32)
    model.compile("sgd", loss="binary_crossentropy")
    keeper = Checkpoint(tmp_path / "file" / "c.npz")
    keeper.set_model(model)
    with pytest.raises(ExpectedError, match=r"file: cannot be written .*; free some space or"):
        keeper.on_epoch_end(0, {"loss": 1.0})
