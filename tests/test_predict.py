"""`python -m detector predict`: what is said of images, and how."""

import csv
import io
import json
import os

import numpy as np
import pytest
from PIL import Image

from detector.prediction import images as streaming
from tests.helpers import coded, random_pixels
from tests.predicting import BRIGHT, DARK, MIDDLE, command, make_model, put, replace_network


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


def test_a_table_for_people(predict, tmp_path):
    for name, pixels in (("a.png", BRIGHT), ("b.png", MIDDLE), ("c.png", DARK)):
        put(tmp_path / name, pixels)
    done = predict("a.png", "b.png", "c.png")
    lines = done.stdout.splitlines()
    assert lines[0] == (
        "cnn32, trained on the data set sample: 1,200 REAL and 1,300 FAKE images of 32x32 pixels"
    )
    assert lines[1] == "" and lines[2].split() == [
        "verdict",
        "P(REAL)",
        "fake",
        "of",
        "100",
        "file",
    ]
    # 250 / 255 has the logit 3.912; with temperature 2, sigmoid(1.956) = 0.876
    assert lines[3].split() == ["REAL", "87.6", "%", "0", "a.png"]
    assert lines[4].split() == ["UNSURE", "46.6", "%", "75", "b.png"]
    assert lines[5].split() == ["FAKE", "12.4", "%", "75", "c.png"]
    text = " ".join(done.stdout.split())
    assert "3 images: 1 FAKE, 1 REAL, 1 UNSURE." in text and "marked ?" not in text
    assert "REAL means that P(REAL) is at least 40 %" in text
    assert "640 validation images" in text and "called 6 of 400 REAL ones FAKE" in text
    assert done.stderr == "" and "\x1b" not in done.stdout
    assert max(map(len, lines)) <= 100


def test_json_says_all_of_it(predict, tmp_path):
    put(tmp_path / "a.png", BRIGHT)
    put(tmp_path / "b.png", random_pixels(1, 64))
    said = json.loads(predict("--json", "a.png", "b.png").stdout)
    assert said["model"]["name"] == "cnn32" and said["model"]["image_size"] == 32
    assert said["data"]["training_images"] == {"REAL": 1200, "FAKE": 1300}
    assert said["decision"]["threshold"] == 0.4 and said["test"]["n"] == 800
    first, second = said["images"]
    assert first["raw"] == np.float32(250 / 255)
    assert first["probability"] == pytest.approx(1 / (1 + (5 / 250) ** 0.5), rel=1e-6)
    assert first | {"raw": 0, "probability": 0} == {
        "file": "a.png", "verdict": "REAL", "probability": 0, "raw": 0,
        "of_100": {"fake": 0, "test_images": 200}, "width": 32, "height": 32, "changes": [],
        "warnings": [],
    }  # fmt: skip
    assert second["of_100"] == {"fake": None, "test_images": 0} or second["verdict"] == "UNSURE"
    assert (second["width"], len(second["warnings"])) == (64, 1)
    assert said["counts"] == {"FAKE": 0, "REAL": 1, "UNSURE": 1, "warned": 1, "unreadable": 0}


def test_csv_says_the_same_as_json(predict, tmp_path):
    put(tmp_path / 'a, "b".png')
    put(tmp_path / "c.png", random_pixels(1, 64)[:50])
    (tmp_path / "d.png").write_bytes(b"text")
    arguments = ('a, "b".png', "c.png", "d.png")
    said = json.loads(predict("--json", *arguments, code=1).stdout)["images"]
    done = predict("--csv", *arguments, code=1)
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert [row["file"] for row in rows] == list(arguments)
    for row, entry in zip(rows, said, strict=True):
        assert row["error"] == entry.get("error", "")
        assert row["verdict"] == entry.get("verdict", "")
        assert row["warnings"] == "; ".join(entry.get("warnings", []))
        if not row["error"]:
            assert float(row["probability"]) == entry["probability"]
            assert float(row["raw"]) == entry["raw"]
    assert rows[1]["changes"] == "cropped to a square" and rows[1]["width"] == "64"


def test_unreadable_images_are_listed_and_the_others_answered(predict, tmp_path):
    put(tmp_path / "a.png")
    for name, data in (("empty.jpg", b""), ("text.jpg", b"text"), ("cut.jpg", coded(BRIGHT)[:300])):
        (tmp_path / name).write_bytes(data)
    names = ("none.jpg", "empty.jpg", "a.png", "text.jpg", "cut.jpg")
    done = predict(*names, code=1)
    assert "REAL" in done.stdout and "1 image: 0 FAKE, 1 REAL, 0 UNSURE." in done.stdout
    head, *listed = done.stderr.splitlines()
    assert head == "error: 4 of 5 images cannot be read:"
    assert listed[0] == "  none.jpg: cannot be read (No such file or directory)"
    assert listed[1] == "  empty.jpg: empty file"
    assert listed[2].startswith("  text.jpg: not a JPEG") and listed[3].startswith("  cut.jpg: ")
    entries = json.loads(predict("--json", *names, code=1).stdout)["images"]
    assert [entry["file"] for entry in entries] == list(names)
    assert ["error" in entry for entry in entries] == [True, True, False, True, True]


