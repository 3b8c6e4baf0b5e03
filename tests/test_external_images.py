"""Images of every kind are brought to the size of the network, or refused with a reason."""

import io
import tracemalloc

import numpy as np
import pytest
from PIL import Image, ImageCms

from detector.external.sets import label_of
from detector.images.decode import decode_image
from detector.images.external_images import decode_any, read_file
from tests.helpers import coded, png, random_pixels
from tests.raw_zip import LINK, bomb, member, raw_zip

PIXELS = random_pixels(7)
PICTURE = Image.fromarray(PIXELS)
LARGE = Image.fromarray(random_pixels(8, 64))


def test_an_image_of_the_size_of_the_network_keeps_its_pixels():
    for kind in ("PNG", "BMP", "TIFF", "JPEG"):
        data = coded(PIXELS, kind)
        found = decode_any(data, 32, recode=False)
        expected, codec, _ = decode_image(data, 32)
        assert np.array_equal(found.pixels, expected) and found.codec == codec
        assert found[2:] == (32, 32, ())


@pytest.mark.parametrize("size", [(64, 64), (100, 37), (33, 200), (20, 24)])
def test_the_middle_square_is_resized_by_pillow(size):
    image = Image.fromarray(random_pixels(1, 200)).crop((0, 0, *size))
    side = min(size)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    middle = Image.fromarray(np.asarray(image)[top : top + side, left : left + side])
    expected = middle.resize((32, 32), Image.Resampling.BICUBIC)
    found = decode_any(coded(image, "PNG"), 32, recode=False)
    assert np.array_equal(found.pixels, np.asarray(expected))
    assert (found.width, found.height) == size
    assert ("cropped to a square" in found.changes) == (size[0] != size[1])
    assert ("enlarged" in found.changes) == (side < 32)


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", [1, 2, 3, 6, 8])
def test_turned_as_exif_says(kind, orientation):
    """Coloured corners, so that the JPEG coder moves nothing."""
    corners = np.zeros((32, 32, 3), np.uint8)
    corners[:16, 16:, 0] = corners[16:, :16, 1] = corners[16:, 16:, 2] = 255
    exif = Image.Exif()
    exif[0x0112] = orientation
    lossless = {"lossless": True} if kind == "WEBP" else {}
    found = decode_any(coded(corners, kind, exif=exif, **lossless), 32, recode=False)
    expected = {
        1: corners,
        2: corners[:, ::-1],
        3: corners[::-1, ::-1],
        6: np.rot90(corners, -1),
        8: np.rot90(corners),
    }[orientation]
    assert np.abs(found.pixels.astype(int) - expected).mean() < 8
    assert found.changes == (("rotated by EXIF",) if orientation > 1 else ())


def test_a_turned_image_has_the_size_that_it_is_looked_at_in():
    exif = Image.Exif()
    exif[0x0112] = 6
    found = decode_any(coded(LARGE.crop((0, 0, 64, 40)), exif=exif), 32, recode=False)
    assert (found.width, found.height) == (40, 64)


@pytest.mark.parametrize("exif", [b"no tags", b"XX*\0\x08\0\0\0", b"II*\0\xff\xff\xff\x7f"])
def test_damaged_exif_does_not_cost_the_image(exif, recwarn):
    for kind in ("PNG", "JPEG"):
        data = coded(PIXELS, kind, exif=b"Exif\0\0" + exif)
        found = decode_any(data, 32, recode=False)
        unreadable = kind == "PNG" and not exif.startswith(b"II")  # else Pillow finds no tags
        assert found.changes == (("EXIF unreadable",) if unreadable else ())
        assert np.array_equal(found.pixels, np.asarray(Image.open(io.BytesIO(data))))
    assert not [w for w in recwarn.list if w.filename.endswith("external_images.py")]


def test_transparent_places_become_white():
    alpha = np.zeros((32, 32), np.uint8)
    alpha[:8], alpha[8:16] = 255, 128
    image = PICTURE.convert("RGBA")
    image.putalpha(Image.fromarray(alpha))
    found = decode_any(coded(image, "PNG"), 32, recode=False)
    assert found.changes == ("alpha flattened",)
    assert np.array_equal(found.pixels[:8], PIXELS[:8])
    expected = PIXELS[8:16] * (128 / 255) + 255 * (127 / 255)
    assert np.abs(found.pixels[8:16] - expected).max() <= 1
    assert (found.pixels[16:] == 255).all()


def test_alpha_that_hides_nothing_is_dropped():
    found = decode_any(coded(PICTURE.convert("RGBA"), "PNG"), 32, recode=False)
    assert found.changes == ("opaque alpha dropped",) and np.array_equal(found.pixels, PIXELS)


def palette_with_a_hole() -> bytes:
    image = Image.new("P", (32, 32), 0)
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.paste(1, (0, 0, 16, 32))
    return coded(image, "PNG", transparency=0)


def test_other_colour_modes_become_rgb_and_are_counted():
    for mode, change in (("L", "greyscale"), ("1", "greyscale"), ("P", "palette")):
        image = PICTURE.convert(mode)
        found = decode_any(coded(image, "PNG"), 32, recode=False)
        assert found.changes == (change,)
        assert np.array_equal(found.pixels, np.asarray(image.convert("RGB")))
    data = coded(PICTURE.convert("CMYK"))
    found = decode_any(data, 32, recode=False)
    expected = Image.open(io.BytesIO(data)).convert("RGB")
    assert found.changes == ("CMYK",) and np.array_equal(found.pixels, np.asarray(expected))
    found = decode_any(palette_with_a_hole(), 32, recode=False)
    assert found.changes == ("palette", "alpha flattened")
    assert (
        found.pixels[0, 0].tolist() == [200, 100, 0] and found.pixels[0, 31].tolist() == [255] * 3
    )
    both = coded(PICTURE.convert("LA"), "PNG")
    assert decode_any(both, 32, recode=False).changes == ("greyscale", "opaque alpha dropped")


