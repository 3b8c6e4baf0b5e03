"""The one opener of image files: what is read, what is refused, and how pixels become comparable.

Every reader of images here (preprocess, external sets, detector.pack, predict, the page) comes
through `open_picture`, so that one file is the same pixels to all of them:

- A file is whole or refused: see damage.py.
- Of a file that holds several pictures (phones make them) the first is taken.
- It is turned as its EXIF or XMP says, in every format.
- An embedded ICC profile other than sRGB is applied: see colour.py. Without one the numbers are
  taken for sRGB.
- Transparent places become white, as on a web page; other colours become RGB.

What was done is said in `Picture.changes`.
"""

import hashlib
import io
import re
import warnings
from functools import lru_cache
from typing import NamedTuple

from PIL import ExifTags, Image, ImageOps, JpegImagePlugin, UnidentifiedImageError

from detector.archives.zips import words
from detector.images.colour import MODES, to_srgb
from detector.images.damage import find_damage, find_damage_unopened
from detector.images.kinds import kind_of, unread

# Those of layout.IMAGE_SUFFIXES. Pillow knows more, some of which start other programs (EPS).
FORMATS = ("JPEG", "PNG", "WEBP", "BMP", "TIFF")
MAXIMUM_PIXELS = 64 * 2**20  # of an image, 8192x8192: what large cameras make, and little more
MOST_PAGES = 100  # that are counted

# Where Pillow keeps what says how an image is turned, and EXIF besides its tags.
_EXIF_KEYS = ("exif", "Raw profile type exif", "XML:com.adobe.xmp", "xmp")


class Picture(NamedTuple):
    """One image as all readers see it.

    image: RGB, 8 bits a channel. codec: its coder in words, see codec_name. changes: what was done
    to it, in words.
    """

    image: Image.Image
    codec: str
    changes: tuple[str, ...]


def open_picture(coded: bytes, exact: int | None = None) -> Picture:
    """Return the image in a file, as the head of this module says.

    exact: side in pixels that the image must have; it must then be RGB and alone in the file, as
    the pipeline asks of its archive; None: any size, and what can be made RGB. Raises ValueError,
    whose text is the reason, for damaged files, other formats than FORMATS, more than
    MAXIMUM_PIXELS, animations and pages, more than 8 bits a channel and colours that have no
    conversion to RGB.
    """
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            with Image.open(io.BytesIO(coded), formats=FORMATS) as image:
                # Checked before the pixels are decoded, so that a bomb is never unfolded.
                reason = _unfit(image, exact) or find_damage(coded, image)
                if reason is None:
                    changes = _load_upright(image)
                    reason = _complaint(image, caught)
                if reason is None:
                    codec = codec_name(image)
                    made, more = to_srgb(image, coded)
                    return Picture(made, codec, (*changes, *more))
    except MemoryError:  # the machine's fault, not the file's: the image must not be dropped
        raise
    except Image.DecompressionBombError:
        reason = f"more than {MAXIMUM_PIXELS:,} pixels"
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, ...
        raise ValueError(_in_words(error, coded)) from error
    raise ValueError(reason)


def _in_words(error: Exception, coded: bytes) -> str:
    if "MAX_TEXT" in str(error):
        return "a PNG with more text in it than is read (1 MiB a compressed chunk, 64 MiB in all)"
    if found := find_damage_unopened(coded):
        return found
    if isinstance(error, UnidentifiedImageError):  # its own text has the buffer's address
        return unread(coded) or f"not a {', '.join(FORMATS)} file"
    return f"cannot be read as an image ({words(error)})"


def _complaint(image: Image.Image, caught: list[warnings.WarningMessage]) -> str | None:
    """Say what a decoder warned of. In a TIFF the tags are the structure of the image itself.

    In the other formats a warning is of metadata, or of sizes that _unfit has refused.
    """
    said = [str(one.message) for one in caught if image.format == "TIFF"]
    said = [text for text in said if "decompression bomb" not in text]
    return f"damaged ({words(ValueError(said[0]))})" if said else None


