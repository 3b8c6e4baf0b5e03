"""Which images are taken, why others are not, and what is said of their coding."""

import hashlib
import io
import os
import struct
import time
import zipfile

import numpy as np
import pytest
from PIL import Image

from detector.archives.zips import words
from detector.base.errors import ExpectedError
from detector.images import decode
from detector.images.decode import BadImage, decode_image, decode_members, read_member
from tests.helpers import coded, png, random_pixels, zip_of

PIXELS = random_pixels(1)
JPEG = coded(PIXELS, quality=75)


def reason(data: bytes, size: int = 32) -> str:
    """Give the reason of a refusal, which must be one line and the same every time."""
    reasons = set()
    for _ in range(2):
        with pytest.raises(ValueError) as caught:
            decode_image(data, size)
        reasons.add(str(caught.value))
    (text,) = reasons
    assert text and text.isprintable() and "at 0x" not in text and "_io" not in text
    return text


def frames(kind: str) -> bytes:
    images = [Image.fromarray(random_pixels(seed)) for seed in (1, 2)]
    return coded(images[0], kind, save_all=True, append_images=images[1:], lossless=True)


def many_pages(count: int) -> bytes:
    """Give a TIFF of `count` pages, each a header alone."""
    tags = ((256, 4, 32), (257, 4, 32), (258, 3, 8), (262, 3, 2), (273, 4, 8), (277, 3, 3))
    entries = b"".join(struct.pack("<HHLL", tag, kind, 1, value) for tag, kind, value in tags)
    data = bytearray(b"II*\0" + struct.pack("<L", 8))
    for page in range(count):
        after = len(data) + 2 + len(entries) + 4 if page + 1 < count else 0
        data += struct.pack("<H", len(tags)) + entries + struct.pack("<L", after)
    return bytes(data)


def test_a_jpeg():
    pixels, codec, _ = decode_image(JPEG, 32)
    assert pixels.shape == (32, 32, 3) and pixels.dtype == np.uint8
    assert np.array_equal(pixels, np.asarray(Image.open(io.BytesIO(JPEG))))
    assert codec == "JPEG quality 75 4:2:0"


@pytest.mark.parametrize(
    ("kind", "options"), [("PNG", {}), ("WEBP", {"lossless": True}), ("BMP", {}), ("TIFF", {})]
)
def test_lossless_coders_give_the_very_pixels(kind, options):
    pixels, codec, _ = decode_image(coded(PIXELS, kind, **options), 32)
    assert np.array_equal(pixels, PIXELS)
    assert codec == kind


