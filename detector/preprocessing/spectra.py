"""Mean Fourier spectra of REAL and FAKE: the traces that up-sampling leaves.

A generator that up-samples by a factor k repeats the spectrum of its small map k times (X. Zhang,
S. Karaman, S.-F. Chang, "Detecting and Simulating Artifacts in GAN Fake Images", WIFS 2019), so
peaks stand at multiples of 1/k cycles per pixel. The mean spectrum over many images shows them
(S.-Y. Wang et al., "CNN-Generated Images Are Surprisingly Easy to Spot... for Now", CVPR 2020), the
mean over rings an excess or lack of high frequencies (R. Durall, M. Keuper, J. Keuper, "Watch Your
Up-Convolution", CVPR 2020).

Wang et al. take off a median-filtered image first, so that the low frequencies do not hide the
rest. Here the logarithm does that, and classes are compared by a difference of logarithms, in which
any linear filter cancels.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.fft
import scipy.ndimage

from detector.base.arrays import at_once
from detector.base.layout import CLASSES
from detector.images.decode import luma

# Rounding to whole grey levels alone has this power; without it a flat image has the logarithm of 0
ROUNDING_POWER = 1 / 12


@dataclass(frozen=True)
class Spectra:
    """Mean log-magnitude spectra by class, "FAKE" and "REAL".

    magnitude: float64 S,S each, zero frequency at row and column S // 2 (`fftshift`), mean of the
    natural logarithm of the magnitude in grey levels; white noise with a std of d has about
    log d everywhere. standard_error: float64 S,S of each mean. radial: float64 each, the mean of
    `magnitude` over the ring of each whole number of cycles per image, 0 to the corner; rings
    beyond S / 2 are cut by the edges. counts: images.
    """

    magnitude: dict[str, np.ndarray]
    standard_error: dict[str, np.ndarray]
    radial: dict[str, np.ndarray]
    counts: dict[str, int]


def mean_spectra(images: np.ndarray, labels: np.ndarray, chunk: int = 4096) -> Spectra:
    """Give the mean spectra of the luma of both classes.

    images: uint8 N,S,S,3. labels: N, 0 = FAKE, 1 = REAL. chunk: images of 32 pixels to hold at a
    time; of larger ones fewer. Each image loses its mean and is faded out by a Hann window, since
    the jump from one edge to the other would lay a bright cross over the axes, where peaks stand;
    in exchange a peak is 3 frequencies wide. Raises ValueError when a class has no image.
    """
    labels, size = np.asarray(labels), images.shape[1]
    counts = {name: int((labels == label).sum()) for label, name in enumerate(CLASSES)}
    if not all(counts.values()):
        raise ValueError(f"both classes must have images, not {counts}")
    sums = np.zeros((len(CLASSES), 2, size, size // 2 + 1))
    for rows, logarithms in _logarithms(images, at_once(chunk, size)):
        for label in range(len(CLASSES)):
            members = logarithms[labels[rows] == label]
            sums[label, 0] += members.sum(axis=0, dtype=np.float64)
            sums[label, 1] += np.square(members).sum(axis=0, dtype=np.float64)
    magnitude, error = {}, {}
    for name, (total, squares) in zip(CLASSES, sums, strict=True):
        n = counts[name]
        mean = total / n
        variance = np.maximum(squares / n - mean**2, 0) / max(n - 1, 1)
        magnitude[name], error[name] = _whole(mean, size), _whole(np.sqrt(variance), size)
    radial = {name: radial_mean(spectrum) for name, spectrum in magnitude.items()}
    return Spectra(magnitude, error, radial, counts)


def _logarithms(images: np.ndarray, step: int) -> Iterator[tuple[slice, np.ndarray]]:
    """Give rows and the log magnitude, float32 B,S,S//2+1 (the other half is its mirror)."""
    size = images.shape[1]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * (np.arange(size) + 0.5) / size)
    window = np.outer(hann, hann)
    window = (window / np.sqrt(np.square(window).sum())).astype(np.float32)
    for first in range(0, len(images), step):
        rows = slice(first, first + step)
        grey = luma(images[rows])
        grey -= grey.mean(axis=(1, 2), keepdims=True)
        grey *= window
        spectrum = scipy.fft.rfft2(grey)
        power = np.square(spectrum.real) + np.square(spectrum.imag)
        yield rows, 0.5 * np.log(power + np.float32(ROUNDING_POWER))


def _whole(half: np.ndarray, size: int) -> np.ndarray:
    """Complete the half spectrum of real images and put zero frequency into the middle."""
    y, x = np.indices((size, size))
    mirrored = x > size // 2
    y, x = np.where(mirrored, -y % size, y), np.where(mirrored, size - x, x)
    return np.fft.fftshift(half[y, x])


def radial_mean(spectrum: np.ndarray) -> np.ndarray:
    """Give the mean over the ring of each whole number of cycles per image, float64.

    spectrum: S,S with zero frequency at S // 2. A frequency belongs to the nearest ring. Durall et
    al. 2020, equation 5.
    """
    size = len(spectrum)
    cycles = np.arange(size) - size // 2
    ring = np.rint(np.hypot(cycles[:, None], cycles)).astype(int).ravel()
    return np.bincount(ring, spectrum.ravel()) / np.bincount(ring)


def spectrum_peaks(spectra: Spectra, count: int = 3) -> list[dict[str, Any]]:
    """Say at which frequencies FAKE exceeds REAL most.

    Returns at most `count` local maxima of the difference of the mean logarithms, highest first,
    each with frequency ([fy, fx] in cycles per pixel; of a pair f, -f, which are the same for real
    images, the one with fx >= 0), log_ratio (natural logarithm, FAKE over REAL, above 0) and its
    standard_error. Zero frequency is left out: it is taken off each image.
    """
    ratio = spectra.magnitude["FAKE"] - spectra.magnitude["REAL"]
    error = np.hypot(*spectra.standard_error.values())
    size = len(ratio)
    cycles = np.arange(size) - size // 2
    ratio[size // 2, size // 2] = -np.inf
    highest = scipy.ndimage.maximum_filter(ratio, size=3, mode="wrap")
    candidates = {}
    for y, x in np.argwhere((ratio == highest) & (ratio > 0)):
        # Half a cycle per pixel and minus half are one frequency.
        pair = [
            (-fy if 2 * fy == -size else fy, -fx if 2 * fx == -size else fx)
            for fy, fx in ((cycles[y], cycles[x]), (-cycles[y], -cycles[x]))
        ]
        fy, fx = max(pair, key=lambda f: (f[1], f[0]))
        candidates[int(fy), int(fx)] = (float(ratio[y, x]), float(error[y, x]))
    best = sorted(candidates.items(), key=lambda item: (-item[1][0], item[0]))[:count]
    return [
        {
            "frequency": [round(fy / size, 5), round(fx / size, 5)],
            "log_ratio": round(value, 5),
            "standard_error": round(error, 5),
        }
        for (fy, fx), (value, error) in best
    ]
