"""Damaged images are refused with a word and sound ones are not, by every reader."""

import io
import random
import struct

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from detector.images.decode import decode_image, decode_members
from detector.images.external_images import decode_any
from detector.images.opener import open_picture
from detector.prediction.images import open_image
from tests.damaged_files import CODERS, KINDS, UNTOLD, content, cut, outcomes, picture
from tests.helpers import coded, png, png_chunk, zip_of

# Of 1,000 JPEGs with zeros over a part of them so many at most may be in order (about 40 are).
MOST_UNTOLD = 60


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("coder", CODERS)
def test_no_damage_is_passed_over(coder, kind):
    found = outcomes(coder, kind, 25)
    assert (coder, kind) in UNTOLD or not found["untold"]


@pytest.mark.soak
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("coder", CODERS)
def test_of_a_thousand_no_damage_is_passed_over(coder, kind):
    found = outcomes(coder, kind, 1000, seed=1)
    assert (coder, kind) in UNTOLD or not found["untold"]
    if coder.startswith("JPEG"):
        assert found["untold"] <= MOST_UNTOLD


@pytest.mark.parametrize("coder", CODERS)
def test_sound_files_keep_their_pixels(coder):
    kind, options = CODERS[coder]
    for seed in range(20):
        data = coded(picture(seed), kind, **options)
        pixels, _, changes = decode_image(data, 32)
        assert np.array_equal(pixels, Image.open(io.BytesIO(data))) and not changes


def jpeg_of_nine_tenths() -> bytes:
    data = coded(picture(1), quality=75)
    start, end = content("JPEG baseline", data)
    return data[: start + (end - start) // 10] + b"\xff\xd9"


def progressive_of_zeros() -> bytes:
    data = coded(picture(1), quality=75, progressive=True)
    start, end = content("JPEG progressive", data)
    middle = (start + end) // 2
    return data[:middle] + bytes(end - middle) + b"\xff\xd9"


def png_of_half() -> bytes:
    return png(32, 32, 8, 2, (b"\0" + bytes(range(96))) * 16)


CASES = {
    "scan.jpg": (jpeg_of_nine_tenths(), "damaged (premature end of data segment)"),
    "zeros.jpg": (progressive_of_zeros(), "damaged ("),
    "half.png": (png_of_half(), "damaged (it has not as many rows as its header says)"),
}


@pytest.mark.parametrize("name", CASES)
def test_every_reader_says_what_is_wrong(name, tmp_path):
    data, said = CASES[name]
    for read in (
        lambda: decode_image(data, 32),
        lambda: decode_any(data, 32, recode=False),
        lambda: open_image(data, 32),
    ):
        with pytest.raises(ValueError) as error:
            read()
        assert str(error.value).startswith(said) and str(error.value).isprintable()
    path = zip_of(tmp_path / "a.zip", [(name, data), ("good.jpg", coded(picture(2)))])
    (chunk,) = decode_members(str(path), [name, "good.jpg"], 32)
    assert chunk.members == ["good.jpg"] and chunk.bad[0].reason.startswith(said)


def test_of_a_progressive_jpeg_every_scan_must_be_there():
    data = coded(picture(3), quality=75, progressive=True)
    scans = [i for i in range(len(data)) if data[i : i + 2] == b"\xff\xda"]
    for place in scans[1:]:
        # A coder writes tables between its scans; what comes before them is one scan less.
        tables = data.rfind(b"\xff\xc4", 0, place)
        for end in {place, tables if tables > scans[0] else place}:
            with pytest.raises(
                ValueError, match=r"scans is missing|premature|Premature|bad Huffman"
            ):
                open_picture(data[:end] + b"\xff\xd9")


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
@pytest.mark.parametrize("progressive", [False, True])
def test_jpegs_of_other_colours_and_sizes(mode, progressive):
    image = picture(4).convert(mode).resize((53, 41))
    for options in ({"optimize": True}, {"restart_marker_blocks": 1}, {"quality": 100}):
        data = coded(image, progressive=progressive, **options)
        expected = Image.open(io.BytesIO(data)).convert("RGB")
        assert np.array_equal(open_picture(data).image, expected)
        with pytest.raises(ValueError, match=r"^damaged \(|truncated"):
            open_picture(data[: len(data) * 2 // 3] + b"\xff\xd9")


def test_zeros_that_the_codes_explain_are_in_order():
    """One colour, with tables of its own, is a scan of hardly anything but zeros."""
    for colour in ("white", "black", (10, 200, 30)):
        for size in ((512, 512), (2000, 8)):
            data = coded(Image.new("RGB", size, colour), optimize=True)
            assert open_picture(data).image.size == size


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "RGBA", "LA"])
@pytest.mark.parametrize("size", [(32, 32), (1, 1), (3, 5), (33, 9)])
def test_rows_of_a_png_are_counted(mode, size, interlaced):
    image = picture(5).convert(mode).resize(size)
    data = coded(image, "PNG")
    if interlaced:  # which Pillow does not write: passes of no more than one pixel are plain rows
        data = interlaced_png(*size)
    assert open_picture(data).image.size == size
    with pytest.raises(ValueError, match=r"^damaged \("):
        open_picture(data[: data.index(b"IEND") - 12])


def interlaced_png(width: int, height: int) -> bytes:
    rows = b""
    for x, y, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4),
                         (1, 0, 2, 2), (0, 1, 1, 2)):  # fmt: skip
        columns = len(range(x, width, dx))
        rows += b"".join(b"\0" + bytes(3 * columns) for _ in range(y, height, dy) if columns)
    data = png(width, height, 8, 2, rows)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 1)
    return data[:8] + png_chunk(b"IHDR", header) + data[33:]


