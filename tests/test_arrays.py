"""The arrays of a split: what is written is read, and damage is noticed."""

import numpy as np
import pandas as pd
import pytest

from detector.base.arrays import SplitWriter, at_once, load_split, rows_of
from detector.base.errors import ExpectedError
from tests.helpers import random_pixels

COLUMNS = ("images", "labels", "classes", "names")


def images(n, seed=0, size=8):
    return np.stack([random_pixels(seed + i, size) for i in range(n)])


@pytest.fixture
def folder(tmp_path):
    with SplitWriter(tmp_path / "split", 8) as writer:
        writer.append(images(2), [1, 0], [9, -1], ["train/REAL/größe.jpg", "b"])
        writer.append(images(0 + 1, seed=2), [1], [0], ["c"])
    return tmp_path / "split"


def test_round_trip(folder):
    split = load_split(folder)
    assert np.array_equal(split.images, images(3))
    assert split.images.dtype == np.uint8 and isinstance(split.images, np.memmap)
    assert split.labels.tolist() == [1, 0, 1] and split.labels.dtype == np.uint8
    assert split.classes.tolist() == [9, -1, 0] and split.classes.dtype == np.int8
    assert [name.decode() for name in split.names] == ["train/REAL/größe.jpg", "b", "c"]
    assert len(split) == 3
    assert sorted(path.name for path in folder.iterdir()) == sorted(f"{c}.npy" for c in COLUMNS)


def test_the_files_are_those_of_numpy(folder):
    """The rewritten header is a whole one, and the bytes do not depend on the batches."""
    assert np.array_equal(np.load(folder / "images.npy"), images(3))
    with SplitWriter(folder.parent / "other", 8) as writer:
        writer.append(images(3), [1, 0, 1], [9, -1, 0], ["train/REAL/größe.jpg", "b", "c"])
    for column in COLUMNS:
        name = f"{column}.npy"
        assert (folder / name).read_bytes() == (folder.parent / "other" / name).read_bytes()


def test_rows_picked_by_a_mask_are_written_whole(tmp_path):
    source = images(6)
    with SplitWriter(tmp_path, 8) as writer:
        writer.append(source[::2], [0, 0, 0], [0, 0, 0], ["a", "b", "c"])  # not contiguous
    assert np.array_equal(load_split(tmp_path).images, source[::2])


@pytest.mark.parametrize("append", [False, True])
def test_no_rows(tmp_path, append):
    with SplitWriter(tmp_path, 8) as writer:
        if append:
            writer.append(images(1)[:0], [], [], [])
    split = load_split(tmp_path)
    assert len(split) == 0 and split.images.shape == (0, 8, 8, 3)


def test_nothing_whole_is_left_by_an_error(tmp_path):
    with pytest.raises(KeyError), SplitWriter(tmp_path, 8) as writer:
        writer.append(images(1), [0], [0], ["a"])
        raise KeyError
    with pytest.raises(ExpectedError):
        load_split(tmp_path)


def complaint(folder) -> str:
    with pytest.raises(ExpectedError) as caught:
        load_split(folder)
    assert str(caught.value).isprintable()
    return str(caught.value)


@pytest.mark.parametrize("column", COLUMNS)
def test_a_missing_file(folder, column):
    (folder / f"{column}.npy").unlink()
    assert complaint(folder).startswith(f"{folder}/{column}.npy: not a whole array")


@pytest.mark.parametrize("column", COLUMNS)
@pytest.mark.parametrize("bytes_left", [0, 5, 60, -1])
def test_a_truncated_file(folder, column, bytes_left):
    path = folder / f"{column}.npy"
    path.write_bytes(path.read_bytes()[:bytes_left])
    assert complaint(folder).startswith(f"{path}: not a whole array")


@pytest.mark.parametrize("column", COLUMNS)
def test_pickles_are_not_opened(folder, column):
    np.save(folder / f"{column}.npy", np.array([print, 1, 2], object), allow_pickle=True)
    assert "not a whole array" in complaint(folder)


@pytest.mark.parametrize("column", COLUMNS)
def test_arrays_of_other_lengths(folder, column):
    path = folder / f"{column}.npy"
    np.save(path, np.load(path)[:2])
    assert "do not belong together" in complaint(folder)


def test_images_of_another_kind(folder):
    np.save(folder / "images.npy", images(3).astype(np.float32))
    assert "do not belong together" in complaint(folder)
    np.save(folder / "images.npy", images(3)[..., 0])
    assert "do not belong together" in complaint(folder)
    np.save(folder / "labels.npy", np.uint8(1))
    assert "do not belong together" in complaint(folder)


@pytest.mark.parametrize(("size", "images"), [(32, 512), (8, 8192), (64, 128), (256, 8), (1024, 1)])
def test_larger_images_are_fewer_at_once(size, images):
    assert at_once(512, size) == images


def test_rows_of_several_splits_come_in_the_asked_order(tmp_path):
    source = images(6)
    places = [("train", 0), ("val", 0), ("train", 1), ("test", 0), ("val", 1), ("train", 2)]
    splits = {}
    for name in ("train", "val", "test"):
        rows = [i for i, (split, _) in enumerate(places) if split == name]
        with SplitWriter(tmp_path / name, 8) as writer:
            writer.append(source[rows], [0] * len(rows), [0] * len(rows), ["x"] * len(rows))
        splits[name] = load_split(tmp_path / name)
    table = pd.DataFrame(places, columns=["split", "row"])
    for order in ([5, 0, 3, 1, 4, 2], [4, 4, 0], []):
        asked = np.array(order, int)
        assert np.array_equal(rows_of(splits, table, asked), source[asked])
