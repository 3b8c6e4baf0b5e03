"""What a file is that is not read here, by its first bytes and its header, in words for a message.

The first bytes are those of https://www.garykessler.net/library/file_sigs.html and of the formats'
own specifications; brands of ISO base media files are registered at https://mp4ra.org.
"""

import io
import re
import struct

from PIL import Image, TiffImagePlugin

_HERE = "is not read here"

# First bytes of images, and what they begin. The first that fits counts.
_IMAGES = (
    (rb"GIF8", "GIF"),
    (rb"\xff\x0a|\0\0\0\x0cJXL ", "JPEG XL"),
    (rb"\xff\x4f\xff\x51|\0\0\0\x0cjP", "JPEG 2000"),
    (rb"II\xbc\x01", "JPEG XR"),
    (rb"\xff\xd8\xff\xf7", "JPEG-LS"),
    (rb"(II|MM).{6}CR\x02|....ftypcrx|FUJIFILMCCD-RAW|IIR[OS]|IIU\0", "a raw file of a camera"),
    (rb"....ftyp(avif|avis|(mif1|msf1)....(....){0,8}avi[fs])", "AVIF"),
    (rb"....ftyp(hei[cxms]|hev[cxms]|mif1|msf1)", "HEIC"),
    (rb"8BPS", "a Photoshop file (PSD)"),
    (rb"\0\0[\1\2]\0", "an icon (ICO)"),
    (rb"icns", "an icon (ICNS)"),
    (rb"P[1-7fF]\s", "a portable pixmap (PNM)"),
    (rb"\x76\x2f\x31\x01", "OpenEXR"),
    (rb"#\?RADIANCE", "Radiance HDR"),
    (rb"DDS ", "DDS"),
    (rb"qoif", "QOI"),
    (rb"SIMPLE  =", "FITS"),
    (rb"BPG\xfb", "BPG"),
    (rb"(?i)\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?(<!doctype svg|<svg)", "SVG"),
)
_OTHERS = (
    (rb"....ftyp|\x1aE\xdf\xa3|RIFF....AVI ", "a video"),
    (rb"%PDF", "PDF"),
    (rb"%!PS|\xc5\xd0\xd3\xc6", "PostScript"),
    (rb"PK\x03\x04|Rar!|7z\xbc\xaf|\x1f\x8b", "an archive (zip, rar, 7z, gz)"),
    (rb"version https://git-lfs", "a pointer of Git LFS instead of the image"),
    (rb"(?i)\s*<(!doctype html|html|head)", "a web page"),
)
LOOKED_AT = 512  # bytes of a file, for its kind

_OURS = re.compile(rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|BM|II[*+]\0|MM\0[*+]", re.DOTALL)

# The header of a JPEG's image (ITU-T T.81, table B.1), with its bits a channel.
_FRAME = re.compile(rb"\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]..(.)", re.DOTALL)

# Tags of a TIFF, and the kinds of compression of which damage can be told; see damage.py.
_BITS, _COMPRESSION, _SAMPLES, _SUBFILE, _FORMAT, _DNG = 258, 259, 277, 254, 339, 50706
_COMPRESSIONS = {1: "none", 5: "LZW", 7: "JPEG", 8: "Deflate", 32773: "PackBits", 32946: "Deflate"}


def is_image(beginning: bytes) -> bool:
    """Return whether a file begins as an image does, read here or not."""
    return bool(_OURS.match(beginning)) or _named(beginning, _IMAGES) is not None


def _named(beginning: bytes, known: tuple[tuple[bytes, str], ...]) -> str | None:
    beginning = beginning[:LOOKED_AT]
    return next((name for first, name in known if re.match(first, beginning, re.DOTALL)), None)


def unread(coded: bytes) -> str | None:
    """Return why a file that Pillow does not open is not read, None where that is unknown."""
    if name := _named(coded, _IMAGES + _OTHERS):
        return f"{name} {_HERE}"
    if coded.startswith(b"\xff\xd8\xff"):
        return _odd_jpeg(coded)
    if coded[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
        return _odd_tiff(coded)
    return None


def _odd_jpeg(coded: bytes) -> str | None:
    frame = _FRAME.search(coded)
    if frame is None:
        return "damaged (a JPEG without the header of its image)"
    bits = frame[1][0]
    return f"{bits}-bit JPEG {_HERE}" if bits != 8 else None


def _odd_tiff(coded: bytes) -> str | None:
    """Read the tags of a TIFF that Pillow refuses."""
    try:
        tags = TiffImagePlugin.ImageFileDirectory_v2(
            coded[: 16 if 43 in coded[2:4] else 8]
        )  # BigTIFF: 43
        file = io.BytesIO(coded)
        file.seek(tags.next)
        tags.load(file)
        bits, samples = tags.get(_BITS, (1,)), tags.get(_SAMPLES, 1)
        kind = "floating-point" if 3 in tags.get(_FORMAT, ()) else "whole"
    except MemoryError:
        raise
    except (ValueError, KeyError, TypeError, OSError, SyntaxError, struct.error):
        return None
    return f"a TIFF of {samples} x {max(bits)}-bit {kind} numbers a pixel {_HERE}"


def kind_of(image: Image.Image) -> str | None:
    """Return why an image that Pillow opens is not read: what it is, None for no reason."""
    if image.format == "BMP" and image.info.get("compression") in (1, 2):
        return f"BMP compressed by run lengths {_HERE}"
    if image.format != "TIFF":
        return None
    tags = image.tag_v2
    if _DNG in tags or tags.get(_SUBFILE, 0) & 1:
        return f"a raw file of a camera, of which TIFF shows a preview, {_HERE}"
    if tags.get(_COMPRESSION, 1) not in _COMPRESSIONS:
        return f"TIFF compressed by {image.info.get('compression', 'an unknown way')} {_HERE}"
    return "floating-point TIFF is not read here" if image.mode == "F" else None
