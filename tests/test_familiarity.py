"""The statistics against loops over pixels; the limits against quantiles; what is said."""

import math
import statistics as python

import numpy as np
import pytest
from pydantic import ValidationError

from detector.deployment import familiarity
from detector.deployment.familiarity import NAMES, Limits, limits, statistics, unfamiliar
from tests.helpers import random_pixels


def by_hand(image):
    """Give the statistics of one image by their definitions, pixel by pixel, in plain Python."""
    side = len(image)
    pixels = [[tuple(map(int, pixel)) for pixel in row] for row in image]
    luma = [[0.299 * r + 0.587 * g + 0.114 * b for r, g, b in row] for row in pixels]
    flat = [value for row in luma for value in row]
    red_green = [r - g for row in pixels for r, g, _ in row]
    yellow_blue = [(r + g) / 2 - b for row in pixels for r, g, b in row]
    blocks = [
        python.mean(luma[y + i][x + j] for i in (0, 1) for j in (0, 1))
        for y in range(0, side, 2)
        for x in range(0, side, 2)
    ]
    equal = [row[x] == row[x + 1] for row in pixels for x in range(side - 1)]
    cut = [value in (0, 255) for row in pixels for pixel in row for value in pixel]
    return [
        python.mean(flat),
        python.pstdev(flat),
        math.hypot(python.pstdev(red_green), python.pstdev(yellow_blue))
        + 0.3 * math.hypot(python.mean(red_green), python.mean(yellow_blue)),
        1 - python.pvariance(blocks) / python.pvariance(flat),
        sum(equal) / len(equal),
        sum(cut) / len(cut),
    ]


def drawing(side=16):
    """Two areas of one colour each."""
    image = np.zeros((side, side, 3), np.uint8)
    image[:, side // 2 :] = (250, 200, 10)
    return image


def smooth(side=16):
    ramp = np.linspace(40, 180, side).astype(np.uint8)
    return np.stack([np.add.outer(ramp // 2, ramp // 2)] * 3, axis=-1).astype(np.uint8)


def test_statistics_are_those_of_their_definitions():
    images = np.stack([random_pixels(1, 16), drawing(), smooth()])
    assert statistics(images).shape == (3, len(NAMES))
    assert statistics(images) == pytest.approx(np.array([by_hand(image) for image in images]))


@pytest.mark.parametrize("side", [2, 7, 32])
@pytest.mark.parametrize("grey", [0, 1, 77, 255])
def test_one_grey_has_no_contrast_no_colour_no_detail(side, grey):
    cut = float(grey in (0, 255))
    found = statistics(np.full((1, side, side, 3), grey, np.uint8))
    assert found.tolist() == [[grey, 0, 0, 0, 1, cut]]


def test_a_chequerboard_is_all_detail_and_stripes_two_wide_are_none_along_them():
    y, x = np.indices((8, 8))
    board, stripes = (y + x) % 2, x // 2 % 2
    images = 200 * np.stack([board, stripes]).astype(np.uint8)[..., None].repeat(3, axis=3)
    assert statistics(images)[:, NAMES.index("detail")] == pytest.approx([1, 0])


def test_an_odd_last_row_and_column_do_not_count_for_detail():
    image = random_pixels(5, 9)
    detail = NAMES.index("detail")
    whole, cut = statistics(image[None])[0], statistics(image[None, :8, :8])[0]
    assert whole[detail] == cut[detail]
    assert whole[0] != cut[0]


def test_an_image_has_the_same_statistics_in_any_block(monkeypatch):
    images = np.stack([random_pixels(i, 8) for i in range(9)])
    whole = statistics(images)
    monkeypatch.setattr(familiarity, "_PIXELS", 130)  # two images a block
    assert np.array_equal(statistics(images), whole)
    assert np.array_equal(statistics(images[::-1])[::-1], whole)
    assert statistics(images[:0]).shape == (0, 6)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 8, 8, 3), np.float32),
        np.zeros((8, 8, 3), np.uint8),
        np.zeros((1, 8, 8, 4), np.uint8),
        np.zeros((1, 1, 8, 3), np.uint8),
    ],
)
def test_other_arrays_are_refused(images):
    with pytest.raises(ValueError, match="images"):
        statistics(images)


