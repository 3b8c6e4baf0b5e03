"""One opener for all readers: how images are turned and coloured, and what is named by its kind."""

import io
import json
import struct

import numpy as np
import pytest
from PIL import Image, ImageCms
from PIL.PngImagePlugin import PngInfo

from detector.base.layout import locate
from detector.base.params import read_tree
from detector.images.decode import decode_image
from detector.images.external_images import decode_any
from detector.images.kinds import is_image
from detector.images.opener import open_picture
from detector.params import validate
from detector.prediction.images import open_image
from stages import preprocess
from tests.helpers import FOLDERS, coded, composed_params, png_chunk, random_pixels, zip_of

PIXELS = random_pixels(7)
PICTURE = Image.fromarray(PIXELS)
READERS = {
    "preprocess": lambda data: decode_image(data, 32),
    "external": lambda data: decode_any(data, 32, recode=False),
    "predict": lambda data: open_image(data, 32),
}
# Name and file of what is not read, and what must be said of it.
UNREAD = {
    "heic": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "HEIC is not read here"),
    "mif1": (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic" + bytes(99), "HEIC is not read here"),
    "avif": (coded(PICTURE, "AVIF"), "AVIF is not read here"),
    "mif1 avif": (b"\0\0\0\x1cftypmif1\0\0\0\0mif1miafavif" + bytes(99), "AVIF is not read here"),
    "gif": (coded(PICTURE, "GIF"), "GIF is not read here"),
    "jp2": (coded(PICTURE, "JPEG2000"), "JPEG 2000 is not read here"),
    "jxl": (b"\xff\x0a" + bytes(99), "JPEG XL is not read here"),
    "psd": (b"8BPS\0\1" + bytes(99), "a Photoshop file (PSD) is not read here"),
    "cr3": (b"\0\0\0\x18ftypcrx " + bytes(99), "a raw file of a camera is not read here"),
    "svg": (b"<?xml version='1.0'?>\n<svg/>", "SVG is not read here"),
    "html": (b"<!DOCTYPE html><html>", "a web page is not read here"),
    "zip": (b"PK\3\4" + bytes(99), "an archive (zip, rar, 7z, gz) is not read here"),
    "lfs": (b"version https://git-lfs.github.com/spec/v1\n", "a pointer of Git LFS instead of the"),
    "deep.jpg": (
        b"\xff\xd8\xff\xc0" + struct.pack(">HBHHB", 17, 12, 32, 32, 3) + bytes(99),
        "12-bit JPEG is not read here",
    ),
    "ls.jpg": (b"\xff\xd8\xff\xf7" + bytes(99), "JPEG-LS is not read here"),
    "float.tif": (coded(PICTURE.convert("F"), "TIFF"), "floating-point TIFF is not read here"),
    "preview.tif": (coded(PICTURE, "TIFF", tiffinfo={254: 1}), "a raw file of a camera, of which"),
    "nothing": (bytes(99), "not a JPEG, PNG, WEBP, BMP, TIFF file"),
}


def tiff_of(bits: int, samples: int, sample_format: int) -> bytes:
    tags = ((256, 32), (257, 32), (258, bits), (259, 1), (262, 2), (273, 8), (277, samples),
            (278, 32), (279, 0), (339, sample_format))  # fmt: skip
    entries = b"".join(struct.pack("<HHLL", tag, 4, 1, value) for tag, value in tags)
    return b"II*\0" + struct.pack("<LH", 8, len(tags)) + entries + bytes(4)


UNREAD["float RGB.tif"] = (
    tiff_of(32, 3, 3),
    "a TIFF of 3 x 32-bit floating-point numbers a pixel is not read here",
)


_HEADER = struct.pack("<LllHHLLllLL", 40, 32, 32, 1, 8, 1, 64, 0, 0, 256, 0)
UNREAD["runs.bmp"] = (
    b"BM" + struct.pack("<LLL", 1142, 0, 1078) + _HEADER + bytes(1024) + b"\x20\7\0\0" * 32,
    "BMP compressed by run lengths is not read here",
)
UNREAD["group4.tif"] = (
    coded(PICTURE.convert("1"), "TIFF", compression="group4"),
    "TIFF compressed by group4 is not read here",
)


