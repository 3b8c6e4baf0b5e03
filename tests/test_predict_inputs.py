"""`python -m detector predict`: which images are meant by what is given, odd names included."""

import csv
import io
import os

import pytest

from tests.helpers import coded
from tests.predicting import BRIGHT, command, files, make_model, put, replace_network


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"))


@pytest.fixture
def loaded(monkeypatch) -> list[str]:
    """Replace the network; gives the paths that were loaded."""
    return replace_network(monkeypatch)


@pytest.fixture
def predict(tmp_path, archive, loaded, monkeypatch):
    return command(tmp_path, archive, monkeypatch)


def test_a_folder_means_all_images_below_it_sorted(predict, tmp_path):
    for name in ("b.JPG", "a.png", "sub/c.webp", "sub/.hidden.png", ".git/d.png", "__MACOSX/e.png"):
        put(tmp_path / "in" / name)
    for name in ("notes.txt", "x.txt", "photo.heic", "noname"):
        (tmp_path / "in" / name).write_bytes(b"text")
    (tmp_path / "in/loop").symlink_to(tmp_path / "in")
    done = predict("--json", "in")
    assert files(done) == ["in/a.png", "in/b.JPG", "in/sub/c.webp"]
    notes = done.stderr.splitlines()
    assert notes[0].startswith("note: 4 files in folders passed over")
    assert notes[0].endswith(": 2 .txt, 1 without a suffix, 1 .heic")
    assert notes[1:] == [
        "note: 3 hidden files or folders passed over", "note: 1 link to folders not followed",
    ]  # fmt: skip
    assert files(predict("--json", f"{tmp_path}/in/loop/sub")) == [f"{tmp_path}/in/loop/sub/c.webp"]


def test_a_folder_without_images_is_told(predict, tmp_path):
    (tmp_path / "empty/deep").mkdir(parents=True)
    put(tmp_path / "a.png")
    done = predict("empty", "a.png", code=1)
    assert "empty: no file in this folder ends in .jpg" in done.stderr and "REAL" in done.stdout


def test_patterns_are_expanded_and_names_that_exist_are_not(predict, tmp_path):
    for name in ("in/b.png", "in/a.png", "in/deep/c.png", "in/[ab].png"):
        put(tmp_path / name)
    assert files(predict("--json", "in/?.png")) == ["in/a.png", "in/b.png"]
    assert files(predict("--json", "in/[ab].png")) == ["in/[ab].png"]
    done = predict("--json", "in/**/*")
    assert files(done) == ["in/[ab].png", "in/a.png", "in/b.png", "in/deep/c.png"]
    assert "no file matches this pattern" in predict("*.gif", code=1).stderr


def test_a_file_is_answered_once(predict, tmp_path):
    put(tmp_path / "in/a.png")
    done = predict("--json", "in/a.png", "in", "./in/a.png", f"{tmp_path}/in/a.png")
    assert files(done) == ["in/a.png"]
    assert done.stderr == "note: 3 repeated names: each file is answered once\n"
    done = predict("--json", "-", "-", input=coded(BRIGHT))
    assert files(done) == ["-"] and "1 repeated name" in done.stderr


def test_standard_input(predict):
    assert "REAL" in predict("-", input=coded(BRIGHT)).stdout
    assert "  -: empty file" in predict("-", input=b"", code=1).stderr
    assert "  -: not a JPEG" in predict("-", input=b"text", code=1).stderr


@pytest.mark.parametrize("name", ["https://host/a.jpg", "HTTP://host", "s3://b/a.png", "file:///a"])
def test_web_addresses_are_refused_with_a_word(predict, tmp_path, loaded, name):
    put(tmp_path / "a.png")
    done = predict("a.png", name, code=2)
    assert done.stdout == "" and loaded == []
    assert done.stderr == (
        f"error: {name}: web addresses are not fetched; save the image and name its file\n"
    )


NAMES = {
    "line\nend.png": "line\\nend.png",
    "red\x1b[31m\x07.png": "red\\x1b[31m\\x07.png",
    "right\u202eleft.png": "right\\u202eleft.png",
    "caf\udce9.png": "caf\\xe9.png",
    "käse 猫.png": "käse 猫.png",
}


@pytest.mark.parametrize("name", NAMES)
def test_odd_names_are_escaped_for_people_and_kept_for_programs(predict, tmp_path, name):
    put(tmp_path / "in" / name)
    (tmp_path / f"in/bad{name}").write_bytes(b"text")
    done = predict("in", code=1)
    assert f"  in/{NAMES[name]}\n" in done.stdout
    assert f"  in/bad{NAMES[name]}: not a JPEG" in done.stderr
    assert "\x1b" not in done.output and len(done.stderr.splitlines()) == 2
    assert files(predict("--json", "in", code=1)) == [f"in/bad{name}", f"in/{name}"]
    raw = predict("--csv", "in", code=1).stdout_bytes
    rows = csv.DictReader(io.StringIO(raw.decode("utf-8", "surrogateescape"), newline=""))
    assert [os.fsencode(row["file"]) for row in rows] == [
        os.fsencode(f"in/bad{name}"), os.fsencode(f"in/{name}"),
    ]  # fmt: skip
