"""The file of a model: equal bytes for equal content, and one sentence for any other file."""

import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from pydantic import ValidationError

from detector.base.errors import ExpectedError
from detector.deployment import model_archive
from detector.deployment.model_archive import (
    EDGES,
    ResultOnTest,
    Scores,
    read_description,
    unpacked_weights,
    write_model,
)
from tests.helpers import patch, zip_of
from tests.model_files import described
from tests.raw_zip import LINK, member, overlapping, raw_zip, zip64

WEIGHTS = bytes(range(256)) * 10_000  # two and a half chunks


@pytest.fixture
def model(tmp_path) -> Path:
    (tmp_path / "weights").write_bytes(WEIGHTS)
    write_model(tmp_path / "cnn32.zip", described(), tmp_path / "weights")
    return tmp_path / "cnn32.zip"


def sentence(function, path) -> str:
    """Give the one sentence that refuses the file."""
    with pytest.raises(ExpectedError) as raised:
        function(path)
    text = str(raised.value)
    assert text.startswith(f"{path}: ") and "\n" not in text
    return text


def weights_of(path) -> bytes:
    with unpacked_weights(path) as file:
        assert file.endswith(".weights.h5")
        return Path(file).read_bytes()


def test_what_was_written_comes_back(model):
    assert read_description(model) == described()
    assert read_description(str(model)).decision.threshold == 0.1 + 0.2
    assert weights_of(model) == WEIGHTS


def test_equal_content_makes_equal_bytes(model, tmp_path):
    os.utime(tmp_path / "weights", (0, 0))
    write_model(tmp_path / "again.zip", described(), tmp_path / "weights")
    assert (tmp_path / "again.zip").read_bytes() == model.read_bytes()


