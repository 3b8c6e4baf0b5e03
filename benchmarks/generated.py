"""Archives of any size, made by a formula: for measurements at scales that no data set here has.

REAL is noise with the spectrum of photographs, whose amplitude falls with frequency (D. J. Field,
"Relations between the statistics of natural images and the response properties of cortical cells",
JOSA A 1987) and whose contrast differs from image to image. FAKE is the like, blended with itself
up-sampled from half the pixels. Numbers on it say something about speed and memory, nothing about
networks.
"""

import io
import itertools
import zipfile
from collections.abc import Iterator
from pathlib import Path

import joblib
import numpy as np
from PIL import Image
from tqdm import tqdm

from detector.base.layout import CLASSES

TEST_SHARE = 6  # one image of so many is for the test, as in CIFAKE
PIXELS = 2**18  # drawn at once
SLOPE = 1.2  # the amplitude falls with the frequency to this power
CONTRAST = (50.0, 0.4)  # median deviation in grey levels, and deviation of its logarithm


def write_archive(path: Path, count: int, size: int, seed: int = 1) -> None:
    """Write a zip of `count` JPEGs (quality 75) of `size` pixels, both classes, train and test."""
    block = 2 * max(1, PIXELS // size**2 // 2)
    parts = joblib.Parallel(n_jobs=-1, return_as="generator")(
        joblib.delayed(coded)(min(block, count - first), size, [seed, first])
        for first in range(0, count, block)
    )
    with (
        zipfile.ZipFile(path, "w") as archive,
        tqdm(total=count, desc="generate", unit="img", mininterval=1, disable=None) as bar,
    ):
        for place, file in enumerate(itertools.chain.from_iterable(parts)):
            split = "test" if place // 2 % TEST_SHARE == 0 else "train"
            name = f"{split}/{CLASSES[place % 2]}/{place:07}.jpg"
            archive.writestr(zipfile.ZipInfo(name), file)
            bar.update()


def coded(count: int, size: int, seed: list[int]) -> list[bytes]:
    """Give the JPEG files of `images`."""
    files = []
    for image in images(count, size, seed):
        file = io.BytesIO()
        Image.fromarray(image).save(file, "JPEG", quality=75)
        files.append(file.getvalue())
    return files


def images(count: int, size: int, seed: list[int]) -> Iterator[np.ndarray]:
    """Give uint8 S,S,3, FAKE and REAL in turn."""
    generator = np.random.default_rng(seed)
    frequency = np.hypot(np.fft.fftfreq(size)[:, None], np.fft.rfftfreq(size))
    frequency[0, 0] = np.inf  # the mean is not drawn
    noise = generator.standard_normal((count, 3, size, size), dtype=np.float32)
    noise[:, 1:] = noise[:, :1] + 0.3 * noise[:, 1:]  # the channels of a photograph are alike
    smooth = np.fft.irfft2(np.fft.rfft2(noise) / frequency**SLOPE, s=(size, size))
    median, spread = CONTRAST
    contrast = median * np.exp(spread * generator.standard_normal((count, 1, 1, 1)))
    smooth *= contrast / smooth.std(axis=(1, 2, 3), keepdims=True)
    coarse = smooth[0::2, :, ::2, ::2].repeat(2, axis=2).repeat(2, axis=3)[..., :size, :size]
    smooth[0::2] = 0.5 * (smooth[0::2] + coarse)
    smooth += generator.uniform(64, 192, (count, 1, 1, 1))
    yield from np.clip(smooth, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