def _unfit(image: Image.Image, exact: int | None) -> str | None:
    """Say from the header of an opened image why it cannot be used, if so."""
    if exact is not None and image.size != (exact, exact):
        return f"{image.width}x{image.height} pixels, not {exact}x{exact}"
    if image.width * image.height > MAXIMUM_PIXELS:
        return f"more than {MAXIMUM_PIXELS:,} pixels"
    frames = count_frames(image)
    # An MPO is a JPEG with a preview, a depth map or a second eye after it.
    if frames > 1 and (exact is not None or image.format != "MPO"):
        return f"{frames} pages" if image.format == "TIFF" else f"animated, {frames} frames"
    if kind := kind_of(image):
        return kind
    # Pillow opens 16-bit colour as RGB and drops the lower bytes without a word.
    deep = any(re.search(";16[BLN]", str(tile.args)) for tile in image.tile)
    if deep or image.mode[0] in "IF":
        return "more than 8 bits a channel"
    if exact is not None and image.mode != "RGB":
        return f"colour mode {image.mode}, not RGB"
    if image.mode not in MODES:
        return f"colour mode {image.mode}, which cannot be made RGB"
    return None


def _load_upright(image: Image.Image) -> list[str]:
    """Load an opened image, turned as its EXIF says; give what was done, in words."""
    changes = []
    if image.format == "MPO":
        changes.append("first picture of several")
        image.format = "JPEG"  # which its first picture is; codec_name asks for it
    # Pillow turns a TIFF while it loads it and forgets the orientation; a PNG may have it at the
    # end of the file.
    if image.format != "TIFF":
        image.load()
        if not any(key in image.info for key in _EXIF_KEYS):
            return changes
    try:
        orientation = image.getexif().get(ExifTags.Base.Orientation, 1)
    except MemoryError:
        raise
    except Exception:  # every kind, of damaged tags; programs that show images pass over them
        return [*changes, "EXIF unreadable"]
    image.load()
    if orientation not in range(2, 9):
        return changes
    for key in _EXIF_KEYS:  # else they are written anew, which fails for odd ones
        image.info.pop(key, None)
    ImageOps.exif_transpose(image, in_place=True)
    return [*changes, "rotated by EXIF"]


def count_frames(image: Image.Image) -> int:
    """Count the frames or pages of an opened image, those of a TIFF up to MOST_PAGES."""
    if image.format != "TIFF":
        return getattr(image, "n_frames", 1)
    # Pillow's own count takes time that grows as their square: an hour for those of 60 MB.
    pages = 1
    try:
        while pages < MOST_PAGES:
            image.seek(pages)
            pages += 1
    except EOFError:
        pass
    image.seek(0)
    return pages


def codec_name(image: Image.Image) -> str:
    """Return the coder of an opened image: "JPEG quality 75 4:2:0", "PNG", ...

    A JPEG quality is named when the quantisation tables are libjpeg's for it; other tables are
    named by a hash, so that equal ones have equal names.
    """
    if image.format != "JPEG":
        return str(image.format)
    tables = tuple((number, tuple(table)) for number, table in image.quantization.items())
    return _jpeg_name(tables, JpegImagePlugin.get_sampling(image))


@lru_cache(maxsize=1024)
def _jpeg_name(tables: tuple[tuple[int, tuple[int, ...]], ...], sampling: int) -> str:
    text = _text_of(dict(tables))
    quality = _libjpeg_tables().get(text)
    if quality is not None:
        name = f"quality {quality}"
    else:
        name = "tables " + hashlib.sha256(text.encode()).hexdigest()[:8]
    return f"JPEG {name} " + {0: "4:4:4", 1: "4:2:2", 2: "4:2:0"}.get(sampling, "?")


def _text_of(tables: dict) -> str:
    return str(sorted((number, list(table)) for number, table in tables.items()))


@lru_cache(maxsize=1)
def _libjpeg_tables() -> dict[str, int]:
    known = {}
    for quality in range(100, 0, -1):
        buffer = io.BytesIO()
        Image.new("RGB", (8, 8)).save(buffer, "JPEG", quality=quality)
        with Image.open(buffer) as image:
            known[_text_of(image.quantization)] = quality
    return known