def test_limits_are_quantiles_of_each_statistic():
    values = np.random.default_rng(0).random((1001, 6))
    found = limits(values, share=0.1)
    assert (found.share, found.n, list(found.ranges)) == (0.1, 1001, list(NAMES))
    for column, (low, high) in zip(values.T, found.ranges.values(), strict=True):
        assert (low, high) == (np.sort(column)[100], np.sort(column)[900])
    everything = limits(values, share=0)
    assert everything.ranges["detail"] == (values[:, 3].min(), values[:, 3].max())


def of_training(n=40):
    rng = np.random.default_rng(7)
    centres, noise = rng.integers(90, 160, (n, 1, 1, 3)), rng.integers(-40, 40, (n, 16, 16, 3))
    return (centres + noise).astype(np.uint8)


def test_images_within_the_limits_get_no_word():
    images = of_training()
    assert unfamiliar(images, limits(statistics(images), share=0)) == [()] * len(images)


def test_images_beyond_a_limit_are_told_in_what():
    known = limits(statistics(of_training()))
    than = "than 99.9 % of the training images"
    black, white, board = (np.zeros((16, 16, 3), np.uint8) for _ in range(3))
    white[:], board[::2] = 255, 255
    usual = of_training()[unfamiliar(of_training(), known).index(())]
    said = unfamiliar(np.stack([black, usual, white, board]), known)
    assert said[1] == ()
    assert f"darker {than}" in said[0]
    assert f"brighter {than}" in said[2]
    assert f"of less contrast {than}" in said[0] and f"of less contrast {than}" in said[2]
    assert f"of more contrast {than}" in said[3]
    for row in (0, 2, 3):
        assert f"with more values cut off at 0 and 255 {than}" in said[row]
        assert any(text.startswith("with more areas of exactly one colour") for text in said[row])


def test_a_value_at_the_limit_is_within():
    black = np.zeros((1, 8, 8, 3), np.uint8)
    known = limits(statistics(black))
    assert unfamiliar(black, known) == [()]
    assert unfamiliar(black + 1, known) == [
        (
            "brighter than 99.9 % of the training images",
            "with fewer values at 0 and 255 than 99.9 % of the training images",
        )
    ]


def test_every_statistic_has_words_for_both_sides():
    low = Limits(share=0, n=1, ranges=dict.fromkeys(NAMES, (300.0, 300.0)))
    high = Limits(share=0, n=1, ranges=dict.fromkeys(NAMES, (-1.0, -1.0)))
    (below,), (above,) = (unfamiliar(of_training(1), known) for known in (low, high))
    assert len(set(below) | set(above)) == 2 * len(NAMES)
    assert "smoother, with less fine detail, than 100 % of the training images" in below
    assert "rougher, with more fine detail, than 100 % of the training images" in above


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"ranges": {"brightness": (0.0, 1.0)}}, "ranges must be of"),
        ({"ranges": dict.fromkeys(NAMES, (2.0, 1.0))}, "lowest, highest"),
        ({"ranges": dict.fromkeys(NAMES, (0.0, math.nan))}, "lowest, highest"),
        ({"share": 0.5}, "less than 0.5"),
        ({"n": 0}, "greater than or equal to 1"),
    ],
)
def test_limits_that_make_no_sense_are_refused(change, text):
    good = {"share": 0.001, "n": 3, "ranges": dict.fromkeys(NAMES, (0.0, 1.0))}
    Limits(**good)
    with pytest.raises(ValidationError, match=text):
        Limits(**good | change)
