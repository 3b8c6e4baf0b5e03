"""Test images as they look after a coder, a lens, a sensor or a web site had its way with them.

The levels that conf/ lists for JPEG, blur and noise take in those of CIFAR-10-C (Hendrycks and
Dietterich, ICLR 2019, https://github.com/hendrycks/robustness, make_cifar_c.py), which are meant
for 32 pixels; the sigmas that are usual for 224 pixels leave nothing of so small an image. All of
it is on uint8 images N,S,S,3.
"""

import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image
from scipy.ndimage import gaussian_filter

from detector.base.arrays import Split
from detector.base.errors import ExpectedError
from detector.base.layout import CLASSES

LEVEL_COLUMNS = ["corruption", "level", "severity"]

# By name, what sorts the values of a level from the mildest to the strongest.
_STRENGTH: dict[str, Callable[..., tuple[float, ...]]] = {
    "jpeg": lambda quality: (-quality,),
    "blur": lambda sigma: (sigma,),
    "noise": lambda std: (std,),
    "rescale": lambda factor: (-factor,),
    "blur_then_jpeg": lambda sigma, quality: (sigma, -quality),
}


@dataclass(frozen=True)
class Level:
    """One strength of one corruption.

    corruption: "none", "jpeg", "blur", "noise", "rescale" or "blur_then_jpeg". level: its values as
    shown on an axis, "65" or "0.6+65"; "clean" of none. severity: rank within the corruption, 0 is
    the mildest. values: JPEG quality, 1 to 100; sigma of the blur in pixels; standard deviation of
    the noise, of 1 = 255; factor of the rescaling, 0 to 1; sigma and quality.
    """

    corruption: str
    level: str
    severity: int
    values: tuple[float, ...]


CLEAN = Level("none", "clean", 0, ())


def levels(settings: Any) -> list[Level]:
    """Give CLEAN, then every level from the mildest to the strongest, corruption by corruption.

    settings: corruption of the params; the order within its lists does not matter. Raises
    ExpectedError when no corruption has a level, or a level is listed twice.
    """
    found = [CLEAN]
    for corruption, strength in _STRENGTH.items():
        listed = getattr(settings, corruption)
        values = sorted(
            (tuple(np.atleast_1d(v).tolist()) for v in listed), key=lambda v: strength(*v)
        )
        names = ["+".join(f"{value:g}" for value in level) for level in values]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ExpectedError(
                f"params.yaml: corruption.{corruption} lists {' and '.join(twice)} more "
                "than once; leave each level there one time"
            )
        found += [
            Level(corruption, name, rank, level)
            for rank, (name, level) in enumerate(zip(names, values, strict=True))
        ]
    if len(found) == 1:
        raise ExpectedError(
            "params.yaml: corruption lists no level of any corruption; give at least one, "
            "as in -S 'corruption.jpeg=[50]'"
        )
    return found


def levels_table(found: list[Level]) -> pd.DataFrame:
    """Give a row a level, in the order of `found`: LEVEL_COLUMNS."""
    return pd.DataFrame(
        [(one.corruption, one.level, one.severity) for one in found], columns=LEVEL_COLUMNS
    )


def choose_rows(labels: np.ndarray, max_images: int | None, seed: int) -> np.ndarray:
    """Give int64 row numbers, rising, of at most `max_images` images; None takes all of them.

    labels: N, 0 = FAKE, 1 = REAL. Both classes are there in their proportion, rounded, and with one
    image at least. A smaller choice of the same seed is within a larger one. Raises ValueError for
    images of one class only, and for less than two.
    """
    members = [np.flatnonzero(labels == label) for label in range(len(CLASSES))]
    for name, rows in zip(CLASSES, members, strict=True):
        if not len(rows):
            raise ValueError(f"none of the {len(labels)} images is {name}; both classes are needed")
    if max_images is None or max_images >= len(labels):
        return np.arange(len(labels), dtype=np.int64)
    if max_images < len(CLASSES):
        raise ValueError(f"max_images is {max_images}; each class needs an image, so at least 2")
    fakes = round(max_images * len(members[0]) / len(labels))
    fakes = min(max(fakes, 1), max_images - 1)
    picked = [
        np.random.default_rng([seed, label]).permutation(rows)[:count]
        for label, (rows, count) in enumerate(
            zip(members, (fakes, max_images - fakes), strict=True)
        )
    ]
    return np.sort(np.concatenate(picked)).astype(np.int64)


