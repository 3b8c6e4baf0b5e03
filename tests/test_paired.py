"""The tool that tests two results against each other."""

import shutil
import sys

import pytest

from benchmarks import paired
from detector.base.errors import ExpectedError
from tests.report_project import make_project


def start(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["paired", *map(str, arguments)])
    paired.main()


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return make_project(tmp_path_factory.mktemp("paired")) / "data/results"


def test_two_networks_and_one_with_itself(results, monkeypatch, capsys):
    first, second, *_ = sorted(results.iterdir())
    start(monkeypatch, first, second, "--resamples", 100)
    said = capsys.readouterr().out
    assert "McNemar's exact p" in said and "over corrupted images differs by" in said
    start(monkeypatch, first, first, "--resamples", 100)
    said = capsys.readouterr().out
    assert "differs by +0.00 points" in said and "p = 1" in said


def test_other_images_are_refused(results, monkeypatch, tmp_path):
    first, *_ = sorted(results.iterdir())
    other = tmp_path / "other"
    shutil.copytree(first, other)
    table = other / "test/predictions.csv"
    lines = table.read_text().splitlines()
    table.write_text("\n".join([*lines[:-1], lines[-1].replace("299.jpg", "other.jpg")]) + "\n")
    with pytest.raises(ExpectedError, match="judged different images"):
        start(monkeypatch, first, other)
