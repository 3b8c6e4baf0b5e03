"""The fixed first layer of cnn32 whitens patches, and keeps what weights bring."""

import os
import subprocess
import sys

import numpy as np
import pytest
import yaml

from conf.compose import compose
from detector.networks.runtime import start_keras
from detector.networks.whitening import JITTER, whitening_filters
from detector.params import validate
from tests.helpers import ROOT

start_keras(seed=1)

from detector.base.arrays import Split  # noqa: E402
from detector.networks import small, whitening  # noqa: E402
from detector.networks.model import build_model, load_trained, save_weights  # noqa: E402
from detector.training.fit import train  # noqa: E402


def smooth_images(n, size=16, seed=0):
    """Neighbours alike, colours alike, as in photographs."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n, size + 2, size + 2, 3)) + 2 * rng.normal(size=(n, 1, 1, 1))
    x = x[:, :-2, :-2] + x[:, 1:-1, 1:-1] + x[:, 2:, 2:]
    return np.clip(128 + 20 * x, 0, 255).astype(np.uint8)


def patches_of(images):
    """Every 3x3 patch of pixels of 0 to 1, by loops."""
    size = images.shape[1]
    found = [
        images[:, y : y + 3, x : x + 3].reshape(len(images), 27)
        for y in range(size - 2)
        for x in range(size - 2)
    ]
    return np.concatenate(found).astype(np.float64) / 255


def test_answers_to_patches_are_uncorrelated_and_of_one_size():
    images = smooth_images(60)
    kernel = whitening_filters(images, 54)
    assert kernel.shape == (3, 3, 3, 54) and kernel.dtype == np.float32
    np.testing.assert_array_equal(kernel[..., 27:], -kernel[..., :27])
    patches = patches_of(images)
    answers = patches @ kernel[..., :27].reshape(27, 27)
    covariance = np.cov(answers, rowvar=False, bias=True)
    variances = np.linalg.eigvalsh(np.cov(patches, rowvar=False, bias=True))[::-1]
    np.testing.assert_allclose(np.diag(covariance), variances / (variances + JITTER), rtol=1e-4)
    np.testing.assert_allclose(covariance - np.diag(np.diag(covariance)), 0, atol=1e-4)


def test_the_leading_directions_are_taken():
    images = smooth_images(60)
    few, all_of_them = whitening_filters(images, 8), whitening_filters(images, 54)
    np.testing.assert_array_equal(few[..., :4], all_of_them[..., :4])


def test_2000_images_evenly_spread_are_taken():
    """In the arrays the classes lie one behind the other."""
    images = smooth_images(3999, 8)
    images[2000:, ::2] //= 2
    kernel = whitening_filters(images, 24)
    np.testing.assert_array_equal(kernel, whitening_filters(images[::2], 24))
    for others in (images[:2000], images[-2000:], images[::20]):
        assert not np.array_equal(kernel, whitening_filters(others, 24))


def test_flat_images_are_not_blown_up():
    kernel = whitening_filters(np.full((5, 8, 8, 3), 7, np.uint8), 24)
    assert np.isfinite(kernel).all() and np.abs(kernel).max() <= 1 / np.sqrt(JITTER)


def test_threads_do_not_matter(tmp_path):
    np.save(tmp_path / "images.npy", smooth_images(300))
    code = (
        "import sys, numpy as np; from detector.networks.whitening import whitening_filters;"
        f"print(whitening_filters(np.load({str(tmp_path / 'images.npy')!r}), 24).tobytes().hex())"
    )
    found = set()
    for threads in ("1", "2"):
        environment = {**os.environ, "OPENBLAS_NUM_THREADS": threads, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", code]
        found.add(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
    assert len(found) == 1 and len(found.pop()) > 1000


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    folder = tmp_path_factory.mktemp("params")
    short = ["train.epochs=1", "train.steps_per_epoch=2", "train.batch_size=8"]
    compose(folder / "params.yaml", ["model=cnn32", *short])
    return validate(yaml.safe_load((folder / "params.yaml").read_text()))


def first_layer(model):
    return next(layer for layer in model._flatten_layers() if layer.name == whitening.LAYER)


def test_training_fits_it_leaves_it_and_saves_it(params, tmp_path):
    images = smooth_images(40, 32)
    labels = np.arange(40, dtype=np.uint8) % 2
    split = Split(images, labels, None, None)
    validation = Split(smooth_images(20, 32, seed=2), labels[:20], None, None)
    settings = params.model["cnn32"]
    model = build_model(settings, 32)
    assert not first_layer(model).get_weights()[0].any()
    train(model, split, validation, params.train, 0.01, 1, [], verbose=0)
    kernel = first_layer(model).get_weights()[0]
    np.testing.assert_array_equal(kernel, whitening_filters(images, 32))
    save_weights(model, tmp_path / "cnn32.weights.h5")
    again = load_trained(str(tmp_path / "cnn32.weights.h5"), settings, 32)
    np.testing.assert_array_equal(first_layer(again).get_weights()[0], kernel)

    # Weights that are there are not fitted to other images.
    whitening.fit_first_layer(again, smooth_images(40, 32, seed=1))
    np.testing.assert_array_equal(first_layer(again).get_weights()[0], kernel)


def test_networks_without_such_a_layer_stay_as_they_are():
    network = small.bird_lotfi(32)
    before = network.get_weights()
    whitening.fit_first_layer(network, smooth_images(5, 32))
    for a, b in zip(before, network.get_weights(), strict=True):
        np.testing.assert_array_equal(a, b)