def corrupt(
    images: np.ndarray, level: Level, seed: int, rows: np.ndarray | None = None
) -> np.ndarray:
    """Give the images at a level, uint8 N,S,S,3, rounded to nearest and kept within 0 to 255.

    images: uint8 N,S,S,3. rows: int N, the number that each image's noise goes by, 0 to N - 1 by
    default: noise depends on seed, standard deviation and that number only, not on what else is
    corrupted with it.

    - jpeg: Pillow's coder at 4:2:0, libjpeg's default, and back.
    - blur: Gaussian, cut off at 4 sigma, borders repeated, as in CIFAR-10-C; not across channels.
    - noise: Gaussian, independent for each pixel and channel.
    - rescale: Pillow's BICUBIC, which smooths before it leaves out pixels, down to
      round(S * factor) and up to S again.
    - blur_then_jpeg: both, rounded in between.

    Raises ValueError for an unknown corruption and for images of another type or shape.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
        raise ValueError(f"images are {images.dtype} {images.shape}, not uint8 (N, S, S, 3)")
    match level.corruption, level.values:
        case "none", ():
            return np.array(images)
        case "jpeg", (quality,):
            return _jpeg(images, quality)
        case "blur", (sigma,):
            return _blur(images, sigma)
        case "noise", (std,):
            rows = np.arange(len(images)) if rows is None else rows
            return _noise(images, std, seed, rows)
        case "rescale", (factor,):
            return _rescale(images, factor)
        case "blur_then_jpeg", (sigma, quality):
            return _jpeg(_blur(images, sigma), quality)
    raise ValueError(f"{level} is no corruption that is known here")


def _jpeg(images: np.ndarray, quality: float) -> np.ndarray:
    decoded = np.empty_like(images)
    for pixels, out in zip(images, decoded, strict=True):
        buffer = io.BytesIO()
        Image.fromarray(pixels).save(buffer, "JPEG", quality=int(quality), subsampling="4:2:0")
        with Image.open(buffer) as image:
            out[:] = np.asarray(image)
    return decoded


def _blur(images: np.ndarray, sigma: float) -> np.ndarray:
    smooth = gaussian_filter(
        images.astype(np.float64), (0, sigma, sigma, 0), mode="nearest", truncate=4.0
    )
    return _pixels(smooth)


def _noise(images: np.ndarray, std: float, seed: int, rows: np.ndarray) -> np.ndarray:
    noisy = np.empty_like(images)
    key = round(std * 1e6)  # the value, not its place in a list that may grow
    for pixels, row, out in zip(images, rows, noisy, strict=True):
        rng = np.random.default_rng([seed, key, int(row)])
        out[:] = _pixels(pixels + rng.normal(0, 255 * std, pixels.shape))
    return noisy


def _rescale(images: np.ndarray, factor: float) -> np.ndarray:
    height, width = images.shape[1:3]
    small = max(1, round(width * factor)), max(1, round(height * factor))
    scaled = np.empty_like(images)
    for pixels, out in zip(images, scaled, strict=True):
        image = Image.fromarray(pixels).resize(small, Image.Resampling.BICUBIC)
        out[:] = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC))
    return scaled


def _pixels(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


@dataclass(frozen=True)
class Corrupted:
    """The same images at every level.

    images: uint8 L,n,S,S,3 (a memory map). labels: uint8 n, 0 = FAKE, 1 = REAL. names: bytes n.
    rows: int64 n, rising, their rows in data/test. levels: L rows of LEVEL_COLUMNS, clean first.
    """

    images: np.ndarray
    labels: np.ndarray
    names: np.ndarray
    rows: np.ndarray
    levels: pd.DataFrame

    def __len__(self) -> int:
        """Give the number of levels."""
        return len(self.levels)

    def split(self, i: int) -> Split:
        """Give level `i` as a Split; images stay mapped, classes are -1: data/test has them."""
        return Split(
            self.images[i], self.labels, np.full(len(self.labels), -1, np.int8), self.names
        )


def load_corrupted(folder: str | os.PathLike[str]) -> Corrupted:
    """Open what the stage corrupt wrote to `folder`; images are mapped, not read.

    Raises ExpectedError when a file is missing, damaged or does not fit the others.
    """
    folder = Path(folder)
    parts: dict[str, Any] = {}
    for name in ("images.npy", "labels.npy", "names.npy", "rows.npy", "levels.csv"):
        path = folder / name
        try:
            if path.suffix == ".csv":
                # pandas would take "65" for a number
                parts[path.stem] = pd.read_csv(path, dtype={"level": str}, keep_default_na=False)
            else:
                mode = "r" if name == "images.npy" else None
                parts[path.stem] = np.load(path, mmap_mode=mode, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ExpectedError(
                f"{path}: not whole ({' '.join(str(error).split())}); "
                "'dvc checkout' or 'dvc repro corrupt' brings it back"
            ) from error
    corrupted = Corrupted(**parts)
    _require_fit(folder, corrupted)
    return corrupted


def _require_fit(folder: Path, corrupted: Corrupted) -> None:
    images, listed = corrupted.images, corrupted.levels
    columns = list(listed.columns) == LEVEL_COLUMNS and not listed.empty
    if not columns or tuple(listed.loc[0, LEVEL_COLUMNS[:2]]) != (CLEAN.corruption, CLEAN.level):
        raise ExpectedError(
            f"{folder / 'levels.csv'}: not a list of levels with none, clean as the first; "
            "run 'dvc repro --force corrupt'"
        )
    whole = images.dtype == np.uint8 and images.ndim == 5 and images.shape[-1] == 3
    if not whole or len(images) != len(listed):
        raise ExpectedError(
            f"{folder / 'images.npy'}: {images.dtype} {images.shape} are no images at the "
            f"{len(listed)} levels of levels.csv; run 'dvc repro --force corrupt'"
        )
    for name in ("labels", "names", "rows"):
        shape = getattr(corrupted, name).shape
        if shape != images.shape[1:2]:
            raise ExpectedError(
                f"{folder / name}.npy: shape {shape} does not fit the {images.shape[1]} images "
                "of images.npy; run 'dvc repro --force corrupt'"
            )
