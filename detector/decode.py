"""Read the images of a zip archive, in parallel, without unpacking it to disk."""

import hashlib
import io
import os
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import joblib
import numpy as np
from PIL import Image, JpegImagePlugin, UnidentifiedImageError

from detector.errors import ExpectedError

CHUNK = 512  # images a task; large enough that handing over costs nothing beside decoding

# A member that claims more than this is not an image of the sizes handled here. It is refused
# before it is decompressed, so that a zip bomb costs nothing.
MAXIMUM_MEMBER_BYTES = 32 * 2**20

# Those of layout.IMAGE_SUFFIXES. Pillow knows more, some of which start other programs (EPS).
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")


class BadImage(NamedTuple):
    """A member that cannot be used, and why."""

    member: str
    reason: str


@dataclass(frozen=True)
class Chunk:
    """Some decoded members, in archive order; every field has one entry an image.

    images: uint8 N,S,S,3. members: names. file_bytes: sizes of the coded files. codecs: coder and
    its settings in words. digests: 16 bytes of BLAKE2b of the pixels. features: float32 N,K, see
    `low_frequencies`. moments: float64 N,2,3, see `channel_moments`. bad: what was left out.
    """

    images: np.ndarray
    members: list[str]
    file_bytes: list[int]
    codecs: list[str]
    digests: list[bytes]
    features: np.ndarray
    moments: np.ndarray
    bad: list[BadImage]


def decode_members(archive: str, members: list[str], size: int) -> Iterator[Chunk]:
    """Decode `members` of the zip at `archive` on all cores; chunks come in the order of `members`.

    size: side in pixels that every image must have. Members that cannot be used are in
    `Chunk.bad`. Raises ExpectedError when the machine runs out of memory.
    """
    path = os.path.abspath(archive)  # the processes do not follow a change of folder
    tasks = [members[i : i + CHUNK] for i in range(0, len(members), CHUNK)]
    workers = min(joblib.cpu_count(), max(1, len(tasks)))
    parallel = joblib.Parallel(n_jobs=workers, return_as="generator", batch_size=1)
    try:
        yield from parallel(joblib.delayed(_decode_chunk)(path, task, size) for task in tasks)
    except (MemoryError, joblib.externals.loky.process_executor.TerminatedWorkerError) as error:
        raise ExpectedError(
            f"{archive}: a decoding process was ended, most likely for lack of memory; "
            "free some memory and run again"
        ) from error


def _decode_chunk(archive: str, members: list[str], size: int) -> Chunk:
    opened = _open(archive, os.stat(archive).st_mtime_ns)
    images, kept, sizes, codecs, bad = [], [], [], [], []
    for member in members:
        try:
            coded = read_member(opened, member)
            pixels, codec = decode_image(coded, size)
        except ValueError as error:
            bad.append(BadImage(member, str(error)))
            continue
        images.append(pixels)
        kept.append(member)
        sizes.append(len(coded))
        codecs.append(codec)
    stacked = np.stack(images) if images else np.empty((0, size, size, 3), np.uint8)
    digests = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
    return Chunk(
        stacked,
        kept,
        sizes,
        codecs,
        digests,
        low_frequencies(stacked),
        channel_moments(stacked),
        bad,
    )


@lru_cache(maxsize=1)
def _open(archive: str, modified: int) -> zipfile.ZipFile:
    # Reading the directory of 120,000 members takes half a second: once a process, not once a task.
    # `modified`: processes live on, and the file of that name may be another one next time.
    return zipfile.ZipFile(archive)


def read_member(archive: zipfile.ZipFile, member: str) -> bytes:
    """Give the bytes of a member. Raises ValueError, whose text is the reason, if damaged."""
    info = archive.getinfo(member)
    if info.file_size == 0:
        raise ValueError("empty file")
    if info.file_size > MAXIMUM_MEMBER_BYTES:
        raise ValueError(f"claims {info.file_size} bytes, more than any image here can need")
    if info.flag_bits & 0x1:
        raise ValueError("encrypted")
    try:
        return archive.read(info)
    except MemoryError:
        raise
    except Exception as error:  # zipfile, zlib, lzma and struct raise kinds of their own
        raise ValueError(f"damaged in the archive ({_words(error)})") from error


