"""Image files damaged as disks, networks and programs damage them, and what becomes of them.

python -m tests.damaged_files --each 1000
"""

import argparse
import random
import struct
from collections import Counter
from collections.abc import Callable

import numpy as np
from PIL import Image

from detector.images.decode import decode_image
from tests.helpers import coded, png_chunk

SIZE = 32
CODERS: dict[str, tuple[str, dict]] = {
    "JPEG baseline": ("JPEG", {"quality": 75}),
    "JPEG progressive": ("JPEG", {"quality": 75, "progressive": True}),
    "PNG": ("PNG", {}),
    "WebP lossy": ("WEBP", {"quality": 80}),
    "WebP lossless": ("WEBP", {"lossless": True}),
    "TIFF": ("TIFF", {}),
    "TIFF Deflate": ("TIFF", {"compression": "tiff_adobe_deflate"}),
    "TIFF LZW": ("TIFF", {"compression": "tiff_lzw"}),
    "TIFF PackBits": ("TIFF", {"compression": "packbits"}),
    "TIFF JPEG": ("TIFF", {"compression": "jpeg"}),
    "BMP": ("BMP", {}),
}
# Coders and kinds of damage where a file can stay in order, and why.
UNTOLD = {
    ("JPEG baseline", "zeros"): "short zeros that are codes for as many blocks",
    ("JPEG progressive", "zeros"): "short zeros that are codes for as many blocks",
    ("WebP lossy", "zeros"): "arithmetic code: any bits are pixels",
    ("WebP lossless", "rows"): "prefix codes without a checksum: another size is other codes",
    ("WebP lossless", "zeros"): "prefix codes without a checksum: zeros are pixels",
    ("TIFF", "zeros"): "pixels without a checksum",
    ("TIFF LZW", "zeros"): "zeros are codes for as many bytes",
    ("TIFF PackBits", "zeros"): "zeros are codes for as many bytes",
    ("TIFF JPEG", "zeros"): "short zeros that are codes for as many blocks",
    ("BMP", "zeros"): "pixels without a checksum",
}
TAGS = {"height": 257, "offset": 273, "rows": 278, "count": 279}  # of a TIFF


def picture(seed: int, height: int = SIZE) -> Image.Image:
    """Give something smooth with edges and a little noise, as photographs are."""
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (6, 6, 3), dtype=np.uint8))
    large = np.asarray(small.resize((SIZE, SIZE), Image.Resampling.BICUBIC)).astype(int)
    large = large + rng.integers(-12, 13, large.shape)
    x, y, side = rng.integers(0, 20, 3)
    large[y : y + side, x : x + side] = rng.integers(0, 256, 3)
    return Image.fromarray(large.clip(0, 255).astype(np.uint8)[:height])


def content(coder: str, data: bytes) -> tuple[int, int]:
    """Give where the coded pixels of a file begin and end."""
    kind = CODERS[coder][0]
    if kind == "JPEG":
        start = data.index(b"\xff\xda")
        return start + 2 + int.from_bytes(data[start + 2 : start + 4]), len(data) - 2
    if kind == "PNG":
        start = data.index(b"IDAT")
        return start + 4, start + 4 + int.from_bytes(data[start - 4 : start])
    if kind == "WEBP":
        return 20 + (10 if coder == "WebP lossy" else 5), len(data)
    if kind == "BMP":
        return int.from_bytes(data[10:14], "little"), len(data)
    offset, count = (tiff_value(data, TAGS[name]) for name in ("offset", "count"))
    return offset, offset + count


def _tiff_entry(data: bytes, tag: int) -> int:
    (place,) = struct.unpack_from("<L", data, 4)
    (entries,) = struct.unpack_from("<H", data, place)
    places = range(place + 2, place + 2 + 12 * entries, 12)
    return next(p for p in places if data[p : p + 2] == struct.pack("<H", tag))


def tiff_value(data: bytes, tag: int) -> int:
    place = _tiff_entry(data, tag)
    kind, count = struct.unpack_from("<HL", data, place + 2)
    assert count == 1
    return struct.unpack_from("<H" if kind == 3 else "<L", data, place + 8)[0]


def with_tiff_value(data: bytes, tag: int, value: int) -> bytes:
    place = _tiff_entry(data, tag)
    return data[: place + 8] + struct.pack("<L", value) + data[place + 12 :]


