"""Outputs appear complete or not at all."""

import errno
import os

import pytest

from detector.base.errors import ExpectedError
from detector.base.files import replacing


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_a_file_and_its_folder_appear_at_the_end(tmp_path):
    with replacing(tmp_path / "a/b/report.json") as path:
        assert path.suffix == ".json" and path.parent == tmp_path / "a/b"
        path.write_text("new")
        assert names(tmp_path / "a/b") == [".partial.report.json"]
    assert (tmp_path / "a/b/report.json").read_text() == "new"
    assert names(tmp_path) == ["a", "a/b", "a/b/report.json"]


def test_a_string_and_a_double_suffix(tmp_path):
    with replacing(str(tmp_path / "a.weights.h5")) as path:
        assert path.name == ".partial.a.weights.h5"
        path.touch()
    assert names(tmp_path) == ["a.weights.h5"]


def test_a_file_is_replaced(tmp_path):
    (tmp_path / "a").write_text("old")
    with replacing(tmp_path / "a") as path:
        path.write_text("new")
        assert (tmp_path / "a").read_text() == "old"
    assert (tmp_path / "a").read_text() == "new"


def test_a_folder_leaves_nothing_of_the_old_one(tmp_path):
    (tmp_path / "a").mkdir()
    (tmp_path / "a/old").touch()
    with replacing(tmp_path / "a") as path:
        path.mkdir()
        (path / "new").touch()
    assert names(tmp_path) == ["a", "a/new"]


@pytest.mark.parametrize("error", [ExpectedError("no"), KeyError(), KeyboardInterrupt()])
@pytest.mark.parametrize("kind", ["file", "folder", "nothing"])
def test_after_an_error_the_old_stays_and_nothing_else(tmp_path, error, kind):
    (tmp_path / "a").write_text("old")
    with pytest.raises(type(error)), replacing(tmp_path / "a") as path:
        if kind == "file":
            path.write_text("half")
        elif kind == "folder":
            path.mkdir()
            (path / "half").touch()
        raise error
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"


def test_what_a_killed_run_left_is_overwritten(tmp_path):
    (tmp_path / ".partial.a").mkdir()
    (tmp_path / ".partial.a/left").touch()
    with replacing(tmp_path / "a") as path:
        path.mkdir()
    assert names(tmp_path) == ["a"]


def test_a_full_disk(tmp_path):
    (tmp_path / "a").write_text("old")
    with pytest.raises(ExpectedError) as caught, replacing(tmp_path / "a") as path:
        path.write_text("half")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert str(caught.value).startswith(
        f"{tmp_path}/a: cannot be written (No space left on device); free some space"
    )
    assert names(tmp_path) == ["a"] and (tmp_path / "a").read_text() == "old"


def test_of_several_outs_the_one_that_fails_is_named(tmp_path):
    with (
        pytest.raises(ExpectedError, match=r"curves/a\.tsv: cannot be written \(File exists\)"),
        replacing(tmp_path / "curves") as curves,
        replacing(tmp_path / "table.csv") as table,
    ):
        table.touch()
        curves.mkdir()
        (curves / "a.tsv").mkdir()
        (curves / "a.tsv").mkdir()


def test_a_place_that_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ExpectedError, match="cannot be written"), replacing(tmp_path / "file/a"):
        pytest.fail("entered")
