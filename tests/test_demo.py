"""The page of `make demo`: its answers, its words, its headers, its start."""

import base64
import io
import re

import httpx
import matplotlib
import numpy as np
import pytest
from PIL import Image

from detector.base.errors import ExpectedError
from detector.demo import wording
from detector.demo.judge import Judge, overlay
from detector.demo.samples import MEMBERS, read_samples
from detector.demo.server import bound, serve
from detector.deployment.model_archive import DecisionRule
from tests.demo_server import archive, ask, asked, describe, grey, serving
from tests.helpers import ROOT, coded, random_pixels, zip_of

JPEG = grey(51, kind="JPEG")


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    with asked(tmp_path_factory.mktemp("models")) as client:
        yield client


def test_an_answer(page):
    reply = ask(page, grey(51))
    assert reply.status_code == 200
    said = reply.json()
    assert said["verdict"] == "FAKE"
    assert said["probability"] == pytest.approx(0.2)
    assert (said["threshold"], said["model"]) == (0.55, "bright")
    low, high = said["unsure"]
    odds = 0.55 / 0.45
    assert low == pytest.approx(odds / (odds + np.exp(0.65)))
    assert high == pytest.approx(odds / (odds + np.exp(-0.65)))
    assert said["probability_sentence"] == "Probability of REAL: 20.0 %."
    # 0.2 is in the bin from 0.1 to 0.25: 40 fake, 10 real
    assert said["of_100_sentence"] == (
        "Of 100 test images with such a score, 80 were fake (n\xa0=\xa050)."
    )
    assert said["warnings"] == []
    assert "generative network" in said["meaning"]


@pytest.mark.parametrize(("value", "verdict"), [(99, "FAKE"), (100, "UNSURE"), (179, "REAL")])
def test_the_three_verdicts(page, value, verdict):
    assert ask(page, grey(value)).json()["verdict"] == verdict


def test_pictures_are_the_pixels_and_the_heat_on_them(page):
    pixels = random_pixels(1)
    said = ask(page, coded(pixels, "PNG")).json()
    seen, hot = (decoded(said[name]) for name in ("seen", "heat"))
    assert (seen == pixels).all()
    colours = matplotlib.colormaps["inferno"]([0.0, 1.0])[:, :3] * 255
    for column, colour in ((31, colours[0]), (0, colours[1])):
        expected = 0.45 * pixels[:, column].mean(axis=-1, keepdims=True) + 0.55 * colour
        assert np.abs(hot[:, column] - expected).max() <= 0.5 + 1e-9
    assert overlay(pixels, np.zeros((32, 32))).dtype == np.uint8


def decoded(uri):
    assert uri.startswith("data:image/png;base64,")
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(uri.split(",")[1]))))


def test_an_unlike_image_gets_warnings(page):
    said = ask(page, coded(np.full((300, 200, 3), 2, np.uint8))).json()
    assert any("200x300 pixels, reduced to 32x32" in warning for warning in said["warnings"])
    assert any(warning.startswith("Not square") for warning in said["warnings"])
    assert said["of_100_sentence"].endswith("unlike them, so it may be otherwise.")
    assert "Darker than 99.9 % of the training images." in said["warnings"]
    assert "file of 200x300 pixels, cropped to a square" in said["done"]


def test_the_model_is_chosen_by_name(page):
    assert ask(page, grey(200), "bright").json()["verdict"] == "REAL"
    assert ask(page, grey(200), "second").json()["threshold"] == 0.9
    for name in ("../models/cnn32", "bright.zip", "/etc/passwd", "", "\0"):
        reply = ask(page, grey(200), name)
        assert reply.status_code == 404
        assert reply.json() == {"error": "There is no such model; there is bright, second."}


