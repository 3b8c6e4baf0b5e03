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


@pytest.mark.parametrize(("n", "k"), [(1000, 100), (998, 99), (999, 100), (9, 1), (18, 1), (19, 2)])
def test_limits_are_the_kth_smallest_and_largest_value(n, k):
    values = np.random.default_rng(0).random((n, 6))
    found = limits(values, share=0.1)
    assert (found.share, found.n, list(found.ranges)) == (0.1, n, list(NAMES))
    for column, (low, high) in zip(values.T, found.ranges.values(), strict=True):
        assert (low, high) == (np.sort(column)[k - 1], np.sort(column)[-k])


@pytest.mark.parametrize(("n", "some"), [(1, False), (20, False), (998, False), (999, True)])
def test_below_the_number_that_the_share_needs_nothing_is_said(n, some):
    found = limits(np.random.default_rng(0).random((n, 6)))
    assert bool(found.ranges) == some
    if not some:
        assert unfamiliar(np.zeros((2, 8, 8, 3), np.uint8), found) == [(), ()]


@pytest.mark.parametrize("n", [20, 100, 999, 1500, 3000])
def test_of_images_like_those_of_training_so_many_are_warned_of_as_is_said(n):
    """1.2 % at most, whatever the number of training images: 12 limits, 0.1 % each."""
    rng = np.random.default_rng(n)
    warned, asked = 0, 0
    for _ in range(40 if n < 999 else 8):
        images = rng.integers(0, 256, (n + 1000, 4, 4, 3), dtype=np.uint8)
        images[:, :, :2] = images[:, :1, :1]  # so that no statistic is nearly constant
        known = limits(statistics(images[:n]))
        warned += sum(map(bool, unfamiliar(images[n:], known)))
        asked += 1000
    assert warned / asked <= 0.012 + 3 * math.sqrt(0.012 / asked)
    assert n < 999 or warned  # at 1,998 images and above it is nearly all of it


def test_a_coder_that_no_training_image_had_is_named():
    values = statistics(of_training())
    known = limits(values, {"PNG": 3000, "JPEG quality 75 4:2:0": 5000})
    assert known.codecs == ("JPEG quality 75 4:2:0", "PNG")
    images = of_training(3)
    said = unfamiliar(images, known, ["PNG", "JPEG quality 90 4:2:0", "JPEG quality 75 4:2:0"])
    text = "coded as JPEG quality 90 4:2:0, the training images as JPEG quality 75 4:2:0, PNG"
    assert said == [(), (text,), ()]
    assert unfamiliar(images, known) == unfamiliar(images, limits(values), ["x"] * 3) == [()] * 3


def test_of_many_coders_three_are_named():
    known = limits(np.ones((9, 6)), {f"c{i}": 10 + i for i in range(5)})
    ((text,),) = unfamiliar(of_training(1), known, ["PNG"])
    assert text == "coded as PNG, the training images as c4, c3, c2, ..."


def test_where_new_coders_are_to_be_expected_none_is_named():
    """As with photographs of many cameras: of 10,000 images 30 have a coder of their own."""
    values = np.ones((9, 6))
    many = {"PNG": 9970} | {f"JPEG tables {i}": 1 for i in range(30)}
    assert limits(values, many).codecs == ()
    assert len(limits(values, many | {"PNG": 29_970}).codecs) == 31
    assert limits(values, {f"c{i}": 2 for i in range(1001)}).codecs == ()


def of_training(n=2000):
    rng = np.random.default_rng(7)
    centres, noise = rng.integers(90, 160, (n, 1, 1, 3)), rng.integers(-40, 40, (n, 16, 16, 3))
    return (centres + noise).astype(np.uint8)


def test_images_within_the_limits_get_no_word():
    images = of_training(999)  # the limits are the extremes themselves
    assert unfamiliar(images, limits(statistics(images))) == [()] * len(images)


def test_images_beyond_a_limit_are_told_in_what():
    known = limits(statistics(of_training()))
    than = "than 99.9 % of the training images"
    black, white, board = (np.zeros((16, 16, 3), np.uint8) for _ in range(3))
    white[:], board[::2] = 255, 255
    usual = of_training()[unfamiliar(of_training()[:40], known).index(())]
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
    known = limits(np.repeat(statistics(black), 999, axis=0))
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
        ({"codecs": ("x" * 65,)}, "at most 64 characters"),
        ({"codecs": ("x",) * 1001}, "at most 1000 items"),
    ],
)
def test_limits_that_make_no_sense_are_refused(change, text):
    good = {"share": 0.001, "n": 3, "ranges": dict.fromkeys(NAMES, (0.0, 1.0))}
    Limits(**good)
    with pytest.raises(ValidationError, match=text):
        Limits(**good | change)
