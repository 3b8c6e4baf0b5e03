"""Whether an image file is whole: what the decoders pass over in silence.

A decoder makes pixels out of what is there and fills in what is missing; Pillow drops its warnings.
So each format is looked at again:

- JPEG (ITU-T T.81): a decoder that tells its warnings reads the whole scan; a progressive file must
  have all of its scans; and no part of a scan may be zeros that its codes do not explain.
- PNG (ISO/IEC 15948): all checksums must fit, and the compressed data must be all rows, no more.
- WebP (RFC 9649), BMP: the file must be as long as its header says; Pillow tells the rest.
- TIFF 6.0: each strip or tile must be in the file and hold all of its rows.

What no reader can tell is damage that leaves a file in order: other bytes in pixels that have no
checksum (BMP, uncompressed TIFF), and other bits in a scan or in the arithmetic code of a WebP that
still are codes for as many pixels.
"""

import re
import struct
import zlib
from collections.abc import Iterator
from typing import Any

import simplejpeg
from PIL import Image

from detector.archives.zips import words

_PIECE = 1 << 16  # bytes that are inflated at a time

# Markers of a JPEG (T.81, table B.1), and what follows a scan: neither stuffing nor a restart.
_SEQUENTIAL, _PROGRESSIVE, _TABLES, _END, _SCAN = (0xC0, 0xC1), 0xC2, 0xC4, 0xD9, 0xDA
_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
# In a row: 64 bits, which would be 18 coefficients of -1 by the usual codes. Never seen in a photo.
_ZEROS = bytes(8)
# What the decoder says of kinds of JPEG that it does not take, damaged or not.
_UNSUPPORTED = re.compile("[Uu]nsupported|not supported|subsampling")
_NO_AC = 0x00  # the symbol that ends a block

_CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}  # of a PNG, by its colour type
# Start and step of the columns and rows of each pass of an interlaced PNG.
_PASSES = ((0, 8, 0, 8), (4, 8, 0, 8), (0, 4, 4, 8), (2, 4, 0, 4), (0, 2, 2, 4), (1, 2, 0, 2),
           (0, 1, 1, 2))  # fmt: skip


def find_damage(coded: bytes, image: Image.Image) -> str | None:
    """Return what is missing or wrong in an image file, None where it is whole.

    coded: the file. image: as Pillow opened it, not loaded.
    """
    return _sentence(_CHECKS[image.format](coded, image))


def _sentence(found: str | None) -> str | None:
    return f"damaged ({words(ValueError(found))})" if found else None


def find_damage_unopened(coded: bytes) -> str | None:
    """Return what is wrong in a file that Pillow does not open, None where that is unknown."""
    found = None
    if coded.startswith(b"\x89PNG\r\n\x1a\n"):
        found = _png(coded)
    elif len(coded) > 12 and coded.startswith(b"RIFF") and coded[8:12] == b"WEBP":
        found = _webp(coded)
    return _sentence(found)


def _jpeg(coded: bytes, image: Image.Image) -> str | None:
    try:
        # The smallest picture that it can make: the scan is read all the same.
        colours = "CMYK" if image.mode == "CMYK" else "GRAY"
        simplejpeg.decode_jpeg(coded, colours, min_height=1, min_width=1, strict=True)
        # Most files need no walk through their segments, which costs as much as decoding them.
        if "progressive" not in image.info and coded.find(_ZEROS, coded.find(b"\xff\xda")) < 0:
            return None
        return _scan_damage(coded)
    except ValueError as error:
        if _UNSUPPORTED.search(str(error)):
            raise
        return words(error).removeprefix("Corrupt JPEG data: ")
    except (struct.error, IndexError, KeyError):
        return "its headers contradict each other"


def _scan_damage(coded: bytes) -> str | None:
    """Return what is wrong in the scans of a JPEG that decodes without a warning."""
    first_codes: dict[int, int] = {}  # by table for AC coefficients, the symbol whose code is zeros
    unsent: dict[int, bytearray] = {}  # by component, for each coefficient the bits not yet sent
    frame = None
    for marker, segment, start, end in _segments(coded):
        if marker in _SEQUENTIAL or marker == _PROGRESSIVE:
            frame = marker
            unsent = {segment[i]: bytearray(b"\xff" * 64) for i in range(6, len(segment), 3)}
        elif marker == _TABLES:
            first_codes |= _first_codes(segment)
        elif marker == _SCAN:
            count = segment[0]
            low, high, bits = segment[-3], segment[-2], segment[-1] & 15
            for i in range(1, 2 * count, 2):
                if frame == _PROGRESSIVE:
                    unsent[segment[i]][low : high + 1] = bytes([bits]) * (high + 1 - low)
                elif (
                    frame is not None
                    and first_codes.get(segment[i + 1] & 15, 1) != _NO_AC
                    and coded.find(_ZEROS, start, end) >= 0
                ):
                    return "a part of it is zeros"
    if frame == _PROGRESSIVE and any(any(bits) for bits in unsent.values()):
        return "a part of its scans is missing"
    return None


def _segments(coded: bytes) -> Iterator[tuple[int, bytes, int, int]]:
    """Yield marker and content of each segment of a JPEG's first image, and where its scan lies."""
    place = 2
    while True:
        while coded[place + 1] == 0xFF:
            place += 1
        marker = coded[place + 1]
        if marker == _END:
            return
        (length,) = struct.unpack_from(">H", coded, place + 2)
        start = end = place + 2 + length
        if marker == _SCAN:
            found = _MARKER.search(coded, start)
            end = found.start() if found else len(coded)
        yield marker, coded[place + 4 : start], start, end
        place = end


