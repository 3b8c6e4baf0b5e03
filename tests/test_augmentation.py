"""Robust training: blur against SciPy, JPEG against Pillow, and who is changed by how much."""

import io
import zipfile
from types import SimpleNamespace

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage, stats

from detector.networks.runtime import start_keras
from tests.helpers import ROOT, coded

start_keras(seed=1)

import keras  # noqa: E402

from detector.networks.augmentation import (  # noqa: E402
    RandomBlur,
    RandomJPEG,
    RandomNoise,
    quantisation_tables,
    robust_layers,
)

KINDS = {RandomBlur: (0.5, 1.0), RandomJPEG: (30, 100), RandomNoise: (0.02, 0.1)}
kinds = pytest.mark.parametrize(
    "kind, limits", KINDS.items(), ids=lambda x: getattr(x, "__name__", "")
)


def changed(layer, images, training=True):
    return keras.ops.convert_to_numpy(layer(images.astype(np.float32), training=training))


def sample_images(count, size=32):
    """Photographs and generated images, which were JPEGs of quality 75 before."""
    with zipfile.ZipFile(ROOT / "data/sample/sample.zip") as archive:
        names = [name for name in archive.namelist() if name.endswith(".jpg")]
        files = [archive.read(name) for name in names[:: len(names) // count][:count]]
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files])
    return np.pad(pixels, [(0, 0), (0, 32), (0, 32), (0, 0)], "symmetric")[:, :size, :size]