@pytest.mark.parametrize("reader", READERS)
@pytest.mark.parametrize("name", UNREAD)
def test_what_is_not_read_is_named_by_its_kind(name, reader):
    data, said = UNREAD[name]
    with pytest.raises(ValueError) as error:
        READERS[reader](data)
    assert str(error.value).startswith(said)


def test_images_are_told_from_other_files_by_their_first_bytes():
    others = ("html", "zip", "lfs", "nothing")
    assert {name for name, (data, _) in UNREAD.items() if not is_image(data[:512])} == set(others)
    for kind in ("JPEG", "PNG", "WEBP", "BMP", "TIFF"):
        assert is_image(coded(PIXELS, kind)[:512])


def test_jpe_and_jfif_are_jpegs():
    assert locate("train/REAL/a.jpe") == locate("train/REAL/A.JFIF") == ("train", 1)


@pytest.mark.parametrize("reader", READERS)
def test_a_png_with_much_text_is_named_in_words(reader):
    text = PngInfo()
    text.add_text("workflow", "x" * (3 << 20), zip=True)
    with pytest.raises(ValueError, match=r"^a PNG with more text in it than is read \(1 MiB"):
        READERS[reader](coded(PICTURE, "PNG", pnginfo=text))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_all_readers_turn_an_image_the_same_way(kind, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = coded(PIXELS, kind, exif=exif, **lossless)
    pixels, _, changes = decode_image(data, 32)
    assert np.array_equal(pixels, decode_any(data, 32, recode=False).pixels)
    assert np.array_equal(pixels, open_image(data, 32).pixels)
    plain = decode_image(coded(PIXELS, kind, **lossless), 32)[0]
    turned = {
        1: plain, 2: plain[:, ::-1], 3: plain[::-1, ::-1], 4: plain[::-1],
        5: plain.transpose(1, 0, 2), 6: np.rot90(plain, -1),
        7: np.rot90(plain, 2).transpose(1, 0, 2), 8: np.rot90(plain),
    }[orientation]  # fmt: skip
    assert np.array_equal(pixels, turned)
    assert changes == (("rotated by EXIF",) if orientation > 1 else ())


def profile_of(gamma: float, matrix: tuple[tuple[float, ...], ...]) -> bytes:
    """Make an ICC profile (version 2.1) of RGB by the XYZ of its primaries and one exponent."""

    def fixed(*values: float) -> bytes:
        return b"".join(struct.pack(">l", round(value * 65536)) for value in values)

    curve = b"curv" + bytes(4) + struct.pack(">LH", 1, round(gamma * 256)) + bytes(2)
    named = {b"wtpt": b"XYZ " + bytes(4) + fixed(0.9642, 1, 0.8249)}
    for channel, primary in zip("rgb", matrix, strict=True):
        named[f"{channel}XYZ".encode()] = b"XYZ " + bytes(4) + fixed(*primary)
        named[f"{channel}TRC".encode()] = curve
    offset = 128 + 4 + 12 * len(named)
    table, content = struct.pack(">L", len(named)), b""
    for tag, value in named.items():
        table += tag + struct.pack(">LL", offset + len(content), len(value))
        content += value
    head = struct.pack(">L4sL4s4s4s", offset + len(content), bytes(4), 0x02100000, b"mntr", b"RGB ",
                       b"XYZ ") + bytes(12) + b"acsp"  # fmt: skip
    return head + bytes(28) + fixed(0.9642, 1, 0.8249) + bytes(48) + table + content


# Adapted to D50, as in the profiles that systems have.
SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
P3 = ((0.5151, 0.2412, -0.0011), (0.2919, 0.6922, 0.0419), (0.1572, 0.0666, 0.7841))
LINEAR = profile_of(1.0, SRGB)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_all_readers_apply_a_colour_profile(kind):
    lossless = {"lossless": True} if kind == "WEBP" else {}
    data = coded(PIXELS, kind, icc_profile=LINEAR, **lossless)
    pixels, _, changes = decode_image(data, 32)
    assert changes == ("colour profile applied",)
    plain = np.asarray(Image.open(io.BytesIO(data))) / 255
    expected = 255 * np.where(
        plain <= 0.0031308, 12.92 * plain, 1.055 * np.power(plain, 1 / 2.4) - 0.055
    )  # IEC 61966-2-1
    assert np.abs(pixels - expected).max() <= 2
    opened = open_image(data, 32)
    assert np.array_equal(pixels, opened.pixels) and opened.changes == changes
    assert opened.warnings == ("its colours, of another profile than sRGB, were converted to sRGB",)
    assert np.array_equal(pixels, decode_any(data, 32, recode=False).pixels)


def test_a_profile_of_srgb_leaves_the_pixels():
    by_lcms = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    data = coded(PIXELS, "PNG", icc_profile=by_lcms)
    pixels, _, changes = decode_image(data, 32)
    assert np.array_equal(pixels, PIXELS) and changes == ()
    wide = open_picture(coded(PIXELS, "PNG", icc_profile=profile_of(2.2, P3)))
    assert wide.changes == ("colour profile applied",)
    # A red of P3 lies outside of sRGB; greys are those of sRGB but for its curve.
    red = Image.new("RGB", (8, 8), (200, 60, 60))
    (level, *others), *_ = np.asarray(
        open_picture(coded(red, "PNG", icc_profile=profile_of(2.2, P3))).image
    )[0]
    assert level > 205 and max(others) < 60


def test_profiles_of_other_modes(recwarn):
    for mode, change in (("P", "palette"), ("RGBA", "opaque alpha dropped")):
        image = PICTURE.convert(mode)
        found = open_picture(coded(image, "PNG", icc_profile=LINEAR))
        plain = open_picture(coded(image, "PNG"))
        assert set(found.changes) == {"colour profile applied", change}
        expected = open_picture(coded(plain.image, "PNG", icc_profile=LINEAR)).image
        assert np.array_equal(found.image, expected)
    grey = open_picture(coded(PICTURE.convert("L"), "PNG", icc_profile=LINEAR))
    assert grey.changes == ("greyscale", "colour profile applied")
    broken = open_picture(coded(PIXELS, "PNG", icc_profile=b"icc" * 9))
    assert broken.changes == ("colour profile unreadable",)
    assert np.array_equal(broken.image, PIXELS)
    assert not recwarn.list


@pytest.mark.parametrize(
    ("kind", "content", "other"),
    [
        (b"gAMA", struct.pack(">L", 100_000), True),
        (b"gAMA", struct.pack(">L", 45_455), False),
        (b"cICP", bytes((9, 16, 0, 1)), True),
        (b"cICP", bytes((1, 13, 0, 1)), False),
    ],
)
def test_colours_that_a_png_describes_otherwise_are_said(kind, content, other):
    data = coded(PIXELS, "PNG")
    data = data[:33] + png_chunk(kind, content) + data[33:]
    said = ("colours described in a way that is not read",) if other else ()
    found = open_picture(data)
    assert found.changes == said and np.array_equal(found.image, PIXELS)
    assert len(open_image(data, 32).warnings) == len(said)


def test_the_audit_counts_what_was_done(tmp_path, monkeypatch):
    exif = Image.Exif()
    exif[0x0112] = 3
    members = [
        (f"{place}/{i}.png", coded(random_pixels(10 * n + i), "PNG", **(
            {"exif": exif} if i < 2 and place == "test/FAKE" else
            {"icc_profile": LINEAR} if i == 3 and place.endswith("REAL") else {})))
        for n, place in enumerate(FOLDERS) for i in range(10)
    ]  # fmt: skip
    monkeypatch.chdir(tmp_path)
    composed_params(tmp_path, "data=archive", "data.path=x.zip", "data.image_size=32")
    name = validate(read_tree()).data.name
    zip_of(tmp_path / f"data/raw/{name}.zip", members)
    for folder in ("metrics", "plots/data"):
        (tmp_path / folder).mkdir(parents=True)
    preprocess.main()
    report = json.loads((tmp_path / "data/audit.json").read_text())
    assert report["converted"] == {
        "FAKE": {"rotated by EXIF": 2},
        "REAL": {"colour profile applied": 2},
    }
    said = [text for text in report["warnings"] if text.startswith("rotated by EXIF: ")]
    assert said[0].startswith("rotated by EXIF: 2 FAKE and 0 REAL images")
