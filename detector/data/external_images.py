"""Any image file, from a camera or the web, brought to the size that a network takes.

What is done to an image, in this order: the first picture of a file that holds several is taken
(phones do so), it is turned as its EXIF says, cut to the square in its middle, made RGB, resized by
Pillow's bicubic filter (which averages when it reduces), and, if asked for, coded as JPEG of
quality 75 with 4:2:0 and decoded. Transparent places become white, as on a web page. Colour
profiles are not applied: the numbers in the file are taken for sRGB.
"""

import io
import os
import re
import warnings
from collections.abc import Iterator
from typing import NamedTuple

import joblib
import numpy as np
import pandas as pd
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError
from tqdm import tqdm

from detector.data.arrays import SplitWriter
from detector.data.decode import FORMATS, BadImage, codec_name, count_frames, open_archive
from detector.data.zips import read_whole, words
from detector.errors import ExpectedError

CHUNK = 64  # images a task; photographs take 100 times as long as images of 32 pixels

# Checked before anything is decompressed, so that a bomb costs nothing.
MAXIMUM_BYTES = 64 * 2**20  # of a file
MAXIMUM_PIXELS = 64 * 2**20  # of an image, 8192x8192: what large cameras make, and little more

JPEG = {"quality": 75, "subsampling": "4:2:0"}  # that of CIFAKE and of the sample
WHITE = (255, 255, 255, 255)

# Colour modes of Pillow that can be made RGB, and the name to count them by.
_MODES = {
    "RGB": None,
    "RGBX": None,
    "RGBA": None,
    "RGBa": None,
    "1": "greyscale",
    "L": "greyscale",
    "LA": "greyscale",
    "P": "palette",
    "PA": "palette",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
}
# Where Pillow keeps what EXIF says besides its tags.
_EXIF_KEYS = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")


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
        tqdm(total=len(labels), desc=f"decode {path}", unit="img", mininterval=0.5) as bar,
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
    is the reason, for damaged files, other formats than decode.FORMATS, more than MAXIMUM_PIXELS,
    animations and pages, more than 8 bits a channel and colours that have no conversion to RGB.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of odd metadata, and of sizes that _unfit refuses
            with Image.open(io.BytesIO(coded), formats=FORMATS) as image:
                reason = _unfit(image)
                if reason is None:
                    return _prepared(image, size, recode)
    except MemoryError:  # the machine's fault, not the file's: the image must not be dropped
        raise
    except Image.DecompressionBombError:
        reason = f"more than {MAXIMUM_PIXELS:,} pixels"
    except UnidentifiedImageError as error:  # its own text has the buffer's address
        raise ValueError(f"not a {', '.join(FORMATS)} file") from error
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, ...
        raise ValueError(f"cannot be read as an image ({words(error)})") from error
    raise ValueError(reason)


def _unfit(image: Image.Image) -> str | None:
    """Say from the header of an opened image why it cannot be used, if so."""
    if image.width * image.height > MAXIMUM_PIXELS:
        return f"more than {MAXIMUM_PIXELS:,} pixels"
    frames = count_frames(image)
    # An MPO is a JPEG with a preview, a depth map or a second eye after it.
    if frames > 1 and image.format != "MPO":
        return f"{frames} pages" if image.format == "TIFF" else f"animated, {frames} frames"
    # Pillow opens 16-bit colour as RGB and drops the lower bytes without a word.
    deep = any(re.search(";16[BLN]", str(tile.args)) for tile in image.tile)
    if deep or image.mode[0] in "IF":
        return "more than 8 bits a channel"
    if image.mode not in _MODES:
        return f"colour mode {image.mode}, which cannot be made RGB"
    return None


def _prepared(image: Image.Image, size: int, recode: bool) -> ExternalImage:
    changes = []
    if image.format == "MPO":
        changes.append("first picture of several")
        image.format = "JPEG"  # which its first picture is; codec_name asks for it
    changes += _turn(image)
    width, height = image.size
    side = min(width, height)
    square = image
    if width != height:
        changes.append("cropped to a square")
        left, top = (width - side) // 2, (height - side) // 2
        square = image.crop((left, top, left + side, top + side))
    square, more = _rgb(square)
    changes += more
    if side < size:
        changes.append("enlarged")
    if side != size:
        square = square.resize((size, size), Image.Resampling.BICUBIC)
    if recode:
        buffer = io.BytesIO()
        square.save(buffer, "JPEG", **JPEG)
        square = Image.open(buffer)
    return ExternalImage(np.asarray(square), codec_name(image), width, height, tuple(changes))


def _turn(image: Image.Image) -> list[str]:
    """Load an image and turn it in place as its EXIF says; give what was done, in words."""
    # Pillow turns a TIFF while it loads it and forgets the orientation; a PNG may have it at the
    # end of the file.
    if image.format != "TIFF":
        image.load()
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except MemoryError:
        raise
    except Exception:  # every kind, of damaged tags; programs that show images pass over them
        return ["EXIF unreadable"]
    image.load()
    if orientation not in range(2, 9):
        return []
    for key in _EXIF_KEYS:  # else they are written anew, which fails for odd ones
        image.info.pop(key, None)
    ImageOps.exif_transpose(image, in_place=True)
    return ["rotated by EXIF"]


def _rgb(image: Image.Image) -> tuple[Image.Image, list[str]]:
    changes = [_MODES[image.mode]] if _MODES[image.mode] else []
    if not image.has_transparency_data:
        return image.convert("RGB"), changes
    layered = image.convert("RGBA")
    lowest, _ = layered.getextrema()[3]
    changes.append("alpha flattened" if lowest < 255 else "opaque alpha dropped")
    white = Image.new("RGBA", layered.size, WHITE)
    return Image.alpha_composite(white, layered).convert("RGB"), changes