def decode_image(coded: bytes, size: int) -> tuple[np.ndarray, str]:
    """Decode one image file.

    Returns pixels, uint8 size,size,3 RGB, and its coder in words (see `codec_name`). Raises
    ValueError, whose text is the reason, unless the file is one whole RGB image of that size.
    """
    try:
        with Image.open(io.BytesIO(coded), formats=FORMATS) as image:
            # Checked before the pixels are decoded, so that a bomb is never unfolded.
            reason = _unfit(image, size)
            if reason is None:
                image.load()
                return np.asarray(image), codec_name(image)
    except MemoryError:  # the machine's fault, not the file's: the image must not be dropped
        raise
    except UnidentifiedImageError as error:  # its own text has the buffer's address
        raise ValueError(f"not a {', '.join(FORMATS)} file") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, ...
        raise ValueError(f"cannot be read as an image ({_words(error)})") from error
    raise ValueError(reason)


def _unfit(image: Image.Image, size: int) -> str | None:
    """Say from the header of an opened image why it cannot be used, if so."""
    if image.size != (size, size):
        return f"{image.width}x{image.height} pixels, not {size}x{size}"
    frames = getattr(image, "n_frames", 1)
    if frames > 1:
        return f"animated, {frames} frames"
    if image.mode != "RGB":
        return f"colour mode {image.mode}, not RGB"
    # Pillow opens 16-bit colour as RGB and drops the lower bytes without a word.
    if any(re.search(";16[BLN]", str(tile.args)) for tile in image.tile):
        return "16 bits a channel, not 8"
    return None


def _words(error: Exception) -> str:
    # Some errors name a buffer's address, which differs from run to run.
    text = str(error).split("<_io")[0].strip() or type(error).__name__
    return " ".join(text.split())[:120]


def codec_name(image: Image.Image) -> str:
    """Give the coder of an opened image: "JPEG quality 75 4:2:0", "PNG", ...

    A JPEG quality is named when the quantisation tables are libjpeg's for it; other tables are
    named by a hash, so that equal ones have equal names.
    """
    if image.format != "JPEG":
        return str(image.format)
    # Strings compare and hash faster than tuples of 128 numbers, and this is done for every image.
    tables = str(sorted(image.quantization.items()))
    sampling = {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}.get(JpegImagePlugin.get_sampling(image), "?")
    return f"JPEG {_tables_name(tables)} {sampling}"


@lru_cache(maxsize=1024)
def _tables_name(tables: str) -> str:
    quality = _libjpeg_tables().get(tables)
    if quality is not None:
        return f"quality {quality}"
    return "tables " + hashlib.sha256(tables.encode()).hexdigest()[:8]


@lru_cache(maxsize=1)
def _libjpeg_tables() -> dict[str, int]:
    known = {}
    for quality in range(100, 0, -1):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8)).save(buffer, "JPEG", quality=quality)
        with Image.open(buffer) as image:
            known[str(sorted(image.quantization.items()))] = quality
    return known


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
    pixels = images.reshape(len(images), side * side, 3).astype(np.float32) - 128
    ones = np.ones((1, pixels.shape[1]), np.float32)
    first = (ones @ pixels)[:, 0]
    # As a matrix product: several times as fast as summing squares along the middle axis.
    second = np.diagonal(pixels.transpose(0, 2, 1) @ pixels, axis1=1, axis2=2)
    return np.stack([first, second], axis=1).astype(np.float64) / pixels.shape[1]


def luma(images: np.ndarray) -> np.ndarray:
    """Give the luma (ITU-R BT.601 weights) of uint8 N,S,S,3 as float32 N,S,S, 0 to 255."""
    return images.astype(np.float32) @ np.array([0.299, 0.587, 0.114], np.float32)