def test_of_a_phones_file_with_several_pictures_the_first_is_taken():
    data = coded(
        PICTURE, "MPO", save_all=True, append_images=[Image.new("RGB", (32, 32))], quality=75
    )
    with Image.open(io.BytesIO(data)) as image:
        assert image.format == "MPO" and image.n_frames == 2
        expected = np.asarray(image)
    found = decode_any(data, 32, recode=False)
    assert np.array_equal(found.pixels, expected)
    assert found.codec == "JPEG quality 75 4:2:0"
    assert found.changes == ("first picture of several",)


def test_recoding_is_resizing_and_then_the_jpeg_coder():
    for data in (coded(PIXELS, "PNG"), coded(LARGE, "PNG"), coded(PIXELS, quality=30)):
        found = decode_any(data, 32, recode=True)
        plain = decode_any(data, 32, recode=False)
        again = Image.open(io.BytesIO(coded(plain.pixels, quality=75, subsampling="4:2:0")))
        assert np.array_equal(found.pixels, np.asarray(again.convert("RGB")))
        assert found.codec == plain.codec  # of the file, for the audit


ANIMATED = {"save_all": True, "append_images": [Image.new("RGB", (32, 32))]}
LAB = ImageCms.applyTransform(
    PICTURE,
    ImageCms.buildTransform(
        ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), "RGB", "LAB"
    ),
)
# Name and file of a member that cannot be used, and what must be said of it.
BAD = {
    "REAL/animated.png": (coded(PICTURE, "PNG", **ANIMATED), "animated, 2 frames"),
    "REAL/animated.webp": (coded(PICTURE, "WEBP", **ANIMATED), "animated, 2 frames"),
    "REAL/bomb.png": (png(60_000, 60_000, 8, 2, b""), "more than 67,108,864 pixels"),
    "REAL/deep.png": (png(32, 32, 16, 2, bytes(32 * 193)), "more than 8 bits a channel"),
    "REAL/deepalpha.png": (png(32, 32, 16, 6, bytes(32 * 257)), "more than 8 bits a channel"),
    "REAL/deepgrey.png": (png(32, 32, 16, 0, bytes(32 * 65)), "more than 8 bits a channel"),
    "REAL/empty.jpg": (b"", "empty file"),
    "REAL/float.tif": (coded(PICTURE.convert("F"), "TIFF"), "floating-point TIFF is not read here"),
    "REAL/garbage.jpg": (bytes(range(256)), "not a JPEG, PNG"),
    "REAL/gif.png": (coded(PICTURE, "GIF"), "GIF is not read here"),
    "REAL/lab.tif": (coded(LAB, "TIFF"), "colour mode LAB, which cannot be made RGB"),
    "REAL/large.png": (png(12_000, 12_000, 8, 2, b""), "more than 67,108,864 pixels"),
    "REAL/larger.png": (png(8_193, 8_192, 8, 2, b""), "more than 67,108,864 pixels"),
    "REAL/note.txt": (b"text", "the name does not end in .jpg"),
    "REAL/pages.tif": (coded(PICTURE, "TIFF", **ANIMATED), "2 pages"),
    "REAL/phone.heic": (b"ftypheic", "the name does not end in .jpg"),
    "REAL/program.jpg": (b"%!PS-Adobe-3.0 EPSF-3.0\n", "PostScript is not read here"),
    "REAL/truncated.jpg": (coded(PIXELS)[:900], "damaged (Premature end of JPEG file)"),
    "REAL/truncated.png": (coded(PIXELS, "PNG")[:900], "damaged (it ends within its chunk IDAT)"),
    "photo.jpg": (coded(PIXELS), "not below a folder called REAL or FAKE"),
}


@pytest.mark.parametrize("name", [name for name, (data, _) in BAD.items() if data])
def test_unusable_files_say_why(name, recwarn):
    data, reason = BAD[name]
    if reason.startswith(("the name", "not below")):
        with pytest.raises(ValueError, match=reason):
            assert label_of(name) is None
    else:
        with pytest.raises(ValueError) as error:
            decode_any(data, 32, recode=False)
        assert str(error.value).startswith(reason) and "0x" not in str(error.value)
    assert not recwarn.list


def test_a_zip_is_read_no_further_than_its_directory_says(tmp_path):
    path = tmp_path / "a.zip"
    path.write_bytes(
        raw_zip([bomb("a.png", 100 << 20, said=110_000), member("b.png", b"x", mode=LINK)])
    )
    tracemalloc.start()
    with pytest.raises(ValueError, match="does not have the 110000 bytes that it says"):
        read_file(str(path), "a.png")
    assert tracemalloc.get_traced_memory()[1] < 4 << 20
    tracemalloc.stop()
    with pytest.raises(ValueError, match=r"^a link, not a file"):
        read_file(str(path), "b.png")


def test_the_largest_image_is_not_refused_for_its_size():
    with pytest.raises(ValueError, match="not as many rows"):  # it has no pixels
        decode_any(png(8_192, 8_192, 8, 2, b""), 32, recode=False)


def test_a_lack_of_memory_does_not_count_as_a_bad_image(monkeypatch):
    def load(*_):
        raise MemoryError

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", load)
    with pytest.raises(MemoryError):
        decode_any(coded(PIXELS), 32, recode=False)
