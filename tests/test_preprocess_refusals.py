"""What the stage preprocess refuses as a whole, in one line and with nothing left behind."""

from pathlib import Path

import pytest

from detector.base import program
from stages import preprocess
from tests.helpers import FOLDERS, composed_params, image_members, make_archive, patch, zip_of

RAW = Path("data/raw/sample.zip")


@pytest.fixture
def place(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    composed_params(tmp_path)
    return tmp_path


def refused(capsys) -> str:
    """Run the stage; give its one line on stderr after it left nothing behind."""
    with pytest.raises(SystemExit) as caught:
        program.run(preprocess.main)
    (line,) = str(caught.value.code).splitlines()
    assert line.startswith("error: ")
    assert {str(path) for path in Path("data").rglob("*")} <= {"data/raw", str(RAW)}
    assert not list(Path().rglob(".partial*"))
    assert not [path for name in ("metrics", "plots") for path in Path(name).rglob("*.*")]
    return line


@pytest.mark.parametrize("missing", FOLDERS)
def test_a_class_that_is_missing_in_one_split(place, capsys, missing):
    zip_of(RAW, [m for m in image_members(5) if not m[0].startswith(missing)])
    assert refused(capsys) == (
        f"error: {RAW}: no image in {missing}; "
        "pack it as train/REAL, train/FAKE, test/REAL, test/FAKE"
    )


def test_an_empty_class(place, capsys):
    members = [m for m in image_members(5) if "REAL" not in m[0]]
    zip_of(RAW, [*members, ("train/REAL/", b""), ("test/REAL/", b"")])
    assert "no image in train/REAL" in refused(capsys)


def test_an_empty_zip(place, capsys):
    zip_of(RAW, [])
    assert "no image in train/FAKE" in refused(capsys)


def test_an_archive_that_is_missing(place, capsys):
    Path("data").mkdir()
    assert "not a readable zip" in refused(capsys)


def test_a_file_that_is_no_zip(place, capsys):
    RAW.parent.mkdir(parents=True)
    RAW.write_bytes(b"<html>" * 1000)
    assert "not a readable zip" in refused(capsys)


@pytest.mark.parametrize("share", [0, 0.5, 0.99])
def test_a_truncated_zip(place, capsys, share):
    make_archive(RAW, each=5)
    data = RAW.read_bytes()
    RAW.write_bytes(data[: int(share * len(data))])
    assert "not a readable zip" in refused(capsys)


def test_a_zip_of_a_later_version(place, capsys):
    make_archive(RAW, each=5)

    def later(data, local, entry):
        data[entry + 6] = 99

    patch(RAW, "train/REAL/0000.jpg", later)
    assert "not a readable zip" in refused(capsys)


def test_too_few_images_for_a_validation_set(place, capsys):
    make_archive(RAW, each=1)
    assert "so: train/FAKE has 1, and both parts need one" in refused(capsys)


@pytest.mark.parametrize(
    ("choice", "words"),
    [
        ("error", "20 of its files cannot be used, first 'test/FAKE/0000.jpg' (32x32 pixels, not"),
        ("drop", "no usable FAKE image is left for train"),
    ],
)
def test_all_images_of_another_size(place, capsys, choice, words):
    composed_params(place, "data.image_size=64", f"preprocess.on_bad_image={choice}")
    make_archive(RAW, each=5)
    assert words in refused(capsys)


def test_a_class_of_which_nothing_usable_is_left(place, capsys):
    composed_params(place, "preprocess.on_bad_image=drop")
    members = [(n, b"bad" if n.startswith("test/REAL") else data) for n, data in image_members(5)]
    zip_of(RAW, members)
    assert "no usable REAL image is left for test" in refused(capsys)


def test_a_wrong_params_file(place, capsys):
    make_archive(RAW, each=5)
    Path("params.yaml").write_text("seed: 1\n")
    assert "params.yaml: data: is missing" in refused(capsys)
