"""Read the images of a zip archive, in parallel, without unpacking it to disk."""

import hashlib
import os
import zipfile
from collections.abc import Generator
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from functools import lru_cache, partial
from typing import NamedTuple

import joblib
import numpy as np

from detector.archives.zips import check_size, offsets_of, open_zip, read_whole
from detector.base.arrays import at_once
from detector.base.errors import ExpectedError
from detector.images.opener import open_picture
from detector.images.processes import map_in_processes

# Images of 32 pixels a task, fewer of larger ones; handing over costs nothing beside decoding
CHUNK = 512
AHEAD = 128 * 2**20  # bytes of pixels that may be decoded before they are asked for


class BadImage(NamedTuple):
    """A member that cannot be used, and why."""

    member: str
    reason: str


@dataclass(frozen=True)
class Chunk:
    """Some decoded members, in archive order; every field has one entry an image.

    images: uint8 N,S,S,3. members: names. file_bytes: sizes of the coded files. codecs: coder and
    its settings in words. changes: what was done to it, in words. digests: 16 bytes of BLAKE2b of
    the pixels. features: float32 N,K, see `low_frequencies`. moments: float64 N,2,3, see
    `channel_moments`. bad: what was left out.
    """

    images: np.ndarray
    members: list[str]
    file_bytes: list[int]
    codecs: list[str]
    changes: list[tuple[str, ...]]
    digests: list[bytes]
    features: np.ndarray
    moments: np.ndarray
    bad: list[BadImage]


def decode_members(archive: str, members: list[str], size: int) -> Generator[Chunk, None, None]:
    """Decode `members` of the zip at `archive` on all cores; chunks come in the order of `members`.

    size: side in pixels that every image must have. Members that cannot be used are in
    `Chunk.bad`. The processes start with the call, not with the first chunk that is asked for, and
    end with the last one or when the generator is closed. Raises ExpectedError when the machine
    runs out of memory.
    """
    chunks = _start_decoding(archive, members, size)
    next(chunks)
    return chunks


def _start_decoding(archive: str, members: list[str], size: int) -> Generator:
    """Give None when the processes are at work, then the chunks."""
    offsets_of(open_archive(archive))  # before the fork, so that its directory is read once
    path = os.path.abspath(archive)  # the processes do not follow a change of folder
    chunk = at_once(CHUNK, size)
    tasks = [(path, members[i : i + chunk], size) for i in range(0, len(members), chunk)]
    workers = min(joblib.cpu_count(), len(tasks))
    try:
        if workers > 1:
            ahead = AHEAD // (chunk * size**2 * 3)
            reopen = partial(_reopen, path)
            yield from map_in_processes(_decode_chunk, tasks, workers, ahead, reopen)
        else:
            yield None
            yield from (_decode_chunk(*task) for task in tasks)
    except (MemoryError, BrokenProcessPool) as error:
        raise ExpectedError(
            f"{archive}: a decoding process was ended, most likely for lack of memory; "
            "free some memory and run again"
        ) from error
    finally:
        _open.cache_clear()  # a directory of a million members is 600 MB


def _reopen(archive: str) -> None:
    # Forked processes share the position in an open file.
    open_archive(archive).fp = open(archive, "rb")  # noqa: SIM115 (as long as the process lives)


def _decode_chunk(archive: str, members: list[str], size: int) -> Chunk:
    opened = open_archive(archive)
    images = np.empty((len(members), size, size, 3), np.uint8)
    kept, sizes, codecs, changes, bad = [], [], [], [], []
    for member in members:
        try:
            coded = read_member(opened, member)
            images[len(kept)], codec, done = decode_image(coded, size)
        except ValueError as error:
            bad.append(BadImage(member, str(error)))
            continue
        kept.append(member)
        sizes.append(len(coded))
        codecs.append(codec)
        changes.append(done)
    images = images[: len(kept)]
    flat = images.reshape(len(kept), size**2 * 3)
    digests = [hashlib.blake2b(image, digest_size=16).digest() for image in flat]
    features, moments = low_frequencies(images), channel_moments(images)
    return Chunk(images, kept, sizes, codecs, changes, digests, features, moments, bad)


def open_archive(archive: str | os.PathLike[str]) -> zipfile.ZipFile:
    """Open a zip, or give what an earlier call opened if the file is still the same.

    Reading the directory of 120,000 members takes half a second. Raises as open_zip does.
    """
    with open(archive, "rb") as file:
        found = os.fstat(file.fileno())
    version = (found.st_ino, found.st_size, found.st_mtime_ns)
    return _open(os.path.abspath(archive), version)


@lru_cache(maxsize=1)
def _open(archive: str, version: tuple[int, ...]) -> zipfile.ZipFile:
    return open_zip(archive)


def read_member(archive: zipfile.ZipFile, member: str) -> bytes:
    """Give the bytes of a member. Raises ValueError, whose text is the reason, if unfit."""
    info = archive.getinfo(member)
    if info.file_size == 0:
        raise ValueError("empty file")
    check_size(info)
    return read_whole(archive, info)


def decode_image(coded: bytes, size: int) -> tuple[np.ndarray, str, tuple[str, ...]]:
    """Decode one image file of an archive; see images.open_picture.

    Returns pixels, uint8 size,size,3 RGB, its coder in words, and what was done to it. Raises
    ValueError, whose text is the reason, unless the file is one whole RGB image of that size.
    """
    picture = open_picture(coded, exact=size)
    return np.asarray(picture.image), picture.codec, picture.changes


def low_frequencies(images: np.ndarray, count: int = 4) -> np.ndarray:
    """Give the lowest frequencies of the luma of each image, for the near-duplicate search.

    images: uint8 N,S,S,3. Returns float32 N,count²-1: the coefficients of the orthonormal DCT-II
    without the mean, divided by S. By Parseval's theorem the Euclidean distance of two rows is
    therefore at most the root mean square difference in grey levels of the two images with their
    means taken off.
    """
    size = images.shape[1]
    angles = np.pi * np.outer(np.arange(count), np.arange(size) + 0.5) / size
    basis = np.cos(angles) * np.sqrt(np.where(np.arange(count) == 0, 1, 2) / size)[:, None]
    basis = (basis / np.sqrt(size)).astype(np.float32)
    coefficients = basis @ luma(images) @ basis.T
    return coefficients.reshape(len(images), count**2)[:, 1:]


def channel_moments(images: np.ndarray) -> np.ndarray:
    """Give the mean of (pixel - 128) and of its square, by channel, of uint8 N,S,S,3.

    Returns float64 N,2,3. Taking off the middle keeps the sums of 32x32 pixels exact in float32.
    """
    side = images.shape[1]
    pixels = images.reshape(len(images), side, side * 3).astype(np.float32)
    pixels -= 128
    # Rows first, in one stride: several times as fast as along the pixels of one channel.
    first = pixels.sum(axis=1)
    second = np.square(pixels, out=pixels).sum(axis=1)
    sums = np.stack([first, second], axis=1).reshape(len(images), 2, side, 3)
    return sums.sum(axis=2, dtype=np.float64) / side**2


def luma(images: np.ndarray) -> np.ndarray:
    """Give the luma (ITU-R BT.601 weights) of uint8 N,S,S,3 as float32 N,S,S, 0 to 255."""
    return images.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