def fresh_images(count, size=32):
    """Smooth colours, an edge and texture, never compressed."""
    rng = np.random.default_rng(0)
    smooth = ndimage.gaussian_filter(rng.normal(0, 900, (count, size, size, 3)), (0, 5, 5, 0))
    grain = rng.normal(0, rng.uniform(0, 20, (count, 1, 1, 1)), (count, size, size, 3))
    edge = 80 * (np.arange(size) > size // 3)[:, None]
    return (110 + smooth + grain + edge).clip(0, 255).astype(np.uint8)


def pillow_jpeg(images, quality):
    files = [coded(image, quality=quality, subsampling="4:2:0") for image in images]
    return np.stack([np.asarray(Image.open(io.BytesIO(file))) for file in files]).astype(float)


@pytest.mark.parametrize("size", [32, 20, 21, 33])
@pytest.mark.parametrize("quality", [1, 30, 42, 75, 90, 100])
@pytest.mark.parametrize("images", [sample_images, fresh_images])
def test_jpeg_is_pillows(images, quality, size):
    pixels = images(60, size)
    ours = changed(RandomJPEG(1.0, (quality, quality)), pixels)
    theirs = pillow_jpeg(pixels, quality)
    differences = np.abs(ours - theirs)
    assert differences.mean() < 0.2
    assert np.median(differences) == 0 and (differences == 0).mean() > 0.85
    # Far nearer to Pillow's file than that is to the image.
    assert differences.mean() < 0.25 * np.abs(pixels - theirs).mean()


def test_jpeg_is_near_pillows_when_half_of_the_coefficients_are_ties():
    # The steps of quality 50 are twice those of 75, which the sample's images had before.
    pixels = sample_images(200)
    theirs = pillow_jpeg(pixels, 50)
    assert np.abs(changed(RandomJPEG(1.0, (50, 50)), pixels) - theirs).mean() < 0.7
    assert np.abs(pixels - theirs).mean() > 7


def test_every_quality_has_libjpegs_tables():
    zigzag = np.array(sorted(range(64), key=lambda i: _diagonal(*divmod(i, 8))))
    for quality in range(1, 101):
        with Image.open(io.BytesIO(coded(np.zeros((8, 8, 3), np.uint8), quality=quality))) as image:
            theirs = [image.quantization[i] for i in (0, 1)]
        ours = quantisation_tables(quality).reshape(2, 64)
        # Pillow gives the tables row by row since version 8.3, in the file's zigzag before.
        assert np.array_equal(ours, theirs) or np.array_equal(ours[:, zigzag], theirs)


def _diagonal(row, column):
    return row + column, row if (row + column) % 2 else column


def test_qualities_are_uniform_whole_numbers_from_lowest_to_highest():
    pixels = np.repeat(fresh_images(3)[2:], 600, axis=0)
    ours = changed(RandomJPEG(1.0, (90, 92), seed=3), pixels)
    alone = [changed(RandomJPEG(1.0, (q, q)), pixels[:1]) for q in (90, 91, 92)]
    which = np.array([[np.array_equal(image, one[0]) for one in alone] for image in ours])
    assert (which.sum(axis=1) == 1).all()
    assert stats.chisquare(which.sum(axis=0)).pvalue > 0.001


@pytest.mark.parametrize("size", [32, 20, 9])
@pytest.mark.parametrize("sigma", [0.0, 0.1, 0.4, 1.0, 3.0])
def test_blur_is_scipys(sigma, size):
    pixels = fresh_images(8, size)
    ours = changed(RandomBlur(1.0, (sigma, sigma)), pixels)
    theirs = pixels.astype(float)
    if sigma:
        theirs = ndimage.gaussian_filter(theirs, (0, sigma, sigma, 0))
    assert np.abs(ours - theirs).max() <= 0.501  # half a grey level, by rounding
    assert np.array_equal(ours, np.round(ours))


def test_sigmas_are_uniform_from_lowest_to_highest():
    # How bright a single bright pixel remains tells sigma.
    pixels = np.zeros((2000, 33, 33, 3), np.uint8)
    pixels[:, 16, 16] = 255
    ours = changed(RandomBlur(1.0, (1.0, 2.0), seed=5), pixels)[..., 0]
    peaks = ours.max(axis=(1, 2))
    ends = [changed(RandomBlur(1.0, (s, s)), pixels[:1]).max() for s in (1.0, 1.5, 2.0)]
    assert peaks.max() == pytest.approx(ends[0], abs=1) and peaks.min() == ends[2]
    assert (peaks > ends[1]).mean() == pytest.approx(0.5, abs=0.1)
    assert (peaks < ends[1]).mean() == pytest.approx(0.5, abs=0.1)


def test_noise_has_its_deviation_and_no_mean_or_pattern():
    pixels = np.full((200, 32, 32, 3), 128, np.uint8)
    noise = changed(RandomNoise(1.0, (0.05, 0.05), seed=2), pixels) - 128
    assert noise.std() == pytest.approx(np.hypot(0.05 * 255, 12**-0.5), rel=0.01)
    assert abs(noise.mean()) < 0.1 and abs(stats.kurtosis(noise.ravel())) < 0.05
    flat = noise.reshape(200, 1024, 3)
    assert abs(np.corrcoef(flat.reshape(-1, 3).T) - np.eye(3)).max() < 0.01
    assert abs(np.corrcoef(flat[:100].ravel(), flat[100:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(noise[:, :, :16].ravel(), noise[:, :, 16:].ravel())[0, 1]) < 0.01
    varied = changed(RandomNoise(1.0, (0.0, 0.1), seed=2), pixels) - 128
    deviations = varied.std(axis=(1, 2, 3)) / 255
    assert stats.kstest(deviations, "uniform", (0, 0.1)).pvalue > 0.001


@kinds
def test_probabilities_of_0_and_1_and_between(kind, limits):
    pixels = fresh_images(1).repeat(400, axis=0)
    assert np.array_equal(changed(kind(0.0, limits), pixels), pixels)
    for probability in (0.3, 1.0):
        ours = changed(kind(probability, limits, seed=4), pixels)
        share = (ours != pixels).any(axis=(1, 2, 3)).mean()
        assert share == 1 if probability == 1 else abs(share - probability) < 0.08


@kinds
def test_only_whole_grey_levels_of_0_to_255_come_out_and_only_in_training(kind, limits):
    pixels = np.concatenate([fresh_images(8, 20), 255 * (fresh_images(8, 20) // 128)])
    layer = kind(1.0, limits)
    ours = changed(layer, pixels)
    assert ours.dtype == np.float32 and ours.shape == pixels.shape
    assert np.array_equal(ours, np.round(ours)) and ours.min() >= 0 and ours.max() <= 255
    for training in (False, None):
        assert np.array_equal(changed(layer, pixels + 0.25, training), pixels + np.float32(0.25))


@kinds
def test_an_image_is_changed_on_its_own(kind, limits):
    # The other images of the batch make no difference to the first.
    pixels = fresh_images(6)
    others = pixels.copy()
    others[1:] = pixels[1:, ::-1]
    one, two = (changed(kind(1.0, limits, seed=1), batch) for batch in (pixels, others))
    assert np.array_equal(one[0], two[0]) and not np.array_equal(one[1], two[1])
    same = changed(kind(1.0, limits, seed=1), pixels[:1].repeat(6, axis=0))
    assert len({image.tobytes() for image in same}) == 6


@kinds
def test_a_seed_gives_the_same_changes_in_the_same_order(kind, limits):
    pixels = fresh_images(16)
    one, two, other = (kind(0.5, limits, seed=seed) for seed in (7, 7, 8))
    first = changed(one, pixels)
    assert np.array_equal(first, changed(two, pixels))
    assert not np.array_equal(first, changed(one, pixels))
    assert not np.array_equal(first, changed(other, pixels))


@kinds
def test_a_layer_comes_back_from_its_config(kind, limits):
    model = keras.Sequential([keras.Input((32, 32, 3)), kind(0.5, limits, seed=9, name="it")])
    again = keras.models.model_from_json(model.to_json())
    layer = again.get_layer("it")
    assert (layer.probability, layer.limits, layer.seed) == (0.5, limits, 9)
    assert layer.compute_dtype == "float32" and isinstance(layer, kind)
    pixels = fresh_images(8)
    assert np.array_equal(changed(layer, pixels), changed(kind(0.5, limits, seed=9), pixels))


def test_half_precision_of_the_network_leaves_the_pixels_alone():
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        assert RandomJPEG(1.0, (75, 75)).compute_dtype == "float32"
    finally:
        keras.config.set_dtype_policy(before)


def test_images_that_are_not_square_rgb_are_refused():
    for shape in [(1, 32, 20, 3), (1, 32, 32, 1)]:
        with pytest.raises(ValueError, match="known S"):
            RandomJPEG(1.0, (30, 100))(np.zeros(shape, np.float32))


def settings(blur=None, noise=None, jpeg=None):
    return SimpleNamespace(
        blur=blur and SimpleNamespace(probability=0.5, sigma=blur),
        noise=noise and SimpleNamespace(probability=0.5, std=noise),
        jpeg=jpeg and SimpleNamespace(probability=0.5, quality=jpeg),
    )


def test_the_layers_are_those_asked_for_and_independent_of_each_other():
    assert robust_layers(settings(), seed=1) == []
    (only,) = robust_layers(settings(jpeg=[40, 50]), seed=1)
    assert isinstance(only, RandomJPEG) and only.limits == (40, 50) and only.probability == 0.5
    chosen = settings(blur=(0.5, 1.0), noise=(0.05, 0.1), jpeg=(30, 60))
    layers = robust_layers(chosen, seed=1)
    assert [layer.name for layer in layers] == ["blur", "noise", "jpeg"]
    assert layers[2].seed == only.seed  # whether there are others or not
    assert len({layer.seed for seed in range(5) for layer in robust_layers(chosen, seed)}) == 15
    pixels = fresh_images(1).repeat(1000, axis=0)
    who = np.array([(changed(x, pixels) != pixels).any(axis=(1, 2, 3)) for x in layers])
    assert abs(np.corrcoef(who) - np.eye(3)).max() < 0.1


def test_they_are_part_of_the_compiled_step_and_not_of_the_weights(tmp_path):
    chosen = settings(blur=(0.0, 1.0), noise=(0.0, 0.1), jpeg=(30, 100))

    def network(robust):
        inputs = keras.Input((20, 20, 3), dtype="uint8")
        x = keras.layers.Rescaling(1.0)(inputs)
        for layer in robust_layers(chosen, seed=1) if robust else []:
            x = layer(x)
        return keras.Model(inputs, keras.layers.Dense(1, name="real")(keras.layers.Flatten()(x)))

    model, plain = network(robust=True), network(robust=False)
    model.compile(keras.optimizers.SGD(1e-9), "mse")
    pixels = fresh_images(10, 20)
    losses = [model.train_on_batch(pixels, np.ones((10, 1))) for _ in range(2)]
    assert np.isfinite(losses).all() and losses[0] != losses[1]
    model.save_weights(tmp_path / "x.weights.h5")
    plain.load_weights(tmp_path / "x.weights.h5")
    assert np.array_equal(model(pixels), plain(pixels))


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="compiles by TensorFlow")
@kinds
def test_xla_makes_the_same_of_them(kind, limits):
    # Keras itself compiles no step by XLA while TensorFlow's operations are deterministic. The
    # draws are others: with one value for all only the noise differs.
    import tensorflow as tf

    pixels = fresh_images(4, 20)
    layer = kind(1.0, limits[:1] * 2)
    compiled = tf.function(lambda images: layer(images, training=True), jit_compile=True)
    plain, by_xla = changed(layer, pixels), compiled(pixels.astype(np.float32)).numpy()
    if kind is RandomNoise:
        assert (by_xla - pixels).std() == pytest.approx((plain - pixels).std(), rel=0.1)
    else:
        assert (plain == by_xla).mean() > 0.99
