"""CIFAKE is told by its content, and what is not as published is named."""

import random

import pytest

from detector.archives import cifake
from detector.archives.cifake import difference, names
from detector.archives.settings import DataParams
from detector.base.layout import CIFAKE_SHA256, cifar_class, locate
from tests.kaggle_server import SMALL, KaggleServer, Place, content_sha256, use_kaggle


def test_its_names():
    found = names()
    assert len(found) == len(set(found)) == 120_000
    assert sorted(found) == found
    places = [locate(name) for name in found]
    assert {place: places.count(place) for place in set(places)} == {
        ("train", 0): 50_000, ("train", 1): 50_000, ("test", 0): 10_000, ("test", 1): 10_000,
    }  # fmt: skip
    assert {cifar_class(name) for name in found} == set(range(10))
    ends = {"train/FAKE/1000 (10).jpg", "train/FAKE/5999.jpg", "train/REAL/4999 (2).jpg"}
    assert ends | {"test/FAKE/0.jpg", "test/REAL/0000 (9).jpg", "test/FAKE/999.jpg"} <= set(found)


@pytest.fixture
def digests(monkeypatch, tmp_path):
    """Give such of made-up files, for which the checks are kept."""
    made = [(name, f"{i:064x}") for i, name in enumerate(names())]
    kept = "\n".join(cifake.checks([digest for _, digest in made]))
    (tmp_path / "cifake_checks.txt").write_text(kept)
    monkeypatch.setattr(cifake.resources, "files", lambda _: tmp_path)
    assert difference(made) == ""
    return made


def changed(digests, *rows):
    made = list(digests)
    for row in rows:
        made[row] = (made[row][0], "f" * 64)
    return difference(made)


def test_another_file_is_named(digests):
    for row in (0, 346, 347, 119_999, random.Random(1).randrange(120_000)):
        assert changed(digests, row) == f"another content has {names()[row]}"
    two_of_a_row = f"another content has {names()[1]}, {names()[300]}"
    assert changed(digests, 1, 300) == two_of_a_row
    across = changed(digests, 0, 348)
    assert (
        across
        == "another content has at least 2 of "
        + ", ".join([names()[0], names()[1], names()[347]])
        + " and 1 more"
    )


def test_a_missing_an_added_and_a_renamed_file_are_named(digests):
    assert difference(digests[1:]) == "it lacks test/FAKE/0 (10).jpg"
    more = [*digests, ("train/REAL/a.jpg", "0" * 64)]
    assert difference(more) == "it has besides train/REAL/a.jpg"
    assert difference(more[5:]) == (
        f"it lacks {', '.join(names()[:3])} and 2 more and it has besides train/REAL/a.jpg"
    )
    assert difference([digests[0], *digests]) == "it has some files twice"


def test_the_kept_checks_are_of_as_many_files():
    kept = cifake.resources.files("detector.archives").joinpath("cifake_checks.txt").read_text()
    assert len(kept.split()) == len(cifake.checks([""] * 120_000)) == 346 + 347


def test_nothing_else_goes_by_its_name(place: Place, kaggle: KaggleServer):
    given = {"path": "a", "kaggle": None, "image_size": 32, "cifar_class_in_name": True}
    for name, sha256, pinned in (
        ("Cifake", None, CIFAKE_SHA256),
        ("cifake", "a" * 64, CIFAKE_SHA256),
        ("mine", "a" * 64, "a" * 64),
        ("mine", None, None),
    ):
        assert DataParams(name=name, sha256=sha256, **given).pinned == pinned
    use_kaggle(place, name="cifake")
    message = place.fail()
    assert (
        f"{content_sha256(SMALL)}, not the pinned {CIFAKE_SHA256} (it lacks test/FAKE/" in message
    )
    assert "correct the pins in conf/data/data.yaml" in message
