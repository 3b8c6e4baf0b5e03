"""Recipes: schedules, optimizers, precision, XLA."""

import numpy as np
import pytest
import yaml

from conf.compose import compose
from detector.networks.runtime import has_bfloat16_gpu, has_gpu, start_keras
from detector.params import validate

start_keras(seed=1)

import keras  # noqa: E402

from detector.base.arrays import Split  # noqa: E402
from detector.networks.model import build_model  # noqa: E402
from detector.networks.runtime import layer_seed  # noqa: E402
from detector.training.fit import OneCycle, make_optimizer, train, use_xla  # noqa: E402


@pytest.fixture
def params(tmp_path):
    compose(tmp_path / "params.yaml", ["model=cnn32"])
    return validate(yaml.safe_load((tmp_path / "params.yaml").read_text()))


def test_one_cycle_goes_up_and_down_and_never_stands_still():
    rates = np.array([float(OneCycle(0.5, 99)(step)) for step in range(99)])
    assert rates.argmax() == 19 and rates[19] == pytest.approx(0.5)
    assert rates[9] == pytest.approx(0.25)  # half-way up
    assert rates[59] == pytest.approx(0.25)  # half-way down
    assert (rates > 0).all() and rates[-1] < 0.01
    assert float(OneCycle(0.5, 99)(1000)) == 0


def test_one_cycle_comes_back_from_its_configuration():
    again = OneCycle.from_config(OneCycle(0.5, 99).get_config())
    assert float(again(30)) == float(OneCycle(0.5, 99)(30))


@pytest.mark.parametrize("name", ["adam", "adamw", "sgd"])
def test_optimizers(params, name):
    recipe = params.train.model_copy(update={"optimizer": name, "schedule": "constant"})
    made = make_optimizer(recipe, 0.01, 10)
    assert type(made).__name__.lower() == name
    assert float(made.learning_rate) == pytest.approx(0.01)
    wanted = {
        "adam": {"beta_1": 0.9, "beta_2": 0.999, "weight_decay": None, "amsgrad": False},
        "adamw": {"beta_1": 0.9, "beta_2": 0.999, "weight_decay": 0.004, "amsgrad": False},
        "sgd": {"nesterov": True, "momentum": 0.9, "weight_decay": None},
    }
    assert {key: getattr(made, key) for key in wanted[name]} == wanted[name]


@pytest.mark.parametrize(
    ("schedule", "first", "last"), [("cosine", 0.01, 0), ("onecycle", 0.01 / 11 / 0.2, 0)]
)
def test_schedules_run_over_the_whole_training(params, schedule, first, last):
    made = make_optimizer(params.train.model_copy(update={"schedule": schedule}), 0.01, 10)
    assert float(made.learning_rate) == pytest.approx(first)
    made.iterations.assign(10)
    assert float(made.learning_rate) == pytest.approx(last, abs=1e-9)


def test_the_paper_is_trained_in_single_precision_everywhere(tmp_path):
    """`auto` would be bfloat16 on newer GPUs, which no paper of Keras' defaults used."""
    for train_by in ("paper", "robust"):
        compose(tmp_path / "params.yaml", [f"train={train_by}"])
        recipe = validate(yaml.safe_load((tmp_path / "params.yaml").read_text())).train
        assert recipe.precision == "float32"


def test_random_layers_do_not_follow_each_other(params):
    """Of one seed for all, every flipped image would be zoomed out and every other one in."""
    seeds = {layer_seed(1, name) for name in ("flip", "zoom", "dropout", "blur", "jpeg")}
    assert len(seeds) == 5
    assert layer_seed(1, "flip") == layer_seed(1, "flip") != layer_seed(2, "flip")
    augmentation = params.train.augmentation.model_copy(update={"zoom": 0.2})
    settings = params.model["cnn32"].model_copy(update={"dropout": 0.5})
    network = build_model(settings, 32, augmentation, seed=1)
    generators = [
        network.get_layer(name).seed_generator if name == "dropout" else network.get_layer(name)
        for name in ("flip", "zoom", "dropout")
    ]
    assert len({str(g.seed if hasattr(g, "seed") else g.get_config()) for g in generators}) == 3


def test_no_gpu_here_means_float32_and_no_xla(params):
    if has_gpu():
        pytest.skip("this machine has a GPU")
    assert not has_bfloat16_gpu()
    start_keras(1, precision="auto")
    assert keras.config.dtype_policy().name == "float32"
    assert not use_xla(params.train)
    assert use_xla(params.train.model_copy(update={"xla": True}))


def test_mixed_precision_keeps_weights_pixels_and_probabilities_in_float32(params):
    start_keras(1, precision="mixed_bfloat16")
    try:
        network = build_model(params.model["cnn32"], 32, params.train.augmentation, seed=1)
        rng = np.random.default_rng(0)
        images = rng.integers(0, 256, (8, 32, 32, 3), np.uint8)
        labels = (np.arange(8) % 2).astype(np.uint8)
        split = Split(images, labels, np.full(8, -1, np.int8), np.array([b"x"] * 8))
        recipe = params.train.model_copy(
            update={"epochs": 1, "batch_size": 4, "steps_per_execution": 2}
        )
        history = train(network, split, split, recipe, 1e-3, 1, [], verbose=0)
        assert np.isfinite(history["loss"]).all()
        assert network.get_layer("preprocess").compute_dtype == "float32"
        assert network.get_layer("pool").compute_dtype == "bfloat16"
        assert {w.dtype for w in network.trainable_weights} == {"float32"}
        assert network.predict(images, verbose=0).dtype == np.float32
    finally:
        start_keras(1)