def test_a_png_with_one_wrong_checksum_is_named_by_its_chunk():
    text = PngInfo()
    text.add_text("Comment", "made by hand")
    data = bytearray(coded(picture(6), "PNG", pnginfo=text))
    data[data.index(b"by hand")] ^= 1
    with pytest.raises(ValueError, match=r"^damaged \(its chunk tEXt has a wrong checksum\)"):
        open_picture(bytes(data))
    data = bytearray(coded(picture(6), "PNG"))
    data[data.index(b"IDAT") + 100] ^= 1
    with pytest.raises(ValueError, match="its chunk IDAT has a wrong checksum"):
        open_picture(bytes(data))


@pytest.mark.parametrize(
    "compression", [None, "tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg"]
)
@pytest.mark.parametrize("mode", ["L", "RGB", "RGBA", "CMYK", "P", "1"])
def test_tiffs_of_other_colours(mode, compression):
    if compression == "jpeg" and mode in ("P", "1", "RGBA"):
        return  # not what JPEG codes
    data = coded(picture(7).convert(mode).resize((50, 70)), "TIFF", compression=compression)
    if mode != "RGBA":  # whose alpha is flattened
        expected = Image.open(io.BytesIO(data)).convert("RGB")
        assert np.array_equal(open_picture(data).image, expected)
    assert open_picture(data).image.size == (50, 70)


def tiled(tiles: int) -> bytes:
    """Make a TIFF of 32x32 pixels that says it has `tiles` tiles of 16x16, each with its bytes."""
    tags = [(256, 32), (257, 32), (258, 8), (259, 1), (262, 1), (277, 1), (322, 16), (323, 16)]
    start = 8 + 2 + 12 * 10 + 4
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags)
    entries += struct.pack("<HHLL", 324, 4, tiles, start)
    entries += struct.pack("<HHLL", 325, 4, tiles, start + 4 * tiles)
    pixels = start + 8 * tiles
    offsets = struct.pack(f"<{tiles}L", *(pixels + 256 * i for i in range(tiles)))
    counts = struct.pack(f"<{tiles}L", *[256] * tiles)
    head = b"II*\0" + struct.pack("<LH", 8, 10) + entries + bytes(4)
    return head + offsets + counts + bytes(range(256)) * tiles


def test_tiles_of_a_tiff_are_counted():
    pixels = np.asarray(open_picture(tiled(4)).image)[:, :, 0]
    quarter = np.arange(256).reshape(16, 16)
    assert np.array_equal(pixels, np.tile(quarter, (2, 2)))
    with pytest.raises(ValueError, match="not as many strips"):
        open_picture(tiled(3))
    with pytest.raises(ValueError, match="part 4 of 4 does not hold all of its rows"):
        open_picture(tiled(4)[:-1])


def test_a_cut_file_of_a_large_photo_is_told():
    large = coded(picture(8).resize((900, 700)), quality=90)
    assert open_image(large, 32).pixels.shape == (32, 32, 3)
    with pytest.raises(ValueError, match="premature end"):
        open_image(cut(random.Random(1), "JPEG baseline", large), 32)