def cut(rng: random.Random, coder: str, data: bytes) -> bytes:
    """Leave out the end of the coded pixels; the file ends as it should, and its sizes fit."""
    kind = CODERS[coder][0]
    start, end = content(coder, data)
    place = rng.randrange(start, end)
    if kind == "JPEG":
        return data[:place] + b"\xff\xd9"
    if kind == "PNG":
        return data[: start - 8] + png_chunk(b"IDAT", data[start:place]) + png_chunk(b"IEND", b"")
    if kind == "WEBP":
        data = data[:place] + bytes(place % 2)
        sizes = struct.pack("<L4s4sL", len(data) - 8, b"WEBP", data[12:16], place - 20)
        return data[:4] + sizes + data[20:]
    if kind == "BMP":
        return data[:2] + struct.pack("<L", place) + data[6:place]
    return with_tiff_value(data, TAGS["count"], place - start)


def zeros(rng: random.Random, coder: str, data: bytes) -> bytes:
    """Put zeros over a part of the coded pixels, as a file system does that lost a block."""
    start, end = content(coder, data)
    first, last = sorted(rng.sample(range(start, end + 1), 2))
    return data[:first] + bytes(last - first) + data[last:]


def rows(rng: random.Random, coder: str, data: bytes) -> bytes:
    """Say in the header of an image of fewer rows that it has SIZE of them."""
    kind, options = CODERS[coder]
    # JPEG and lossy WebP code blocks of 16 rows: more than 16 rows are as many blocks as 32.
    lossy = kind == "JPEG" or coder == "WebP lossy"
    image = picture(rng.randrange(10**6), rng.randrange(1, 17 if lossy else SIZE))
    data = coded(image, kind, **options)
    if kind == "JPEG":
        place = data.index(b"\xff\xc2" if "progressive" in options else b"\xff\xc0") + 5
        return data[:place] + struct.pack(">H", SIZE) + data[place + 2 :]
    if kind == "PNG":
        header = data[16:20] + struct.pack(">L", SIZE) + data[24:29]
        return data[:8] + png_chunk(b"IHDR", header) + data[33:]
    if coder == "WebP lossy":
        return data[:28] + struct.pack("<H", SIZE) + data[30:]
    if kind == "WEBP":
        (bits,) = struct.unpack_from("<L", data, 21)
        bits = bits & ~(0x3FFF << 14) | (SIZE - 1) << 14
        return data[:21] + struct.pack("<L", bits) + data[25:]
    if kind == "BMP":
        return data[:22] + struct.pack("<l", SIZE) + data[26:]
    data = with_tiff_value(data, TAGS["height"], SIZE)
    return with_tiff_value(data, TAGS["rows"], SIZE)


KINDS: dict[str, Callable[[random.Random, str, bytes], bytes]] = {
    "cut": cut,
    "zeros": zeros,
    "rows": rows,
}


def outcomes(coder: str, kind: str, each: int, seed: int = 0) -> Counter[str]:
    """Count what became of damaged files: `refused`, `same` (all pixels are there), `untold`.

    A file is untold when it is accepted with other pixels.
    """
    rng = random.Random(f"{coder} {kind} {seed}")
    counts: Counter[str] = Counter()
    while counts.total() < each:
        whole = coded(picture(rng.randrange(10**6)), CODERS[coder][0], **CODERS[coder][1])
        damaged = KINDS[kind](rng, coder, whole)
        if damaged == whole:
            continue
        try:
            pixels, *_ = decode_image(damaged, SIZE)
        except ValueError:
            counts["refused"] += 1
            continue
        same = kind != "rows" and np.array_equal(pixels, decode_image(whole, SIZE)[0])
        counts["same" if same else "untold"] += 1
    return counts


def main() -> None:
    """Print a table of all coders and kinds of damage."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--each", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(f"{'coder':<18}{'damage':<8}{'refused':>8}{'same':>6}{'untold':>7}  why a file can be so")
    for coder in CODERS:
        for kind in KINDS:
            found = outcomes(coder, kind, options.each, options.seed)
            row = f"{coder:<18}{kind:<8}{found['refused']:>8,}{found['same']:>6,}"
            print(f"{row}{found['untold']:>7,}  {UNTOLD.get((coder, kind), '')}", flush=True)


if __name__ == "__main__":
    main()
