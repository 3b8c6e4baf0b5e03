"""Mean spectra against NumPy's full FFT and against gratings of known frequency."""

import json

import numpy as np
import pytest
from PIL import Image

from detector.preprocessing.figures import spectra_figure
from detector.preprocessing.spectra import mean_spectra, radial_mean, spectrum_peaks


def noise(n, size=32, seed=0):
    rng = np.random.default_rng(seed)
    return rng.integers(96, 160, (n, size, size, 1), np.uint8).repeat(3, axis=3)


def grating(fy, fx, size=32, amplitude=60):
    y, x = np.indices((size, size))
    wave = 128 + amplitude * np.cos(2 * np.pi * (fy * y + fx * x) + 0.7)
    return np.rint(wave)[..., None].repeat(3, axis=2)


def with_gratings(images, *frequencies):
    waves = sum(a * (grating(fy, fx) - 128) / 60 for fy, fx, a in frequencies)
    return np.clip(images + waves, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("size", [32, 27])
def test_against_the_full_transform_image_by_image(size):
    rng = np.random.default_rng(1)
    images = rng.integers(0, 256, (11, size, size, 3), np.uint8)
    labels = np.arange(11) % 3 == 0
    spectra = mean_spectra(images, labels, chunk=4)
    window = np.sin(np.pi * (np.arange(size) + 0.5) / size) ** 2
    window = np.outer(window, window)
    logs = []
    for image in images:
        grey = image @ np.array([0.299, 0.587, 0.114])
        transform = np.fft.fftshift(np.fft.fft2((grey - grey.mean()) * window))
        logs.append(0.5 * np.log(np.abs(transform) ** 2 / (window**2).sum() + 1 / 12))
    logs = np.array(logs)
    for name, members in (("REAL", logs[labels]), ("FAKE", logs[~labels])):
        assert spectra.magnitude[name].dtype == np.float64
        np.testing.assert_allclose(spectra.magnitude[name], members.mean(axis=0), atol=2e-4)
        error = members.std(axis=0, ddof=1) / np.sqrt(len(members))
        np.testing.assert_allclose(spectra.standard_error[name], error, atol=2e-4)
        np.testing.assert_allclose(spectra.radial[name], radial_mean(members.mean(axis=0)), 1e-3)
    assert spectra.counts == {"FAKE": 7, "REAL": 4}


def test_the_size_of_a_chunk_does_not_matter():
    images, labels = noise(50), np.arange(50) % 2
    one, other = (mean_spectra(images, labels, chunk) for chunk in (1, 4096))
    for name in ("REAL", "FAKE"):
        np.testing.assert_allclose(one.magnitude[name], other.magnitude[name], rtol=1e-12)


def test_white_noise_is_flat_and_a_flat_image_finite():
    images = np.concatenate([noise(400), np.full((1, 32, 32, 3), 77, np.uint8)])
    spectra = mean_spectra(images, np.arange(401) == 400)
    # Deviation of 64 equal levels; the mean logarithm of a Rayleigh variable lacks gamma / 2.
    expected = np.log(np.sqrt((64**2 - 1) / 12)) - np.euler_gamma / 2
    inner = spectra.radial["FAKE"][2:16]
    np.testing.assert_allclose(inner, expected, atol=0.05)
    np.testing.assert_allclose(spectra.magnitude["REAL"], 0.5 * np.log(1 / 12), atol=1e-5)


def test_radial_mean():
    cycles = np.arange(-4, 4)
    radius = np.hypot(cycles[:, None], cycles)
    by_ring = [radius[np.abs(radius - k) < 0.5].mean() for k in range(7)]
    np.testing.assert_allclose(radial_mean(radius), by_ring)
    assert radial_mean(np.ones((32, 32))).tolist() == [1.0] * 24


def test_peaks_are_the_gratings_in_order():
    images, labels = noise(200), np.arange(200) % 2
    images[labels == 0] = with_gratings(
        images[labels == 0], (0.25, 0, 40), (0.125, -0.25, 30), (0.5, 0.5, 10), (0, 0.375, 3)
    )
    peaks = spectrum_peaks(mean_spectra(images, labels), count=4)
    assert [peak["frequency"] for peak in peaks] == [
        [0.25, 0.0],
        [-0.125, 0.25],
        [0.5, 0.5],
        [0.0, 0.375],
    ]
    ratios = [peak["log_ratio"] for peak in peaks]
    assert ratios == sorted(ratios, reverse=True) and min(ratios) > 0.3
    assert all(0 < peak["standard_error"] < 0.2 for peak in peaks)
    assert json.loads(json.dumps(peaks)) == peaks
    assert len(spectrum_peaks(mean_spectra(images, labels))) == 3


def test_a_peak_at_the_edge_is_named_once():
    images, labels = noise(200), np.arange(200) % 2
    images[labels == 0] = with_gratings(images[labels == 0], (0.5, 0.25, 40))
    first, second = spectrum_peaks(mean_spectra(images, labels), count=2)
    assert first["frequency"] == [0.5, 0.25]
    assert second["log_ratio"] < 0.5 < first["log_ratio"]


def test_zero_frequency_is_no_peak():
    spectra = mean_spectra(noise(20), np.arange(20) % 2)
    spectra.magnitude["FAKE"][:] = spectra.magnitude["REAL"]
    spectra.magnitude["FAKE"][16, 16] += 1
    assert spectrum_peaks(spectra) == []


def test_what_real_has_more_of_is_no_peak():
    images, labels = noise(200), np.arange(200) % 2
    images[labels == 1] = with_gratings(images[labels == 1], (0.25, 0.25, 40))
    spectra = mean_spectra(images, labels)
    assert [0.25, 0.25] not in [peak["frequency"] for peak in spectrum_peaks(spectra, 99)]
    spectra.magnitude["FAKE"][:] = spectra.magnitude["REAL"] - 1
    assert spectrum_peaks(spectra) == []


def test_both_classes_are_needed():
    with pytest.raises(ValueError, match="'REAL': 0"):
        mean_spectra(noise(3), np.zeros(3, int))


def test_figure(tmp_path):
    spectra = mean_spectra(noise(40), np.arange(40) % 2)
    for name in ("first.png", "second.png"):
        spectra_figure(spectra, "title", tmp_path / name)
    with Image.open(tmp_path / "first.png") as figure:
        assert figure.format == "PNG" and figure.width > 900 and figure.info.keys() <= {"dpi"}
    assert (tmp_path / "first.png").read_bytes() == (tmp_path / "second.png").read_bytes()
