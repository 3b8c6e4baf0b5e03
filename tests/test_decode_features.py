"""What is measured of each decoded image for the audit: its coder, its lowest frequencies."""

import io
import re

import numpy as np
import pytest
from PIL import Image
from scipy.fft import dctn

from detector.images import decode
from detector.images.decode import luma
from detector.images.opener import codec_name
from tests.helpers import coded, random_pixels

PIXELS = random_pixels(1)


def name_of(data: bytes) -> str:
    with Image.open(io.BytesIO(data)) as image:
        return codec_name(image)


@pytest.mark.parametrize("quality", [1, 10, 50, 75, 76, 90, 95, 100])
@pytest.mark.parametrize("sampling", ["4:4:4", "4:2:2", "4:2:0"])
def test_quality_and_sampling_are_named(quality, sampling):
    name = name_of(coded(PIXELS, quality=quality, subsampling=sampling))
    assert name == f"JPEG quality {quality} {sampling}"


def test_every_quality_has_a_name_of_its_own():
    names = {name_of(coded(PIXELS[:8, :8], quality=quality)) for quality in range(1, 101)}
    assert names == {f"JPEG quality {quality} 4:2:0" for quality in range(1, 101)}


def test_progressive_and_optimised_files_have_the_same_pixels_and_name():
    assert name_of(coded(PIXELS, quality=75, progressive=True)) == "JPEG quality 75 4:2:0"
    assert name_of(coded(PIXELS, quality=75, optimize=True)) == "JPEG quality 75 4:2:0"


def test_other_tables_are_named_by_their_content():
    def with_tables(*values):
        return name_of(coded(PIXELS, qtables=[[value] * 64 for value in values]))

    assert re.fullmatch(r"JPEG tables [0-9a-f]{8} 4:2:0", with_tables(7, 9))
    assert with_tables(7, 9) == with_tables(7, 9)
    assert len({with_tables(7, 9), with_tables(9, 7), with_tables(7, 7), with_tables(7)}) == 4


def test_luma_of_primaries():
    primaries = np.array([[[[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 255]]]], np.uint8)
    assert np.allclose(luma(primaries), [[[76.245, 149.685, 29.07, 255]]])


def test_low_frequencies_are_those_of_the_dct():
    """Against SciPy's own transform."""
    images = np.stack([random_pixels(seed) for seed in range(5)])
    expected = dctn(luma(images), axes=(1, 2), norm="ortho")[:, :4, :4] / 32
    found = decode.low_frequencies(images)
    assert found.shape == (5, 15) and found.dtype == np.float32
    assert np.allclose(found, expected.reshape(5, 16)[:, 1:], atol=1e-4)


def pair_distances(first, second):
    """Give the distance of the features and the RMS difference of luma, means taken off."""
    features = decode.low_frequencies(np.stack([first, second])).astype(float)
    a, b = (image @ np.array([0.299, 0.587, 0.114]) for image in (first, second))
    rms = np.sqrt(np.mean(((a - a.mean()) - (b - b.mean())) ** 2))
    return np.linalg.norm(features[0] - features[1]), rms


def test_low_frequencies_are_a_lower_bound_of_the_rms():
    rng = np.random.default_rng(0)
    for trial in range(300):
        size = int(rng.choice([8, 31, 32, 64]))
        first = rng.integers(0, 256, (size, size, 3), dtype=np.uint8)
        strength = rng.choice([2, 20, 255])
        second = np.clip(first + rng.normal(0, strength, first.shape), 0, 255).astype(np.uint8)
        if trial % 3 == 0:  # smooth difference: the bound is close
            y, x = np.mgrid[:size, :size] / size
            wave = 40 * np.cos(np.pi * (y * rng.integers(4) + x * rng.integers(4)))
            second = np.clip(first.astype(float) + wave[..., None], 0, 255).astype(np.uint8)
        bound, rms = pair_distances(first, second)
        assert bound <= rms + 1e-3


def test_low_frequencies_are_exact_for_low_frequencies():
    """A difference made of the kept frequencies only is measured in full."""
    along = (np.arange(32) + 0.5) * np.pi / 32
    wave = 90 * np.cos(3 * along)[:, None] * np.cos(2 * along)[None]
    second = np.repeat(np.rint(128 + wave)[..., None], 3, axis=2).astype(np.uint8)
    bound, rms = pair_distances(np.full((32, 32, 3), 128, np.uint8), second)
    assert rms == pytest.approx(45, rel=0.01)  # an amplitude of 90, halved by each cosine's 1/sqrt2
    assert bound == pytest.approx(rms, rel=1e-4)


def test_low_frequencies_do_not_see_brightness():
    bound, _ = pair_distances(PIXELS // 2, PIXELS // 2 + 50)
    assert bound < 1e-3


def test_low_frequencies_of_no_image():
    assert decode.low_frequencies(np.empty((0, 32, 32, 3), np.uint8)).shape == (0, 15)