def test_other_programs_can_read_it(model):
    with zipfile.ZipFile(model) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["model.json", "weights.h5"]
        assert json.loads(archive.read("model.json"))["decision"]["temperature"] == 1.25
        assert {i.compress_type for i in archive.infolist()} == {zipfile.ZIP_STORED}
        assert {i.date_time for i in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def test_unpacked_weights_are_gone_after_the_block_whatever_happens(model):
    with pytest.raises(RuntimeError), unpacked_weights(model) as file:
        assert os.path.exists(file)
        raise RuntimeError
    assert not os.path.exists(os.path.dirname(file))


def test_missing_file(tmp_path):
    assert "no such model" in sentence(read_description, tmp_path / "none.zip")
    assert "no such model" in sentence(read_description, tmp_path)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04", b"<html>not found</html>" * 100])
def test_what_is_no_zip_is_refused(tmp_path, content):
    (tmp_path / "a.zip").write_bytes(content)
    assert "no whole zip" in sentence(read_description, tmp_path / "a.zip")


def test_every_truncation_is_refused(model, tmp_path):
    data = model.read_bytes()
    short = tmp_path / "short.zip"
    for length in [*range(0, len(data), 200_001), len(data) - 30, len(data) - 1]:
        short.write_bytes(data[:length])
        sentence(read_description, short)


@pytest.mark.parametrize(
    ("members", "text"),
    [
        ([], "holds nothing"),
        ([("train/REAL/a.jpg", b"")], "holds 'train/REAL/a.jpg' and not"),
        ([("model.json", b"{}")], "holds 'model.json' and not"),
        ([("model.json", b""), ("weights.h5", b""), ("../evil", b"")], "holds '../evil'"),
        ([("model.json", b""), ("model.json", b"")], "holds 'model.json', 'model.json'"),
    ],
)
def test_a_zip_with_other_members_is_refused(tmp_path, members, text):
    if len(members) == 2:
        with pytest.warns(UserWarning, match="Duplicate"):
            path = zip_of(tmp_path / "a.zip", members)
    else:
        path = zip_of(tmp_path / "a.zip", members)
    for function in (read_description, weights_of):
        assert text in sentence(function, path)


def test_a_compressed_member_is_refused_so_that_there_are_no_bombs(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model.json", "{}" + " " * 10_000)
        archive.writestr("weights.h5", bytes(10_000))
    assert "model.json is compressed" in sentence(read_description, tmp_path / "a.zip")


def test_a_damaged_byte_is_found(model, tmp_path):
    data = bytearray(model.read_bytes())
    place = data.index(WEIGHTS[:600]) + 1_500_000
    data[place] ^= 1
    model.write_bytes(data)
    read_description(model)  # does not look at the weights
    assert "weights.h5 is damaged: Bad CRC-32" in sentence(weights_of, model)
    data[place] ^= 1
    data[data.index(b"balanced")] ^= 1
    model.write_bytes(data)
    assert "model.json is damaged in the archive (Bad CRC-32" in sentence(read_description, model)


def encrypted(data, local, entry):
    data[local + 6] |= 1
    data[entry + 8] |= 1


def oversized(data, local, entry):
    for place in (local + 18, local + 22, entry + 20, entry + 24):
        data[place : place + 4] = (0x7000_0000).to_bytes(4, "little")


def larger_than_its_bytes(data, local, entry):
    for place in (local + 22, entry + 24):
        data[place : place + 4] = (0x7000_0000).to_bytes(4, "little")


def test_encryption_and_false_sizes_are_refused(model):
    whole = model.read_bytes()
    patch(model, "weights.h5", encrypted)
    assert "encrypted" in sentence(weights_of, model)
    model.write_bytes(whole)
    patch(model, "weights.h5", oversized)
    assert "weights.h5 is damaged" in sentence(weights_of, model)
    model.write_bytes(whole)
    patch(model, "weights.h5", larger_than_its_bytes)
    assert "weights.h5 is compressed" in sentence(weights_of, model)
    model.write_bytes(whole)
    patch(model, "model.json", oversized)
    assert "larger than a description" in sentence(read_description, model)


def rewritten(tmp_path, text: str | bytes) -> Path:
    content = text.encode() if isinstance(text, str) else text
    return zip_of(tmp_path / "b.zip", [("model.json", content), ("weights.h5", WEIGHTS)])


@pytest.mark.parametrize("text", ["", "{", "[" * 100_000, b"\xff\xfe{}", "{} {}"])
def test_what_is_no_json_is_refused(tmp_path, text):
    assert "is no JSON" in sentence(read_description, rewritten(tmp_path, text))


@pytest.mark.parametrize("text", ["[]", "1", "null", "{}", '{"format": "1"}'])
def test_json_of_another_kind_is_refused(tmp_path, text):
    assert "not a model of this program" in sentence(read_description, rewritten(tmp_path, text))


def test_a_format_of_thousands_of_digits(tmp_path):
    path = rewritten(tmp_path, '{"format": ' + "9" * 5000 + "}")
    assert "not a model of this program" in sentence(read_description, path)


def strange_models() -> dict[str, bytes]:
    good = [("model.json", described().model_dump_json().encode()), ("weights.h5", b"weights")]
    return {
        "uncounted": raw_zip([member(*one) for one in good], count=3),
        "far": zip64(good, 2**63),
        "overlapping": overlapping(["model.json", "weights.h5"], b"text"),
        "links": raw_zip([member(*one, mode=LINK) for one in good]),
        "nul": raw_zip([member(name + "\0.exe", content) for name, content in good]),
        "nameless": raw_zip([member("", b"x"), member(*good[0])]),
    }


@pytest.mark.parametrize("name", strange_models())
def test_a_strange_zip_is_refused_in_a_sentence(tmp_path, name):
    path = tmp_path / "a.zip"
    path.write_bytes(strange_models()[name])
    sentence(read_description, path)
    if name != "overlapping":  # of which the last member lies alone
        sentence(weights_of, path)


def test_another_format_is_named(tmp_path):
    path = rewritten(tmp_path, '{"format": 3, "more": "than this program knows"}')
    assert "format 3, but this program reads format 2" in sentence(read_description, path)


@pytest.mark.parametrize(
    ("place", "value", "text"),
    [
        (("name",), "../../etc/passwd", "name: String should match"),
        (("image_size",), 10**9, "image_size: "),
        (("image_size",), "32", "image_size: Input should be a valid integer"),
        (("classes",), ["REAL", "FAKE"], "classes.0: "),
        (("settings", "builder"), "os.system", "settings.builder: "),
        (("decision", "temperature"), 0, "decision.temperature: "),
        (("decision", "temperature"), float("inf"), "decision.temperature: "),
        (("decision", "threshold"), float("nan"), "decision.threshold: "),
        (("decision", "abstain"), -0.1, "decision.abstain: "),
        (("scores", "fake"), [1], "scores: fake and real must have a count for each bin"),
        (("scores", "edges"), [0, 1, 0.5], "scores: edges must rise"),
        (("scores", "edges"), [0, 0.6, 0.6, 1], "scores: edges must rise"),
        (("data", "archive_sha256"), "", "data.archive_sha256: "),
        (("extra",), 1, "extra: Extra inputs are not permitted"),
    ],
)
def test_a_wrong_value_is_named(tmp_path, place, value, text):
    tree = json.loads(described().model_dump_json())
    *parents, last = place
    branch = tree
    for parent in parents:
        branch = branch[parent]
    branch[last] = value
    assert f"model.json, {text}" in sentence(
        read_description, rewritten(tmp_path, json.dumps(tree))
    )


def test_a_missing_value_is_named(tmp_path):
    tree = json.loads(described().model_dump_json())
    del tree["familiar"]["ranges"]
    path = rewritten(tmp_path, json.dumps(tree))
    assert "model.json, familiar.ranges: Field required" in sentence(read_description, path)


def test_a_full_disk_is_told_apart_from_a_damaged_archive(model, monkeypatch):
    def full(path, archive):
        yield b"some"
        raise AssertionError("went on")

    class Full:
        def write(self, chunk):
            raise OSError(28, "No space left on device")

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

    monkeypatch.setattr(model_archive, "_chunks", full)
    monkeypatch.setattr(model_archive, "open", lambda *_: Full(), raising=False)
    assert "No space left on device); free some space" in sentence(weights_of, model)


def test_scores_are_counted_by_bin():
    labels = np.array([0, 0, 1, 1, 0, 1, 1])
    calibrated = np.array([0.0, 0.01, 0.0099, 1.0, 0.5, 0.99, 0.4999])
    scores = Scores.of(labels, calibrated)
    assert scores.edges == EDGES and len(EDGES) == 11
    assert scores.fake == (1, 1, 0, 0, 0, 1, 0, 0, 0, 0)
    assert scores.real == (1, 0, 0, 0, 1, 0, 0, 0, 0, 2)
    assert [scores.counts(p) for p in calibrated] == [
        (1, 1), (1, 0), (1, 1), (0, 2), (1, 0), (0, 2), (0, 1),
    ]  # fmt: skip
    for wrong in (-0.1, 1.1, float("nan")):
        with pytest.raises(ValueError, match="from 0 to 1"):
            scores.counts(wrong)


def test_results_on_test_are_counted():
    labels = np.array([0, 0, 0, 1, 1, 1, 1, 1], np.uint8)
    called = np.array([0, 0, 1, 1, 1, 1, 0, 0], bool)
    verdicts = np.array(["FAKE", "UNSURE", "UNSURE", "REAL", "REAL", "REAL", "UNSURE", "FAKE"])
    found = ResultOnTest.of(labels, called, verdicts).model_dump()
    assert found == {
        "n": 8, "accuracy": 5 / 8, "unsure": 3, "fake_predicted_fake": 2, "fake_predicted_real": 1,
        "real_predicted_fake": 2, "real_predicted_real": 3,
    }  # fmt: skip


def test_a_description_cannot_be_changed():
    with pytest.raises(ValidationError, match="frozen"):
        described().name = "other"