def test_headers_and_no_code_in_the_markup(page):
    for path in ("/", "/static/page.js", "/samples/1", "/nothing", "/api/predict"):
        reply = page.get(path)
        policy = reply.headers["content-security-policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert reply.headers["x-content-type-options"] == "nosniff"
        assert reply.headers["cache-control"] == "no-store"
        assert not {"set-cookie", "server", "access-control-allow-origin"} & set(reply.headers)
    text = page.get("/").text
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|<script(?![^>]* src=)", text)
    files = [text, *(path.read_text() for path in (ROOT / "detector/demo/static").iterdir())]
    assert len(files) == 6
    for content in files:
        addresses = set(
            re.findall(r"https?://[^\s\"']+|url\(|@import|\bcookie|\w+Storage", content)
        )
        assert addresses <= {"http://www.w3.org/2000/svg"}


def test_the_page_says_what_the_archive_says(page):
    text = re.sub(r"<[^>]+>", " ", page.get("/").text)
    for words in (
        "Trained on 5,797 images of 32x32 pixels of the data set “greys”.",
        "Right on 780 of 800 test images",
        "9 of 442 REAL ones FAKE and 11 of 358 FAKE ones REAL",
        "at least 55 %", "at least 90 %", "640 validation images",
        "99.9 % of the 5,797 training images", "a" * 64, "b" * 64, "Keras 3.15.1, tensorflow 2.21",
    ):  # fmt: skip
        assert words in text, words
    assert f"Of all test images {100 * 358 / 800:.0f} % were fake" in text
    assert "20 MB and 50 million pixels" in text


def test_samples(page):
    samples = read_samples(ROOT / "data/sample/sample.zip")
    assert sorted(sample.label for sample in samples) == ["FAKE"] * 3 + ["REAL"] * 3
    for number, sample in enumerate(samples, 1):
        reply = page.get(f"/samples/{number}")
        assert reply.content == sample.coded
        assert reply.headers["content-type"] == "image/jpeg"
        assert (sample.width, sample.height) == (32, 32)
        assert f'data-sample="{number}" data-truth="{sample.label}"' in page.get("/").text


def test_damaged_samples(tmp_path):
    few = zip_of(tmp_path / "few.zip", [(MEMBERS[0], JPEG)])
    text = zip_of(tmp_path / "text.zip", [(member, b"text") for member in MEMBERS])
    for path in (few, text, ROOT / "README.md", tmp_path / "none.zip"):
        with pytest.raises(ExpectedError, match="samples cannot be read"):
            read_samples(path)


def test_a_model_that_cannot_be_opened_is_named(tmp_path):
    def broken(path):
        raise ExpectedError(f"{path.name}: not a model")

    with serving(archive(tmp_path), loader=broken) as address:
        reply = httpx.post(f"{address}api/predict", content=JPEG)
        assert (reply.status_code, reply.json()) == (500, {"error": "bright.zip: not a model."})
        assert httpx.get(address).status_code == 200


def test_what_stops_the_start(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ExpectedError, match="no model in models/"):
        serve(port=0)
    with pytest.raises(ExpectedError, match=r"none\.zip"):
        serve([tmp_path / "none.zip"], port=0)
    (tmp_path / "other").mkdir()
    with pytest.raises(ExpectedError, match="same name"):
        Judge([archive(tmp_path), archive(tmp_path / "other")])
    with bound(0) as taken:
        taken.listen()
        assert taken.getsockname()[0] == "127.0.0.1"
        port = taken.getsockname()[1]
        with pytest.raises(ExpectedError, match=f"port {port} cannot be used .*--port 0"):
            serve(port=port)
    with pytest.raises(ExpectedError, match="port 70000"):
        serve(port=70_000)


def test_zone_of_unsure():
    def zone(band):
        rule = {"threshold": 0.2, "abstain": band, "temperature": 1.0}
        return wording.unsure_zone(DecisionRule(goal="0.5", sure_error=0.01, n=9, **rule))

    assert zone(None) == (0, 1)
    assert zone(0.0) is None
    assert zone(np.log(4)) == pytest.approx((1 / 17, 0.5))  # odds 1:4, over and times 4


def test_a_score_that_no_test_image_had():
    said = wording.sentences(describe(), "FAKE", 0.03, (0, 0), False)
    assert said["of_100_sentence"].startswith("No test image had such a score")
