"""Weights that are not finite are those of a training that diverged: they are refused."""

import os
from collections.abc import Iterable, Iterator
from typing import Any

import h5py
import numpy as np

from detector.base.errors import ExpectedError

WHAT_TO_TRY = (
    "try a smaller learning_rate of the model, another train.optimizer or train.schedule, or "
    "train.precision=float32"
)


def why_not_finite(arrays: Iterable[tuple[str, Any]]) -> str | None:
    """Return which numbers are NaN or infinite, in a few words, or None when all are finite.

    arrays: pairs of a name and what NumPy makes an array of numbers from.
    """
    first, bad, total = "", 0, 0
    for name, values in arrays:
        values = np.asarray(values)
        wrong = values.size - int(np.isfinite(values).sum())
        if wrong and not bad:
            first = name
        bad, total = bad + wrong, total + values.size
    return f"{bad:,} of {total:,} numbers are not finite, the first in {first}" if bad else None


def require_finite(arrays: Iterable[tuple[str, Any]], what: str) -> None:
    """Raise ExpectedError, which begins with `what`, unless all numbers are finite.

    arrays: as for `why_not_finite`.
    """
    if why := why_not_finite(arrays):
        raise ExpectedError(
            f"{what}: {why}, as after a training that diverged; train it again, and {WHAT_TO_TRY}"
        ) from ValueError(why)


def require_finite_file(path: str | os.PathLike[str]) -> None:
    """Raise ExpectedError unless `path` is a whole HDF5 file with nothing but finite numbers."""
    try:
        with h5py.File(path) as file:
            require_finite(_datasets(file), str(path))
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        raise ExpectedError(
            f"{path}: cannot be read ({' '.join(str(error).split())}); 'dvc checkout' or "
            "'dvc repro' brings it back"
        ) from error


def _datasets(group: h5py.Group) -> Iterator[tuple[str, np.ndarray]]:
    for item in group.values():
        if isinstance(item, h5py.Group):
            yield from _datasets(item)
        elif item.dtype.kind in "fiu":
            yield item.name, item[()]