def _first_codes(segment: bytes) -> Iterator[tuple[int, int]]:
    """Yield each table for AC coefficients of a segment, and the symbol of its first code."""
    while segment:
        kind, count = segment[0], sum(segment[1:17])
        if kind >> 4:
            yield kind & 15, segment[17]
        segment = segment[17 + count :]


def _png(coded: bytes, image: Image.Image | None = None) -> str | None:
    try:
        return _png_damage(coded)
    except zlib.error as error:
        return words(error)
    except struct.error:
        return "it ends too early"


def _png_damage(coded: bytes) -> str | None:
    """Say which chunk of a PNG is damaged or what of its rows is missing, if so."""
    width, height, depth, colour, interlaced = struct.unpack_from(">IIBB2xB", coded, 16)
    expected = _png_bytes(width, height, depth * _CHANNELS.get(colour, 0), interlaced)
    rows, place, kind = _Inflated(expected), 8, b""
    while kind != b"IEND":
        length, kind = struct.unpack_from(">I4s", coded, place)
        name = kind.decode("ascii", "backslashreplace")
        end = place + 8 + length
        if len(coded) < end + 4:
            return f"it ends within its chunk {name}"
        if zlib.crc32(memoryview(coded)[place + 4 : end]) != int.from_bytes(coded[end : end + 4]):
            return f"its chunk {name} has a wrong checksum"
        if kind == b"IDAT":
            rows.add(coded[place + 8 : end])
        place = end + 4
    whole = rows.ended and rows.count == expected
    return None if whole else "it has not as many rows as its header says"


class _Inflated:
    """Counts what compressed data unfold to, in bounded memory and no further than they should."""

    def __init__(self, most: int) -> None:
        self.count, self._most, self._inflate = 0, most, zlib.decompressobj()

    def add(self, part: bytes) -> None:
        """Take the next part of the data. Raises zlib.error where they are damaged."""
        while self.count <= self._most:
            part = self._inflate.decompress(part, _PIECE)
            if not part:
                return
            self.count += len(part)
            part = self._inflate.unconsumed_tail

    @property
    def ended(self) -> bool:
        """Whether the data came to their end, with a checksum that fits."""
        return self._inflate.eof


def _png_bytes(width: int, height: int, bits: int, interlaced: int) -> int:
    """Return how many bytes the rows of a PNG are, each with one for its filter."""
    passes = _PASSES if interlaced else ((0, 1, 0, 1),)
    sizes = [
        (-((x - width) // dx), -((y - height) // dy))
        for x, dx, y, dy in passes
        if x < width and y < height
    ]
    return sum(rows * (1 + (columns * bits + 7) // 8) for columns, rows in sizes)


def _webp(coded: bytes, image: Image.Image | None = None) -> str | None:
    (said,) = struct.unpack_from("<I", coded, 4)
    return "it is shorter than its header says" if said + 8 > len(coded) else None


def _bmp(coded: bytes, image: Image.Image) -> str | None:
    (said,) = struct.unpack_from("<I", coded, 2)
    return "it is shorter than its header says" if said > len(coded) else None


def _tiff(coded: bytes, image: Image.Image) -> str | None:
    tags = image.tag_v2
    tiled = 324 in tags
    offsets, counts = (tags.get(tag, ()) for tag in ((324, 325) if tiled else (273, 279)))
    width, height, samples, bits = tags[256], tags[257], tags.get(277, 1), tags.get(258, (1,))
    rows = tags[323] if tiled else min(tags.get(278, height), height)
    across = tags[322] if tiled else width
    planes = samples if tags.get(284, 1) == 2 else 1
    row = (across * bits[0] * samples // planes + 7) // 8
    per_plane = -(-height // rows) * -(-width // across)
    if len(offsets) != len(counts) or len(offsets) < per_plane * planes:
        return "it has not as many strips as its header says"
    for number, (offset, count) in enumerate(zip(offsets, counts, strict=True)):
        left = rows if tiled else min(rows, height - number % per_plane * rows)
        part = coded[offset : offset + count]
        if len(part) < count or not _holds(part, tags, row, left, rows):
            return f"part {number + 1} of {len(offsets)} does not hold all of its rows"
    return None


def _holds(part: bytes, tags: Any, row: int, left: int, rows: int) -> bool:
    """Tell whether a strip or tile has the rows that are left for it; it may have more, to `rows`.

    row: bytes of one row of pixels.
    """
    compression = tags.get(259, 1)
    try:
        if compression == 7:
            whole = tags[347][:-2] + part[2:] if 347 in tags else part
            height, _, colours, _ = simplejpeg.decode_jpeg_header(whole)
            said = "CMYK" if colours in ("CMYK", "YCCK") else "GRAY"
            simplejpeg.decode_jpeg(whole, said, min_height=1, min_width=1, strict=True)
            return height >= left and _scan_damage(whole) is None
        if compression in (8, 32946):
            inflated = _Inflated(row * rows)
            inflated.add(part)
            return inflated.ended and row * left <= inflated.count <= row * rows
        if compression == 32773:
            return row * left <= _unpacked_bytes(part) <= row * rows
    except (ValueError, zlib.error, struct.error, IndexError, KeyError):
        return False
    # libtiff tells what LZW lacks.
    return compression != 1 or len(part) >= row * left


def _unpacked_bytes(part: bytes) -> int:
    """Return how many bytes PackBits data unfold to, -1 where they end within a run (TIFF 6.0)."""
    place = count = 0
    while place < len(part):
        length = part[place]
        if length < 128:
            count += length + 1
            place += length + 2
        else:
            count += 257 - length if length > 128 else 0
            place += 2 if length > 128 else 1
    return count if place == len(part) else -1


_CHECKS = {"JPEG": _jpeg, "MPO": _jpeg, "PNG": _png, "WEBP": _webp, "BMP": _bmp, "TIFF": _tiff}