def test_no_network_is_loaded_where_there_is_nothing_to_answer(predict, tmp_path, loaded):
    (tmp_path / "text.jpg").write_bytes(b"text")
    done = predict("none.jpg", "text.jpg", code=1)
    assert done.stdout == "" and loaded == []
    said = json.loads(predict("--json", "none.jpg", code=1).stdout)
    assert said["counts"]["unreadable"] == 1 and said["model"]["name"] == "cnn32"


def test_a_verdict_on_an_unfamiliar_image_is_in_doubt(predict, tmp_path):
    put(tmp_path / "a.png")
    put(tmp_path / "b.png", np.full((64, 96, 3), 250, np.uint8))
    done = predict("a.png", "b.png")
    rows = done.stdout.splitlines()[3:6]
    assert rows[0].split() == ["REAL", "87.6", "%", "0", "a.png"]
    assert rows[1].split() == ["REAL", "?", "87.6", "%", "-", "b.png"]
    assert rows[2].startswith("  ! 96x64 pixels, reduced to 32x32")
    assert "1 verdict marked ?" in done.stdout


def test_pictures_of_the_evidence(predict, tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK_IMAGES", 2)
    given = ["a/x.png", "b/x.png", "%.png", "ü\x1b/y\n.png"]
    for name, pixels in zip(given, (BRIGHT, DARK, random_pixels(2), BRIGHT), strict=True):
        put(tmp_path / name, pixels)
    (tmp_path / "bad.png").write_bytes(b"text")
    done = predict("--json", "--explain", "out/deep", given[0], "bad.png", *given[1:], code=1)
    entries = json.loads(done.stdout)["images"]
    names = [f"out/deep/{name}.gradcam.png" for name in ("1_x", "3_x", "4_image", "5_y")]
    assert [entry.get("overlay") for entry in entries] == [names[0], None, *names[1:]]
    assert len(os.listdir(tmp_path / "out/deep")) == 4
    for overlay, pixels, upper_is_hot in (
        ("1_x.gradcam.png", BRIGHT, True),
        ("3_x.gradcam.png", DARK, False),
    ):
        picture = np.asarray(Image.open(tmp_path / "out/deep" / overlay)).astype(float)
        assert picture.shape == (256, 520, 3)
        assert np.array_equal(picture[::8, :256:8], pixels)
        light = picture[:, 264:].mean(axis=(1, 2))
        assert (light[:128].min() > light[128:].max()) == upper_is_hot
    assert "  > out/deep/1_x.gradcam.png\n" in predict("--explain", "out/deep", given[0]).stdout


def test_a_folder_for_pictures_that_cannot_be_is_told_before_all_else(predict, tmp_path, loaded):
    put(tmp_path / "a.png")
    for place in ("a.png", "a.png/out"):
        done = predict("--explain", place, "a.png", code=2)
        assert done.stderr.startswith(f"error: {place}: no folder that can be made (")
        assert done.stdout == "" and loaded == []


def test_wrong_usage_is_code_2(predict, tmp_path, loaded):
    put(tmp_path / "a.png")
    assert "--json and --csv exclude each other" in predict("--json", "--csv", "a", code=2).stderr
    assert "Missing argument" in predict(code=2).stderr
    assert "No such option" in predict("--nonsense", "a.png", code=2).stderr
    done = predict("--model", "resnet50", "a.png", code=2)
    assert done.stderr.startswith("error: models/resnet50.zip: no such model")
    done = predict("--model", "a.png", "a.png", code=2)
    assert done.stderr.count("\n") == 1 and done.stdout == "" and loaded == []


def test_a_model_is_a_path_or_a_name(predict, tmp_path, loaded):
    put(tmp_path / "a.png")
    predict("a.png")
    predict("--model", "cnn32", "a.png")
    predict("--model", f"{tmp_path}/models/cnn32.zip", "a.png")
    assert loaded == ["models/cnn32.zip"] * 2 + [f"{tmp_path}/models/cnn32.zip"]


def test_many_images_are_answered_in_order_by_processes(predict, tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "CHUNK_IMAGES", 32)
    for i in range(200):
        put(tmp_path / f"in/{i:03d}.bmp", np.full((32, 32, 3), i + 10, np.uint8), "BMP")
    (tmp_path / "in/100.bmp").write_bytes(b"text")
    entries = json.loads(predict("--json", "in", code=1).stdout)["images"]
    assert [entry["file"] for entry in entries] == [f"in/{i:03d}.bmp" for i in range(200)]
    assert entries.pop(100)["error"].startswith("not a JPEG")
    greys = [i + 10 for i in range(200) if i != 100]
    assert [entry["raw"] for entry in entries] == [float(np.float32(g) / 255) for g in greys]


def test_a_lack_of_memory_is_one_sentence(predict, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise MemoryError

    put(tmp_path / "a.png")
    monkeypatch.setattr(streaming, "decode_any", fail)
    done = predict("a.png", code=2)
    assert done.stderr.startswith("error: the memory of this machine is used up;")


def test_help_names_the_exit_codes_and_the_options(predict):
    text = " ".join(predict("--help").stdout.split())
    assert "Exit codes: 0, all images were answered; 1, some cannot be read" in text
    for option in ("--model", "--json", "--csv", "--explain"):
        assert option in text
