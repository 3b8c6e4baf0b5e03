"""The table of predictions is read as it was written."""

import numpy as np
import pytest

from detector.base.arrays import Split
from detector.base.errors import ExpectedError
from detector.evaluation.predictions import (
    COLUMNS,
    predictions_table,
    read_predictions,
    write_predictions,
)


def split(n):
    names = np.array([f"test/REAL/größe, {i}.jpg".encode() for i in range(n)])
    return Split(
        np.zeros((n, 8, 8, 3), np.uint8),
        (np.arange(n) % 2).astype(np.uint8),
        (np.arange(n) % 11 - 1).astype(np.int8),
        names,
    )


def test_round_trip_to_the_last_bit(tmp_path):
    bits = np.random.default_rng(0).integers(0, 0x3F800001, 5000, dtype=np.uint32)  # 0 to 1
    probabilities = bits.view(np.float32)
    table = predictions_table("test", split(5000), probabilities)
    assert list(table.columns) == COLUMNS
    write_predictions(table, tmp_path / "a.csv")
    (read,) = read_predictions(tmp_path / "a.csv").values()
    assert read["probability"].dtype == np.float32
    assert np.array_equal(read["probability"].to_numpy().view(np.uint32), bits)
    assert read["name"].iat[3] == "test/REAL/größe, 3.jpg"
    for column in ("label", "cifar_class"):
        assert read[column].tolist() == table[column].tolist()


@pytest.mark.parametrize("content", [None, b"", b"a,b\n1,2,3\n1\n1,2,3,4\n", b"split,name\nx,y\n"])
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "a.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ExpectedError) as caught:
        read_predictions(path)
    assert str(caught.value).startswith(f"{path}: ") and str(caught.value).isprintable()


def test_the_file_byte_for_byte(tmp_path):
    table = predictions_table("val", split(2), np.array([0.1, 1], np.float32))
    write_predictions(table, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text() == (
        "split,name,label,cifar_class,probability\n"
        'val,"test/REAL/größe, 0.jpg",0,-1,0.100000001\n'
        'val,"test/REAL/größe, 1.jpg",1,0,1\n'
    )
