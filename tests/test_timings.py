"""Timings are shown with the weights that they are of, and with no others."""

import json

import pytest

from detector import timings

TRAINING = {
    "train_images_per_second": 1227.0, "seconds_total": 8.159,
    "seconds_to_best_validation": 3.692, "best_val_accuracy": 1.0,
}  # fmt: skip
PREDICTION = {"inference_images_per_second": 7228.4, "batch_size": 256}
SAID = [
    "cnn32: training 1,227 images/s, 8.2 s in all, 3.7 s to the best validation accuracy",
    "cnn32: prediction 7,228 images/s in batches of 256",
]
NOT_TIMED = [f"cnn32: {work} not timed in this workspace" for work in ("training", "prediction")]


@pytest.fixture
def weights(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "models/cnn32.weights.h5"
    path.parent.mkdir()
    path.write_bytes(b"first")
    return path


def test_timings_belong_to_their_weights(weights, capsys):
    timings.keep("cnn32", "training", TRAINING)
    timings.keep("cnn32", "prediction", PREDICTION)
    assert capsys.readouterr().out.splitlines() == timings.in_words("cnn32") == SAID
    weights.write_bytes(b"of another run, from the cache")
    assert timings.in_words("cnn32") == NOT_TIMED
    timings.keep("cnn32", "prediction", PREDICTION)
    assert timings.in_words("cnn32") == [NOT_TIMED[0], SAID[1]]
    weights.write_bytes(b"first")
    assert timings.in_words("cnn32") == [SAID[0], NOT_TIMED[1]]


@pytest.mark.parametrize("content", [None, b"", b"\xff", b"[]", b"{}", b'{"weights_sha256": 1}'])
def test_without_a_timing(weights, content):
    if content is not None:
        for work in timings.IN_WORDS:
            path = timings.FOLDER / "cnn32" / f"{work}.json"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    assert timings.in_words("cnn32") == NOT_TIMED
    weights.unlink()
    assert timings.in_words("cnn32") == NOT_TIMED


def test_a_timing_that_lacks_a_value(weights):
    timings.keep("cnn32", "training", TRAINING)
    path = timings.FOLDER / "cnn32/training.json"
    kept = json.loads(path.read_text())
    del kept["seconds_total"]
    path.write_text(json.dumps(kept))
    assert timings.in_words("cnn32") == NOT_TIMED
