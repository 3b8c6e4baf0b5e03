"""Pictures in other layouts become an archive that the pipeline takes."""

import io
import re
import subprocess
import sys
import zipfile

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from detector.archives.archive import examine
from detector.base.errors import ExpectedError
from detector.pack import main
from tests.helpers import ROOT, coded, random_pixels, zip_of

COUNTS = {"train/nature": 5, "train/ai": 4, "val/nature": 3, "val/ai": 2}
PACKED = {"train": {"REAL": 5, "FAKE": 4}, "test": {"REAL": 3, "FAKE": 2}}


def picture(seed, width, height):
    pixels = random_pixels(seed, max(width, height))[:height, :width]
    return Image.fromarray(pixels)


@pytest.fixture
def genimage(tmp_path):
    """One generator in GenImage's layout: photographs are JPEGs of any size, the others PNGs."""
    folder = tmp_path / "GenImage/imagenet_ai_0419_sdv4"
    for place, count in COUNTS.items():
        (folder / place / "deeper").mkdir(parents=True)
        for i in range(count):
            photo = place.endswith("nature")
            size = (100 + 10 * i, 80) if photo else (64, 64)
            kind, suffix = ("JPEG", "JPEG") if photo else ("PNG", "png")
            file = folder / place / ("deeper" if i % 2 else "") / f"n{i:03}.{suffix}"
            file.write_bytes(coded(picture(i, *size), kind))
    (folder / "train/nature/.DS_Store").write_bytes(b"x")
    (folder / "train/ai/readme.txt").write_text("x")
    return folder


@pytest.fixture
def pack(tmp_path, monkeypatch, capsys):
    """Run the command in tmp_path; give the lines that it printed."""

    def packed(*options):
        monkeypatch.chdir(tmp_path)
        monkeypatch.setattr(sys, "argv", ["pack", *map(str, options)])
        capsys.readouterr()
        main()
        return capsys.readouterr().out.splitlines()

    return packed


def test_genimage(genimage, tmp_path, pack):
    lines = pack("out.zip", "--size", 48, "--genimage", genimage)
    assert examine(tmp_path / "out.zip", whole=True).images == PACKED
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        for name in archive.namelist():
            with Image.open(io.BytesIO(archive.read(name))) as image:
                assert (image.format, image.size, image.mode) == ("JPEG", (48, 48), "RGB")
    assert lines[-1] == "train/FAKE 4, train/REAL 5, test/FAKE 2, test/REAL 3"
    # What gave them away before
    assert any(line.startswith("warning: before packing, JPEG: 0.0% of FAKE") for line in lines)
    assert any("shorter side of FAKE images is 64 pixels, that of REAL ones 80" in x for x in lines)
    assert lines[0].endswith("out.bad_files.csv: 2 (1 .txt, 1 no suffix)")
    first = (tmp_path / "out.zip").read_bytes()
    pack("out.zip", "--size", 48, "--genimage", genimage)
    assert (tmp_path / "out.zip").read_bytes() == first


