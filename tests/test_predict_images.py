"""Image files become what a network takes, with plain warnings; many at once, in order."""

import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from detector.base.errors import ExpectedError
from detector.deployment.familiarity import limits, statistics, unfamiliar
from detector.images import colour
from detector.images import opener as images
from detector.images.decode import decode_image
from detector.prediction import images as module
from detector.prediction.images import Source, open_image, open_sources, read_image
from tests.helpers import coded, png, random_pixels

PIXELS = random_pixels(3)


def picture(width: int, height: int) -> bytes:
    return coded(Image.fromarray(random_pixels(4, 300)).crop((0, 0, width, height)), "PNG")


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "BMP", "TIFF"])
def test_an_image_of_the_right_size_keeps_its_pixels_and_gets_no_warning(kind):
    data = coded(PIXELS, kind)
    opened = open_image(data, 32)
    assert np.array_equal(opened.pixels, decode_image(data, 32)[0])
    assert opened.codec == decode_image(data, 32)[1]
    assert opened[2:] == (32, 32, (), ())


def test_resized_and_cropped_images_say_so():
    opened = open_image(picture(200, 100), 32)
    assert opened.pixels.shape == (32, 32, 3) and (opened.width, opened.height) == (200, 100)
    reduced, cropped = opened.warnings
    assert reduced.startswith("200x100 pixels, reduced to 32x32")
    assert cropped.startswith("not square: 50 % of it")
    (enlarged,) = open_image(picture(16, 16), 32).warnings
    assert enlarged.startswith("16x16 pixels, enlarged to 32x32")
    (cropped,) = open_image(picture(32, 33), 32).warnings
    assert cropped.startswith("not square: 3 % of it")
    # A part of a percent is not none.
    assert open_image(picture(299, 300), 32).warnings[1].startswith("not square: 1 % of it")


def test_the_size_is_that_of_the_network():
    assert open_image(picture(64, 64), 64).warnings == ()
    assert open_image(coded(PIXELS), 64).pixels.shape == (64, 64, 3)


def test_what_else_was_done_to_an_image_is_a_warning_only_where_it_may_matter():
    grey = open_image(coded(Image.fromarray(PIXELS).convert("L"), "PNG"), 32)
    assert grey.changes == ("greyscale",) and grey.warnings[0].startswith("a greyscale file")
    opaque = open_image(coded(Image.fromarray(PIXELS).convert("RGBA"), "PNG"), 32)
    assert opaque.changes == ("opaque alpha dropped",) and opaque.warnings == ()
    clear = Image.new("RGBA", (32, 32), (10, 20, 30, 0))
    assert open_image(coded(clear, "PNG"), 32).warnings == ("transparent places were made white",)
    exif = Image.Exif()
    exif[0x0112] = 6
    assert open_image(coded(PIXELS, exif=exif), 32).warnings == ()


def test_every_change_that_is_worded_is_one_that_decoding_makes():
    source = "".join(Path(one.__file__).read_text(encoding="utf-8") for one in (images, colour))
    assert all(f'"{change}"' in source for change in module._WORDS)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "empty file"),
        (b"text", "not a JPEG, PNG"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "SVG is not read here"),
        (coded(PIXELS)[:700], "damaged ("),
        (png(60_000, 60_000, 8, 2, b""), "more than 67,108,864 pixels"),
        (coded(PIXELS, "GIF"), "GIF is not read here"),
    ],
)
def test_what_is_no_usable_image_says_why(data, reason):
    with pytest.raises(ValueError) as error:
        open_image(data, 32)
    assert str(error.value).startswith(reason)


def test_too_large_a_file_is_not_read(tmp_path, monkeypatch):
    path = tmp_path / "large.jpg"
    with open(path, "wb") as file:
        file.truncate(10 * 2**30)  # a hole: takes no space, and no memory if it is not read
    with pytest.raises(ValueError, match=r"has 10,737,418,240 bytes; at most 67,108,864 are read"):
        read_image(path)
    monkeypatch.setattr(module, "MAXIMUM_BYTES", 10)
    with pytest.raises(ValueError, match="has 11 bytes; at most 10 are read"):
        open_image(bytes(11), 32)


