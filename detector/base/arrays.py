"""The arrays of one split: written row by row, read as a memory map."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd

from detector.base.errors import ExpectedError

SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Split:
    """Images with what is known of each, row for row.

    images: uint8 N,S,S,3 (a memory map). labels: uint8 N, 0 = FAKE, 1 = REAL. classes: int8 N,
    CIFAR-10 class or -1 where unknown. names: bytes N, UTF-8 name of the archive member.
    """

    images: np.ndarray
    labels: np.ndarray
    classes: np.ndarray
    names: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


def at_once(count: int, size: int) -> int:
    """Give how many images of `size` pixels a side take the memory of `count` of 32, at least 1."""
    return max(1, count * 32**2 // size**2)


def load_split(folder: str | os.PathLike[str]) -> Split:
    """Open the arrays that SplitWriter wrote to `folder`; images are mapped, not read.

    Raises ExpectedError when a file is missing, damaged or of another length than the others.
    """
    folder = Path(folder)
    arrays = {}
    for name in ("images", "labels", "classes", "names"):
        path = folder / f"{name}.npy"
        try:
            mode = "r" if name == "images" else None
            arrays[name] = np.load(path, mmap_mode=mode, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise ExpectedError(
                f"{path}: not a whole array ({' '.join(str(error).split())}); "
                "'dvc checkout' or 'dvc repro preprocess' brings it back"
            ) from error
    split = Split(**arrays)
    rows = {array.shape[:1] for array in arrays.values()}
    if split.images.ndim != 4 or split.images.dtype != np.uint8 or len(rows) != 1:
        raise ExpectedError(
            f"{folder}: the arrays do not belong together (images {split.images.dtype} "
            f"{split.images.shape}, labels {split.labels.shape}); "
            "run 'dvc repro --force preprocess'"
        )
    return split


def keep_rows(folder: str | os.PathLike[str], kept: np.ndarray) -> None:
    """Leave only some rows of the arrays that SplitWriter wrote to `folder`. kept: bool N."""
    for name in ("images", "labels", "classes", "names"):
        path = Path(folder) / f"{name}.npy"
        np.save(path, np.load(path, allow_pickle=False)[kept], allow_pickle=False)


def rows_of(splits: dict[str, Split], table: pd.DataFrame, rows: np.ndarray) -> np.ndarray:
    """Gather images of several splits.

    table: columns split and row (in the split's arrays). rows: M row numbers of the table. Returns
    uint8 M,S,S,3 in the order of `rows`.
    """
    of_split, row = (table[name].to_numpy()[rows] for name in ("split", "row"))
    images = np.empty((len(rows), *splits["train"].images.shape[1:]), np.uint8)
    for name, split in splits.items():
        here = of_split == name
        images[here] = split.images[row[here]]
    return images


class SplitWriter:
    """Write the arrays of a split to a folder, a batch of rows at a time, in constant memory."""

    def __init__(self, folder: str | os.PathLike[str], size: int) -> None:
        """folder: made if missing. size: side of the images in pixels."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._shape = (size, size, 3)
        self._rows = 0
        self._file = open(folder / "images.npy", "wb")  # noqa: SIM115 (closed in __exit__)
        self._header()
        self._columns: dict[str, list[np.ndarray]] = {"labels": [], "classes": [], "names": []}

    def _header(self) -> None:
        # NumPy pads the header so that the number of rows can be written over it later.
        self._file.seek(0)
        np.lib.format.write_array_header_1_0(
            self._file,
            {"descr": "|u1", "fortran_order": False, "shape": (self._rows, *self._shape)},
        )

    def append(self, images: np.ndarray, labels: list[int], classes: list[int], names: list[str]):
        """Add rows. images: uint8 N,S,S,3, the others N long."""
        self._file.write(np.ascontiguousarray(images).data)
        self._rows += len(images)
        # As arrays: Python's objects take ten times the memory.
        self._columns["labels"].append(np.array(labels, np.uint8))
        self._columns["classes"].append(np.array(classes, np.int8))
        self._columns["names"].append(np.array([name.encode() for name in names], np.bytes_))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind, *_) -> None:
        try:
            if kind is None:
                self._header()
                for name, dtype in (("labels", "u1"), ("classes", "i1"), ("names", "S1")):
                    # Without any row, too, the dtype is said.
                    column = np.concatenate([np.empty(0, dtype), *self._columns[name]])
                    np.save(self._folder / f"{name}.npy", column, allow_pickle=False)
        finally:
            self._file.close()
