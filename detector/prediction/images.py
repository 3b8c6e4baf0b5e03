"""Image files brought to what a network takes, with plain warnings of what was done to them."""

import os
import stat
from collections.abc import Generator, Iterator
from concurrent.futures.process import BrokenProcessPool
from typing import NamedTuple

import joblib
import numpy as np

from detector.base.errors import ExpectedError
from detector.deployment.familiarity import Limits, unfamiliar
from detector.images.external_images import MAXIMUM_BYTES, decode_any
from detector.images.processes import map_in_processes

# Of a task: small images by the hundred, so that handing over costs little; photographs one by one.
CHUNK_IMAGES, CHUNK_BYTES = 512, 2 * 2**20
AHEAD = 64 * 2**20  # bytes of pixels that may be decoded before they are asked for

# What is done to an image beyond its size that may mislead a network.
_WORDS = {
    "greyscale": "a greyscale file: the training images are colour files",
    "palette": "a palette of at most 256 colours: the training images have none",
    "CMYK": "CMYK colours, made RGB",
    "YCbCr": "YCbCr colours, made RGB",
    "alpha flattened": "transparent places were made white",
    "first picture of several": "only the first of several pictures in the file was looked at",
    "colour profile applied": "its colours, of another profile than sRGB, were converted to sRGB",
    "colour profile unreadable": "its colour profile cannot be read, so sRGB was taken for it",
    "colours described in a way that is not read": "its colours are not those of sRGB (gamma, cICP "
    "or a profile in a bitmap), but were taken for them",
    "EXIF unreadable": "its EXIF data is damaged, so it may lie on its side",
}


class Opened(NamedTuple):
    """One image as a network takes it.

    pixels: uint8 S,S,3. codec: coder of the file in words (decode.codec_name). width, height: in
    pixels, of the file as it is looked at. changes: what external_images.decode_any did, besides
    resizing. warnings: sentences, in which way the image was unlike the training images before
    that.
    """

    pixels: np.ndarray
    codec: str
    width: int
    height: int
    changes: tuple[str, ...]
    warnings: tuple[str, ...]


def open_image(coded: bytes, size: int) -> Opened:
    """Decode one image file and bring it to the size of a network.

    coded: the whole file. size: S, side in pixels. An RGB image of exactly that size keeps its
    pixels, so that a network says the same of it as in the pipeline. Raises ValueError, whose text
    is the reason, for an empty file, one of more than MAXIMUM_BYTES, and as decode_any does.
    """
    if not coded:
        raise ValueError("empty file")
    if len(coded) > MAXIMUM_BYTES:
        raise ValueError(_too_large(len(coded)))
    image = decode_any(coded, size, recode=False)
    warnings = _warnings(image.width, image.height, image.changes, size)
    return Opened(image.pixels, image.codec, image.width, image.height, image.changes, warnings)


def read_image(path: str | os.PathLike[str]) -> bytes:
    """Give the bytes of a regular file. Raises ValueError, whose text is the reason."""
    try:
        # Opening a pipe that nobody writes to would wait for ever.
        if not stat.S_ISREG(os.stat(path).st_mode):
            raise ValueError("not a regular file; to pipe an image in, give - instead of a name")
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            if size > MAXIMUM_BYTES:
                raise ValueError(_too_large(size))
            return file.read(size + 1)
    except OSError as error:
        raise ValueError(f"cannot be read ({error.strerror})") from error


def _too_large(count: int) -> str:
    return f"has {count:,} bytes; at most {MAXIMUM_BYTES:,} are read"


def _warnings(width: int, height: int, changes: tuple[str, ...], size: int) -> tuple[str, ...]:
    said = []
    shorter, longer = min(width, height), max(width, height)
    if shorter > size:
        said.append(
            f"{width}x{height} pixels, reduced to {size}x{size}: what gives a generated image away "
            "is mostly lost in that, and the training images were never reduced"
        )
    elif shorter < size:
        said.append(f"{width}x{height} pixels, enlarged to {size}x{size}: the rest is made up")
    if shorter != longer:
        part = max(1, round(100 * (1 - shorter / longer)))
        said.append(f"not square: {part} % of it, at the edges, was not looked at")
    return (*said, *(_WORDS[change] for change in changes if change in _WORDS))