def test_only_regular_files_are_opened(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")  # opening it would wait for a writer
    for path in (tmp_path / "pipe.jpg", "/dev/zero", tmp_path):
        with pytest.raises(ValueError, match="not a regular file"):
            read_image(path)
    with pytest.raises(ValueError, match="cannot be read \\(No such file"):
        read_image(tmp_path / "none.jpg")
    (tmp_path / "loop.jpg").symlink_to(tmp_path / "loop.jpg")
    with pytest.raises(ValueError, match="cannot be read \\(Too many levels"):
        read_image(tmp_path / "loop.jpg")


def many(folder, count: int) -> list[Source]:
    """Write images of one grey each, every seventh damaged."""
    sources = []
    for i in range(count):
        data = b"damaged" if i % 7 == 3 else coded(np.full((32, 32, 3), i % 251, np.uint8), "BMP")
        path = folder / f"{i:04d}.bmp"
        path.write_bytes(data)
        sources.append(Source(str(path)))
    return sources


def test_many_images_come_in_order_whatever_opens_them(tmp_path, monkeypatch):
    sources = many(tmp_path, 300)
    sources[10] = Source("-", coded=coded(np.full((32, 32, 3), 77, np.uint8), "PNG"))
    sources[11] = Source("gone", error="no such file")
    alone = list(open_sources(sources, 32))
    assert len(alone) == 1
    monkeypatch.setattr(module, "CHUNK_IMAGES", 16)
    monkeypatch.setattr(module, "AHEAD", 1)
    parted = list(open_sources(sources, 32))
    assert len(parted) == 19 and max(len(chunk.entries) for chunk in parted) == 16
    assert [e for chunk in parted for e in chunk.entries] == alone[0].entries
    pixels = np.concatenate([chunk.pixels for chunk in parted])
    assert np.array_equal(pixels, alone[0].pixels)
    entries = alone[0].entries
    assert [entry.name for entry in entries] == [source.name for source in sources]
    bad = [i for i, entry in enumerate(entries) if entry.error]
    assert bad == sorted({*range(3, 300, 7), 11} - {10}) and entries[11].error == "no such file"
    expected = [77 if i == 10 else i % 251 for i in range(300) if i not in bad]
    assert pixels[:, 0, 0, 0].tolist() == expected


def test_large_files_are_tasks_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_BYTES", 5000)  # a bitmap here has 3,126 bytes
    tasks = list(module._tasks([Source("gone.bmp"), *many(tmp_path, 3)]))
    assert [len(task) for task in tasks] == [2, 1, 1]


def test_warnings_of_familiarity_follow_those_of_the_file(tmp_path):
    values = statistics(np.stack([random_pixels(i) for i in range(50)]))
    known = limits(np.tile(values, (20, 1)), {"PNG": 1000})
    black = np.zeros((32, 32, 3), np.uint8)
    sources = [
        Source("a", coded=b"damaged"),
        Source("b", coded=coded(black, "PNG")),
        Source("c", coded=coded(random_pixels(7), "PNG")),
        Source("d", coded=coded(random_pixels(7), "BMP")),
        Source("e", coded=coded(random_pixels(7, 64), quality=30)),
    ]
    (chunk,) = open_sources(sources, 32, known)
    of_black, of_noise, *_ = unfamiliar(chunk.pixels, known)
    assert chunk.entries[3].warnings == ("coded as BMP, the training images as PNG",)
    reduced, of_coder, *_ = chunk.entries[4].warnings
    assert reduced.startswith("64x64 pixels") and of_coder.startswith("coded as JPEG quality 30")
    assert chunk.entries[0].warnings == () and chunk.entries[2].warnings == of_noise == ()
    assert chunk.entries[1].warnings == of_black and any("darker" in text for text in of_black)


def test_no_images_are_no_chunks():
    assert list(open_sources([], 32)) == []


def test_a_killed_process_is_told_in_a_sentence(tmp_path, monkeypatch):
    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    sources = many(tmp_path, 20)
    monkeypatch.setattr(module, "CHUNK_IMAGES", 5)
    monkeypatch.setattr(module, "open_image", die)
    with pytest.raises(ExpectedError, match="most likely for lack of memory"):
        list(open_sources(sources, 32))


def test_a_lack_of_memory_is_not_the_images_fault(monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    monkeypatch.setattr(module, "decode_any", fail)
    with pytest.raises(MemoryError):
        list(open_sources([Source("a", coded=coded(PIXELS))], 32))