@pytest.mark.parametrize("data", [b"", b"\0" * 100, random_pixels(0)])
def test_garbage(data):
    assert reason(bytes(data)) == "not a JPEG, PNG, WEBP, BMP, TIFF file"


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
def test_truncated_jpeg(share):
    text = reason(JPEG[: int(share * len(JPEG))])
    assert text.startswith("damaged (") or "truncated" in text.lower()


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "BMP", "TIFF"])
def test_other_truncated_files(kind):
    data = coded(PIXELS, kind)
    assert reason(data[: len(data) // 2]).startswith(("damaged (", "not a JPEG"))


def test_every_prefix_of_a_file_is_refused_in_one_line():
    for end in range(0, len(JPEG) - 2, 13):
        reason(JPEG[:end])


def test_wrong_size():
    assert reason(coded(random_pixels(1, 33))) == "33x33 pixels, not 32x32"
    assert reason(coded(PIXELS[:16])) == "32x16 pixels, not 32x32"


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_colour_mode_of_jpegs(mode):
    data = coded(Image.fromarray(PIXELS).convert(mode))
    assert reason(data) == f"colour mode {mode}, not RGB"


@pytest.mark.parametrize("mode", ["L", "P", "RGBA", "LA", "1"])
def test_colour_mode_of_pngs(mode):
    image = Image.fromarray(PIXELS).convert(mode)
    assert reason(coded(image, "PNG")) == f"colour mode {mode}, not RGB"


def test_16_bit_colour_is_not_cut_to_8_bits():
    row = b"\0" + np.arange(96, dtype=">u2").tobytes()  # filter type, then 32 RGB values
    assert reason(png(32, 32, 16, 2, row * 32)) == "more than 8 bits a channel"
    assert reason(coded(Image.new("I;16", (32, 32)), "PNG")) == "more than 8 bits a channel"
    assert decode_image(png(32, 32, 8, 2, (b"\0" + bytes(range(96))) * 32), 32)[1] == "PNG"


def test_animations():
    assert reason(frames("PNG")) == "animated, 2 frames"
    assert reason(frames("WEBP")) == "animated, 2 frames"
    assert reason(frames("TIFF")) == "2 pages"
    assert reason(frames("GIF")) == "GIF is not read here"


def test_pages_without_number_are_not_counted_for_hours():
    for data in (many_pages(200), many_pages(60_000)):  # which Pillow counts for 25 seconds
        start = time.monotonic()
        assert reason(data) == "100 pages"
        assert time.monotonic() - start < 5


def test_formats_that_start_other_programs_are_not_opened():
    data = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 32 32\n%%EndComments\n"
    assert reason(data) == "PostScript is not read here"


@pytest.mark.parametrize("side", [5_000, 60_000])  # the second is over Pillow's own limit
def test_a_decompression_bomb_is_never_decoded(side, monkeypatch):
    monkeypatch.setattr(Image.Image, "load", lambda _: pytest.fail("decoded"))
    data = png(side, side, 8, 2, b"")
    text = reason(data)
    said = {5_000: "5000x5000 pixels, not 32x32", 60_000: "more than 67,108,864 pixels"}
    assert text == said[side]


def test_lack_of_memory_is_no_fault_of_the_image(monkeypatch):
    def load(_):
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(MemoryError):
        decode_image(JPEG, 32)


def test_texts_of_errors_are_made_the_same_every_time():
    text = words(OSError(f"cannot use {io.BytesIO()}\nat all"))
    assert text == "cannot use"
    assert words(OSError()) == "OSError"
    assert words(OSError("a\nb")) == "a b"
    assert words(OSError("a\0\x1b[31mb")) == "a??[31mb"


def patched_zip(tmp_path, change) -> zipfile.ZipFile:
    """Open a zip with the member `a` after `change(bytes, offset of its directory entry)`."""
    path = zip_of(tmp_path / "a.zip", [("a", JPEG)])
    data = bytearray(path.read_bytes())
    change(data, data.index(b"PK\x01\x02"))
    path.write_bytes(data)
    return zipfile.ZipFile(path)


def member_reason(archive: zipfile.ZipFile) -> str:
    with archive, pytest.raises(ValueError) as caught:
        read_member(archive, "a")
    assert str(caught.value).isprintable()
    return str(caught.value)


def test_a_good_member(tmp_path):
    with zipfile.ZipFile(zip_of(tmp_path / "a.zip", [("a", JPEG)])) as archive:
        assert read_member(archive, "a") == JPEG


def test_an_empty_member(tmp_path):
    assert member_reason(zipfile.ZipFile(zip_of(tmp_path / "a.zip", [("a", b"")]))) == "empty file"


def test_an_encrypted_member(tmp_path):
    def encrypt(data, entry):
        data[6] |= 1
        data[entry + 8] |= 1

    assert member_reason(patched_zip(tmp_path, encrypt)) == "encrypted"


def test_a_member_with_a_wrong_checksum(tmp_path):
    def damage(data, entry):
        data[200] ^= 1  # of the image, which is stored as it is

    text = member_reason(patched_zip(tmp_path, damage))
    assert text == "damaged in the archive (Bad CRC-32 for file 'a')"


def test_a_member_of_an_unknown_compression(tmp_path):
    def compress(data, entry):
        data[8:10] = data[entry + 10 : entry + 12] = struct.pack("<H", 97)

    assert "not supported" in member_reason(patched_zip(tmp_path, compress))


def test_a_member_that_does_not_inflate(tmp_path):
    def compress(data, entry):
        data[8:10] = data[entry + 10 : entry + 12] = struct.pack("<H", zipfile.ZIP_DEFLATED)

    assert member_reason(patched_zip(tmp_path, compress)).startswith("damaged in the archive (Err")


def test_a_member_that_claims_too_much_is_not_read(tmp_path, monkeypatch):
    def swell(data, entry):
        data[entry + 24 : entry + 28] = struct.pack("<I", 33 * 2**20)

    archive = patched_zip(tmp_path, swell)
    monkeypatch.setattr(archive, "read", lambda _: pytest.fail("read"))
    assert member_reason(archive).startswith("claims 34603008 bytes, more than")


@pytest.fixture
def mixed(tmp_path):
    """11 members, of which numbers 3 and 7 cannot be used."""
    members = [(f"{i:02d}", coded(random_pixels(i), quality=60 + i)) for i in range(11)]
    members[3], members[7] = ("03", b""), ("07", b"garbage")
    return str(zip_of(tmp_path / "mixed.zip", members)), dict(members)


def joined(chunks):
    return (
        np.concatenate([chunk.images for chunk in chunks]),
        np.concatenate([chunk.features for chunk in chunks]),
        np.concatenate([chunk.moments for chunk in chunks]),
        *(
            [entry for chunk in chunks for entry in getattr(chunk, field)]
            for field in ("members", "file_bytes", "codecs", "digests", "bad")
        ),
    )


def test_members_are_decoded_in_the_given_order(mixed):
    archive, files = mixed
    order = ["10", "03", "00", "07", "05"]
    (chunk,) = decode_members(archive, order, 32)
    assert chunk.members == ["10", "00", "05"]
    assert chunk.file_bytes == [len(files[name]) for name in chunk.members]
    assert chunk.codecs == [f"JPEG quality {q} 4:2:0" for q in (70, 60, 65)]
    expected = [np.asarray(Image.open(io.BytesIO(files[name]))) for name in chunk.members]
    assert np.array_equal(chunk.images, expected)
    assert chunk.digests == [
        hashlib.blake2b(e.tobytes(), digest_size=16).digest() for e in expected
    ]
    assert [(bad.member, bad.reason) for bad in chunk.bad] == [
        ("03", "empty file"),
        ("07", "not a JPEG, PNG, WEBP, BMP, TIFF file"),
    ]


def test_many_chunks_in_many_processes_give_the_same_as_one(mixed, monkeypatch):
    archive, files = mixed
    one = joined(list(decode_members(archive, list(files), 32)))
    monkeypatch.setattr(decode, "CHUNK", 2)
    chunks = list(decode_members(archive, list(files), 32))
    assert len(chunks) == 6
    for first, second in zip(one, joined(chunks), strict=True):
        assert np.array_equal(first, second)


def test_another_archive_of_the_same_name(tmp_path, monkeypatch):
    for folder, name in (("a", "one"), ("b", "two")):
        zip_of(tmp_path / folder / "x.zip", [(name, JPEG)])
        monkeypatch.chdir(tmp_path / folder)
        (chunk,) = decode_members("x.zip", [name], 32)
        assert chunk.members == [name]
    path = zip_of(tmp_path / "b/x.zip", [("three", JPEG)])
    os.utime(path, ns=(0, 0))
    (chunk,) = decode_members("x.zip", ["three"], 32)
    assert chunk.members == ["three"]


def test_a_chunk_without_any_good_image(mixed):
    archive, _ = mixed
    (chunk,) = decode_members(archive, ["03"], 32)
    assert chunk.images.shape == (0, 32, 32, 3) and chunk.features.shape == (0, 15)
    assert chunk.bad == [BadImage("03", "empty file")]


def test_lack_of_memory_is_said(mixed, monkeypatch):
    archive, files = mixed

    def read(*_):
        raise MemoryError

    monkeypatch.setattr("zlib.crc32", read)
    with pytest.raises(ExpectedError, match="lack of memory"):
        list(decode_members(archive, list(files), 32))
