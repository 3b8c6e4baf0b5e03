"""The ablation changes one thing at a time, and nothing after it."""

import json

import numpy as np
import pytest

from benchmarks.ablation import BASE, accuracy, earlier, table, trained
from benchmarks.common import params
from benchmarks.variations import VARIATIONS
from detector.base.arrays import Split
from detector.networks.runtime import start_keras

start_keras(seed=1)

from detector.networks import small  # noqa: E402
from detector.networks.whitening import LAYER  # noqa: E402
from detector.training import fit as training  # noqa: E402


@pytest.mark.parametrize("name", [n for n, v in VARIATIONS.items() if v.network])
def test_each_network_has_the_first_layer_that_it_says(name):
    network = VARIATIONS[name].network(32)
    assert len(network.output_shape) == 4
    first = network.layers[1]
    whitening = "random weights" not in name and "kernel of 5" not in name
    assert (first.name == LAYER) == whitening
    assert first.trainable == (not whitening or "trained on" in name)


def test_the_base_is_cnn32_and_every_change_is_one_of_the_schema():
    assert VARIATIONS[BASE].network is None
    settings = params("model=cnn32", "train=fast")
    for variation in VARIATIONS.values():
        assert set(variation.model) <= set(type(settings.model["cnn32"]).model_fields)
        assert set(variation.recipe) <= set(type(settings.train).model_fields)


@pytest.fixture(scope="module")
def splits():
    rng = np.random.default_rng(0)
    labels = np.arange(64, dtype=np.uint8) % 2
    images = rng.integers(0, 156, (64, 32, 32, 3), dtype=np.uint8)
    images[labels == 1, :, :16] += 99  # seen in the left half alone
    names = np.array([f"{i}" for i in range(64)])
    split = Split(images, labels, np.full(64, -1, np.int8), names)
    return {"train": split, "val": split}


@pytest.mark.slow
@pytest.mark.soak
@pytest.mark.parametrize("name", ["label smoothing 0.1", "average of the weights, 0.99"])
def test_changes_of_the_training_are_made_and_undone(splits, name, monkeypatch):
    seen = {}
    make, fit = training.make_optimizer, training.keras.Model.fit

    def spy(model, *arguments, **options):
        seen.update(loss=model.loss, averaged=model.optimizer.use_ema)
        return fit(model, *arguments, **options)

    monkeypatch.setattr(training.keras.Model, "fit", spy)
    cnn32 = small.cnn32
    settings = params("model=cnn32", "train=fast", "train.batch_size=16")
    found = trained(VARIATIONS[name], settings, splits, images=64, seed=1)
    assert 0 <= found["accuracy"] <= 1 and found["parameters"] > 0
    assert seen["averaged"] == (name.startswith("average"))
    assert getattr(seen["loss"], "label_smoothing", 0) == (0.1 if name.startswith("label") else 0)
    assert training.make_optimizer is make and small.cnn32 is cnn32


def test_flip_at_test_judges_by_both_sides():
    class LeftHalf:
        """Says how bright the left half is."""

        def predict(self, images, batch_size, verbose):
            half = images[:, :, :16].mean(axis=(1, 2, 3)) / 255
            return half[:, None]

    images = np.zeros((2, 32, 32, 3), np.uint8)
    images[0, :, :16] = 255  # bright on the left: 1 and, mirrored, 0
    images[0, :, 16:] = 50
    split = Split(images, np.array([1, 0], np.uint8), np.zeros(2, np.int8), np.array(["a", "b"]))
    assert accuracy(LeftHalf(), split, flip=False) == 1
    assert accuracy(LeftHalf(), split, flip=True) == 1
    images[0, :, 16:] = 0
    assert accuracy(LeftHalf(), split, flip=True) == 0.5  # the mean is 0.5, which is not over it


def test_table_and_what_a_file_has_already(tmp_path):
    each = {"parameters": 1000, "flops_per_image": 2e6}
    found = {
        BASE: {"mean": 0.95, "accuracies": [0.94, 0.96], **each},
        "GELU": {"mean": 0.9625, "accuracies": [0.96, 0.965], **each},
    }
    text = table(found, 24_000, 20_000)
    (line,) = [line for line in text.splitlines() if "GELU" in line]
    assert [cell.strip() for cell in line.split("|")[1:-1]] == [
        "GELU", "96.25", "+1.25", "96.00 96.50", "1,000", "2.0",
    ]  # fmt: skip
    head = {"images": 24_000, "seeds": [1, 2], "validation_images": 20_000}
    path = tmp_path / "ablation.json"
    assert earlier(path, head) == {}
    path.write_text(json.dumps({**head, "variations": found}))
    assert earlier(path, head) == found
    assert earlier(path, head | {"seeds": [1, 2, 3]}) == {}