class Source(NamedTuple):
    """Where one image comes from.

    name: as it was given. coded: its bytes; None: the file called `name` is read. error: why there
    is no image, where that is known already.
    """

    name: str
    coded: bytes | None = None
    error: str | None = None


class Entry(NamedTuple):
    """What is known of one source besides its pixels; see Opened. error: why it has none."""

    name: str
    width: int | None = None
    height: int | None = None
    changes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    error: str | None = None


class Chunk(NamedTuple):
    """Some sources in order. pixels: uint8 N,S,S,3 of the N entries without an error."""

    pixels: np.ndarray
    entries: list[Entry]


def open_sources(
    sources: list[Source], size: int, known: Limits | None = None
) -> Generator[Chunk, None, None]:
    """Open images, ahead of what is asked for and in bounded memory; chunks are in order.

    size: S, side in pixels. known: limits of familiarity, whose warnings are added. More than a
    chunk is decoded by a process a core: they start with the call and end with the last chunk or
    when the generator is closed. Raises ExpectedError when the machine runs out of memory.
    """
    chunks = _start(sources, size, known)
    next(chunks)
    return chunks


def _start(sources: list[Source], size: int, known: Limits | None) -> Generator:
    """Give None when the processes are at work, then the chunks."""
    tasks = [(task, size, known) for task in _tasks(sources)]
    workers = min(joblib.cpu_count(), len(tasks))
    try:
        if len(tasks) > 1:
            ahead = AHEAD // (CHUNK_IMAGES * size**2 * 3)
            yield from map_in_processes(_open_chunk, tasks, workers, ahead, _step_back)
        else:
            yield None
            yield from (_open_chunk(*task) for task in tasks)
    except BrokenProcessPool as error:
        raise ExpectedError(
            "a decoding process was ended, most likely for lack of memory; free some memory and "
            "run again, with fewer large images"
        ) from error


def _step_back() -> None:
    # They decode ahead: importing TensorFlow and the network itself shall not wait for them.
    if hasattr(os, "nice"):  # not on Windows
        os.nice(10)


def _tasks(sources: list[Source]) -> Iterator[list[Source]]:
    """Part the sources by number and by bytes of their files, for the same input the same way."""
    task: list[Source] = []
    weight = 0
    for source in sources:
        size = _file_bytes(source)
        if task and (len(task) == CHUNK_IMAGES or weight + size > CHUNK_BYTES):
            yield task
            task, weight = [], 0
        task.append(source)
        weight += size
    if task:
        yield task


def _file_bytes(source: Source) -> int:
    if source.coded is not None or source.error is not None:
        return len(source.coded or b"")
    try:
        return os.stat(source.name).st_size
    except OSError:  # opening it will say why
        return 0


def _open_chunk(sources: list[Source], size: int, known: Limits | None) -> Chunk:
    entries, kept, codecs = [], [], []
    for source in sources:
        try:
            if source.error is not None:
                raise ValueError(source.error)
            opened = open_image(
                read_image(source.name) if source.coded is None else source.coded, size
            )
        except ValueError as error:
            entries.append(Entry(source.name, error=str(error)))
            continue
        kept.append(opened.pixels)
        codecs.append(opened.codec)
        entries.append(Entry(source.name, *opened[2:]))
    pixels = np.stack(kept) if kept else np.empty((0, size, size, 3), np.uint8)
    if known is not None and kept:
        strange = iter(unfamiliar(pixels, known, codecs))
        entries = [
            entry if entry.error else entry._replace(warnings=entry.warnings + next(strange))
            for entry in entries
        ]
    return Chunk(pixels, entries)
