"""Any image file, from a camera or the web, brought to the size that a network takes.

What is done to an image that images.open_picture gives, in this order: it is cut to the square in
its middle, resized by Pillow's bicubic filter (which averages when it reduces), and, if asked for,
coded as JPEG of quality 75 with 4:2:0 and decoded.
"""

import io
import os
from collections.abc import Iterator
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from detector.archives.zips import read_whole
from detector.base.arrays import SplitWriter
from detector.base.errors import ExpectedError
from detector.images.decode import BadImage, open_archive
from detector.images.opener import open_picture

CHUNK = 64  # images a task; photographs take 100 times as long as images of 32 pixels

# Checked before anything is decompressed, so that a bomb costs nothing.
MAXIMUM_BYTES = 64 * 2**20  # of a file

JPEG = {"quality": 75, "subsampling": "4:2:0"}  # that of CIFAKE and of the sample


class ExternalImage(NamedTuple):
    """One image: pixels uint8 S,S,3, its coder in words, what it was, and what was done to it."""

    pixels: np.ndarray
    codec: str
    width: int  # in pixels, of the image as it is looked at
    height: int
    changes: tuple[str, ...]  # besides the resizing


COLUMNS = ["member", "file_bytes", *ExternalImage._fields[1:]]


class Chunk(NamedTuple):
    """Some images of a set, in the order they were asked for.

    images: uint8 N,S,S,3. table: N rows with the columns COLUMNS, file_bytes of the coded file,
    changes a tuple of words. bad: what was left out.
    """

    images: np.ndarray
    table: pd.DataFrame
    bad: list[BadImage]


def write_set(
    path: str | os.PathLike[str],
    labels: dict[str, int],
    folder: str | os.PathLike[str],
    size: int,
    recode: bool,
) -> tuple[pd.DataFrame, list[BadImage]]:
    """Decode members of the zip or folder at `path` into arrays for arrays.load_split in `folder`.

    labels: by member, in the order to write. size, recode: see decode_files. Returns a row an
    image, in the order of the arrays, with the columns of Chunk.table and label; and the members
    that cannot be used. Raises ExpectedError as decode_files does.
    """
    parts, bad = [], []
    with (
        SplitWriter(folder, size) as writer,
        tqdm(
            total=len(labels), desc=f"decode {path}", unit="img", mininterval=0.5, disable=None
        ) as bar,
    ):
        for chunk in decode_files(path, list(labels), size, recode):
            members = list(chunk.table["member"])
            of_chunk = [labels[member] for member in members]
            writer.append(chunk.images, of_chunk, [-1] * len(members), members)
            if members:
                parts.append(chunk.table.assign(label=np.array(of_chunk, np.uint8)))
            bad += chunk.bad
            bar.update(len(members) + len(chunk.bad))
    if not parts:
        return pd.DataFrame(columns=[*COLUMNS, "label"]), bad
    return pd.concat(parts, ignore_index=True), bad


def decode_files(
    path: str | os.PathLike[str], members: list[str], size: int, recode: bool
) -> Iterator[Chunk]:
    """Decode `members` of the zip or folder at `path` on all cores, chunks in their order.

    size: S, side in pixels of what is made. recode: whether to code all as the same JPEG. Raises
    ExpectedError when the machine runs out of memory.
    """
    absolute = os.path.abspath(path)  # the processes do not follow a change of folder
    tasks = [members[i : i + CHUNK] for i in range(0, len(members), CHUNK)]
    workers = min(joblib.cpu_count(), max(1, len(tasks)))
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator", batch_size=1)
    try:
        yield from parallel(joblib.delayed(_chunk)(absolute, task, size, recode) for task in tasks)
    except (MemoryError, joblib.externals.loky.process_executor.TerminatedWorkerError) as error:
        raise ExpectedError(
            f"{path}: a decoding process was ended, most likely for lack of memory; "
            "free some memory and run again"
        ) from error


def _chunk(path: str, members: list[str], size: int, recode: bool) -> Chunk:
    images, rows, bad = [], [], []
    for member in members:
        try:
            coded = read_file(path, member)
            image = decode_any(coded, size, recode)
        except ValueError as error:
            bad.append(BadImage(member, str(error)))
            continue
        images.append(image.pixels)
        rows.append((member, len(coded), *image[1:]))
    stacked = np.stack(images) if images else np.empty((0, size, size, 3), np.uint8)
    return Chunk(stacked, pd.DataFrame(rows, columns=COLUMNS), bad)


def read_file(path: str, member: str) -> bytes:
    """Give the bytes of a member of the folder or zip at `path`, an absolute path.

    Raises ValueError, whose text is the reason, when it is empty, too large or unfit.
    """
    if os.path.isdir(path):
        try:
            with open(os.path.join(path, member), "rb") as file:
                _check_bytes(os.fstat(file.fileno()).st_size)
                return file.read(MAXIMUM_BYTES)
        except OSError as error:
            raise ValueError(f"cannot be read ({error.strerror})") from error
    archive = open_archive(path)
    info = archive.getinfo(member)
    _check_bytes(info.file_size)
    return read_whole(archive, info)


def _check_bytes(count: int) -> None:
    if count == 0:
        raise ValueError("empty file")
    if count > MAXIMUM_BYTES:
        raise ValueError(f"has {count:,} bytes; at most {MAXIMUM_BYTES:,} are read")


def decode_any(coded: bytes, size: int, recode: bool) -> ExternalImage:
    """Decode one image file and bring it to uint8 size,size,3 as the head of this module says.

    An RGB image of that very size keeps its pixels, unless `recode`. Raises ValueError, whose text
    is the reason, as images.open_picture does.
    """
    image, codec, changes = open_picture(coded)
    width, height = image.size
    side = min(width, height)
    if width != height:
        changes += ("cropped to a square",)
        left, top = (width - side) // 2, (height - side) // 2
        image = image.crop((left, top, left + side, top + side))
    if side < size:
        changes += ("enlarged",)
    if side != size:
        image = image.resize((size, size), Image.Resampling.BICUBIC)
    if recode:
        buffer = io.BytesIO()
        image.save(buffer, "JPEG", **JPEG)
        image = Image.open(buffer)
    return ExternalImage(np.asarray(image), codec, width, height, changes)