def test_the_middle_of_a_picture_is_kept(tmp_path, pack):
    pixels = np.zeros((40, 120, 3), np.uint8)
    pixels[:, 40:80] = 200
    folders = []
    for name in ("train-real", "train-fake", "test-real", "test-fake"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.png").write_bytes(coded(Image.fromarray(pixels), "PNG"))
        folders += [f"--{name}", name]
    pack("out.zip", "--size", 16, *folders)
    with zipfile.ZipFile(tmp_path / "out.zip") as archive:
        image = np.asarray(Image.open(io.BytesIO(archive.read("test/FAKE/0000000.jpg"))))
    assert abs(image.astype(int) - 200).max() <= 2


def test_a_limit_is_spread_over_all_sources(genimage, tmp_path, pack):
    other = zip_of(
        tmp_path / "more.zip", [(f"x/{i}.png", coded(picture(i, 64, 64), "PNG")) for i in range(4)]
    )
    lines = pack(
        "out.zip", "--size", 32, "--genimage", genimage, "--train-fake", other,
        "--limit", 3, "--quality", 75,
    )  # fmt: skip
    assert lines[-1] == "train/FAKE 3, train/REAL 3, test/FAKE 2, test/REAL 3"


def test_files_that_cannot_be_used(genimage, tmp_path, pack):
    (genimage / "train/ai/broken.png").write_bytes(b"no image")
    arguments = ("out.zip", "--size", 32, "--genimage", genimage)
    with pytest.raises(ExpectedError, match=r"train/ai/broken\.png': not a JPEG"):
        pack(*arguments)
    assert not (tmp_path / "out.zip").exists()
    lines = pack(*arguments, "--drop")
    assert "images that cannot be used, listed in out.bad_files.csv: 1 (1 not a JPEG" in lines[1]
    assert examine(tmp_path / "out.zip", whole=True).images == PACKED
    table = pd.read_csv(tmp_path / "out.bad_files.csv")
    assert len(table) == 3 and table["member"][0].endswith("train/ai/broken.png")


def folder_of_a_telephone(folder):
    """Write 10 files of each kind that a folder of photographs may have; read are the first three.

    The names of two kinds of those are no suffix of an image.
    """
    photo = picture(1, 48, 48)
    kinds = {
        "jfif": coded(photo), "jpe": coded(photo), "": coded(photo, "PNG"),
        "heic": b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99), "avif": coded(photo, "AVIF"),
        "gif": coded(photo, "GIF"), "jp2": coded(photo, "JPEG2000"),
        "jxl": b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(99),
        "dng": coded(photo, "TIFF", tiffinfo={50706: b"\1\4\0\0"}),
        "txt": b"Where these were taken",
    }  # fmt: skip
    folder.mkdir()
    for suffix, content in kinds.items():
        for i in range(10):
            (folder / f"{suffix}{i}.{suffix}".removesuffix(".")).write_bytes(content)


def test_no_file_is_dropped_in_silence(tmp_path, pack):
    folder_of_a_telephone(tmp_path / "phone")
    (tmp_path / "phone/album").symlink_to(tmp_path, target_is_directory=True)
    (tmp_path / "other").mkdir()
    (tmp_path / "other/a.bmp").write_bytes(coded(picture(2, 20, 20), "BMP"))
    folders = [f"--{split}-{kind}" for split in ("train", "test") for kind in ("real", "fake")]
    arguments = ["out.zip", "--size", 16]
    for option in folders:
        arguments += [option, "phone" if option == "--train-real" else "other"]
    with pytest.raises(ExpectedError, match=r"mend these images, 60 in all, or leave them out"):
        pack(*arguments)
    assert not (tmp_path / "out.zip").exists()
    lines = pack(*arguments, "--drop")
    assert lines[0].startswith("files that are no images, listed in out.bad_files.csv: 11 (10 .txt")
    assert lines[1].startswith("images that cannot be used, listed in out.bad_files.csv: 60 (")
    for kind in ("AVIF", "GIF", "HEIC", "JPEG 2000", "JPEG XL", "a raw file of a camera"):
        assert kind in pd.read_csv(tmp_path / "out.bad_files.csv")["reason"].str.cat()
    assert lines[-1] == "train/FAKE 1, train/REAL 30, test/FAKE 1, test/REAL 1"
    table = pd.read_csv(tmp_path / "out.bad_files.csv")
    assert len(table) == 71 and table["reason"].notna().all()


@pytest.mark.parametrize("bad", [False, True])
def test_exit_codes_are_those_of_predict(bad, tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/good.png").write_bytes(coded(picture(2, 20, 20), "PNG"))
    if bad:
        (tmp_path / "a/bad.gif").write_bytes(coded(picture(2, 20, 20), "GIF"))
    command = [
        sys.executable,
        "-m",
        "detector.pack",
        tmp_path / "out.zip",
        "--size",
        "16",
        "--drop",
    ]
    for option in ("--train-real", "--train-fake", "--test-real", "--test-fake"):
        command += [option, tmp_path / "a"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == (1 if bad else 0) and not ended.stderr
    assert ("GIF is not read here" in ended.stdout) == bad


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--size", 4], "--size 4: must be 8 to 1024"),
        (["--size", 32], "no pictures for test/FAKE: give --test-fake"),
        (["--size", 32, "--genimage", "nowhere"], "nowhere/train/ai: no such folder, and no zip"),
    ],
)
def test_a_wrong_command_line(options, said, tmp_path, pack):
    with pytest.raises(ExpectedError, match=f"^{re.escape(said)}"):
        pack("out.zip", *options)
    assert not list(tmp_path.iterdir())
