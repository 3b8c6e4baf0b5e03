"""Corruptions against Pillow and sums by hand; the stage corrupt and what reads its folder."""

import io
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from PIL import Image

from detector.base.errors import ExpectedError
from detector.corruption.corruptions import (
    CLEAN,
    Level,
    choose_rows,
    corrupt,
    levels,
    levels_table,
)
from tests.helpers import ROOT, coded, random_pixels

FILES = ("images.npy", "labels.npy", "names.npy", "rows.npy", "levels.csv")


def settings(**lists):
    """Give the settings of a run without any level but those named."""
    empty = {name: [] for name in ("jpeg", "blur", "noise", "rescale", "blur_then_jpeg")}
    return SimpleNamespace(**{"max_images": None, **empty, **lists})


def smooth_images(n=4, size=32):
    """Give images that look like something: a blurred random field, each channel its own."""
    raw = np.stack([random_pixels(i, size) for i in range(n)]).astype(float)
    for axis in (1, 2):
        raw = sum(np.roll(raw, shift, axis) for shift in range(-2, 3)) / 5
    return np.clip((raw - 127) * 4 + 127, 0, 255).astype(np.uint8)


# --- levels ---------------------------------------------------------------------------------------


def test_levels_go_from_clean_to_the_strongest_whatever_the_order_of_the_list():
    mixed = settings(
        jpeg=[40, 90], blur=[1.0, 0.4], noise=[0.1, 0.04], rescale=[0.5, 0.85],
        blur_then_jpeg=[[1.0, 25], [0.4, 50], [0.4, 90]],
    )  # fmt: skip
    found = levels(mixed)
    assert [" ".join(map(str, row)) for row in levels_table(found).itertuples(index=False)] == [
        "none clean 0", "jpeg 90 0", "jpeg 40 1", "blur 0.4 0", "blur 1 1", "noise 0.04 0",
        "noise 0.1 1", "rescale 0.85 0", "rescale 0.5 1", "blur_then_jpeg 0.4+90 0",
        "blur_then_jpeg 0.4+50 1", "blur_then_jpeg 1+25 2",
    ]  # fmt: skip
    assert found[0] is CLEAN and found[-1].values == (1.0, 25)


def test_the_committed_levels_are_those_of_cifar_10_c_and_more():
    listed = yaml.safe_load((ROOT / "params.yaml").read_text())["corruption"]
    assert {80, 65, 58, 50, 40} <= set(listed["jpeg"])
    assert listed["blur"] == [0.4, 0.6, 0.7, 0.8, 1.0]
    assert listed["noise"] == [0.04, 0.06, 0.08, 0.09, 0.1]
    assert len(levels(SimpleNamespace(**listed))) == 27


@pytest.mark.parametrize(
    ("lists", "text"),
    [
        ({}, "corruption lists no level"),
        ({"jpeg": [50, 90, 50]}, "corruption.jpeg lists 50 more than once"),
        ({"blur_then_jpeg": [[1, 50], [1.0, 50]]}, r"blur_then_jpeg lists 1\+50 more than once"),
    ],
)
def test_lists_that_make_no_levels(lists, text):
    with pytest.raises(ExpectedError, match=text):
        levels(settings(**lists))


# --- rows -----------------------------------------------------------------------------------------


def test_rows_keep_the_proportion_and_do_not_repeat():
    labels = (np.arange(1000) % 4 == 0).astype(np.uint8)  # a quarter REAL
    rows = choose_rows(labels, 200, seed=3)
    assert rows.dtype == np.int64 and (np.diff(rows) > 0).all() and len(rows) == 200
    assert labels[rows].sum() == 50
    assert (choose_rows(labels, 200, seed=3) == rows).all()
    assert (choose_rows(labels, 200, seed=4) != rows).any()
    assert set(rows) <= set(choose_rows(labels, 400, seed=3))


def test_few_rows_and_all_rows():
    labels = np.array([0] * 99 + [1])
    for wanted in (2, 3, 50, 99):
        rows = choose_rows(labels, wanted, seed=0)
        assert len(rows) == wanted and labels[rows].sum() == 1
    for wanted in (None, 100, 1000):
        assert (choose_rows(labels, wanted, seed=0) == np.arange(100)).all()
    for wrong in (0, 1):
        with pytest.raises(ValueError, match="at least 2"):
            choose_rows(labels, wrong, seed=0)


@pytest.mark.parametrize(("label", "name"), [(0, "REAL"), (1, "FAKE")])
def test_rows_of_one_class_only(label, name):
    with pytest.raises(ValueError, match=f"none of the 5 images is {name}"):
        choose_rows(np.full(5, label), None, seed=0)


# --- corruptions ----------------------------------------------------------------------------------


def changed(images, corruption, *values, **options):
    result = corrupt(images, Level(corruption, "", 0, values), **{"seed": 1, **options})
    assert result.dtype == np.uint8 and result.shape == images.shape
    return result


@pytest.mark.parametrize(("quality", "size"), [(100, 32), (90, 33), (10, 32)])
def test_jpeg_is_pillows_default_coder(quality, size):
    images = smooth_images(size=size)
    result = changed(images, "jpeg", quality)
    for pixels, out in zip(images, result, strict=True):
        file = coded(pixels, quality=quality)
        with Image.open(io.BytesIO(file)) as image:
            assert [layer[1:3] for layer in image.layer] == [(2, 2), (1, 1), (1, 1)]  # 4:2:0
            assert (np.asarray(image) == out).all()


@pytest.mark.parametrize("sigma", [0.4, 1.0])
def test_blur_by_hand(sigma):
    images = smooth_images()
    radius = int(4 * sigma + 0.5)
    kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
    kernel /= kernel.sum()
    # the weight that each of 32 places gives to each, places beyond the border being the border
    weights = np.zeros((32, 32))
    for place in range(32):
        for offset, weight in zip(range(-radius, radius + 1), kernel, strict=True):
            weights[place, min(max(place + offset, 0), 31)] += weight
    by_hand = np.einsum("yv,xu,nvuc->nyxc", weights, weights, images.astype(float))
    assert np.abs(changed(images, "blur", sigma) - by_hand).max() <= 0.5 + 1e-9


def test_noise_has_its_deviation_and_is_independent():
    images = np.full((40, 32, 32, 3), 128, np.uint8)
    noise = changed(images, "noise", 0.08).astype(float) - 128
    assert abs(noise.mean()) < 0.3
    assert noise.std() == pytest.approx(np.hypot(255 * 0.08, np.sqrt(1 / 12)), rel=0.01)
    # of 3072 pixels: five standard errors
    assert np.abs(np.corrcoef(noise.reshape(40, -1)) - np.eye(40)).max() < 0.1
    assert np.abs(np.corrcoef(noise.reshape(-1, 3).T) - np.eye(3)).max() < 0.03


def test_noise_goes_by_seed_level_and_row_only():
    images = smooth_images(6)
    whole = changed(images, "noise", 0.06)
    rows = np.array([1, 4])
    assert (changed(images[rows], "noise", 0.06, rows=rows) == whole[rows]).all()
    assert (changed(images[rows], "noise", 0.06) != whole[rows]).any()
    assert (changed(images, "noise", 0.06, seed=2) != whole).any()
    grey = np.full((1, 32, 32, 3), 128, np.uint8)
    one, other = (changed(grey, "noise", s).astype(float) - 128 for s in (0.06, 0.08))
    assert abs(np.corrcoef(one.ravel(), other.ravel())[0, 1]) < 0.1


def test_noise_stays_within_0_to_255():
    ends = np.stack([np.zeros((32, 32, 3), np.uint8), np.full((32, 32, 3), 255, np.uint8)])
    dark, bright = changed(ends, "noise", 0.1)
    assert 0.4 < (dark == 0).mean() < 0.6 and dark.max() < 140
    assert 0.4 < (bright == 255).mean() < 0.6 and bright.min() > 115


def test_rescale_smooths_before_it_leaves_out_pixels():
    stripes = np.zeros((1, 32, 32, 3), np.uint8)
    stripes[:, :, ::2] = 255
    inside = changed(stripes, "rescale", 0.5)[0, 4:-4, 4:-4]
    assert np.abs(inside.astype(int) - 128).max() < 20  # picking every other pixel gives 0 or 255


@pytest.mark.parametrize(("factor", "small"), [(0.85, 27), (0.65, 21), (0.01, 1)])
def test_rescale_goes_down_to_the_rounded_size(factor, small):
    images = smooth_images(2)
    for pixels, out in zip(images, changed(images, "rescale", factor), strict=True):
        image = Image.fromarray(pixels).resize((small, small), Image.Resampling.BICUBIC)
        assert (np.asarray(image.resize((32, 32), Image.Resampling.BICUBIC)) == out).all()


def test_blur_then_jpeg_is_the_two_in_this_order():
    images = smooth_images()
    blurred = changed(images, "blur", 0.8)
    both = changed(images, "blur_then_jpeg", 0.8, 50)
    assert (both == changed(blurred, "jpeg", 50)).all()
    assert (both != changed(changed(images, "jpeg", 50), "blur", 0.8)).any()


STRONGER = {"jpeg": (90, 40, 10), "blur": (0.4, 1), "noise": (0.04, 0.1), "rescale": (0.85, 0.5)}


@pytest.mark.parametrize("corruption", STRONGER)
def test_a_stronger_level_changes_more(corruption):
    images = smooth_images()
    errors = [
        np.square(changed(images, corruption, value).astype(float) - images).mean()
        for value in STRONGER[corruption]
    ]
    assert errors[0] > 0 and errors == sorted(errors)


def test_what_cannot_be_corrupted():
    images = smooth_images()
    for wrong in (images.astype(float), images[0], images[..., :1]):
        with pytest.raises(ValueError, match="not uint8"):
            corrupt(wrong, CLEAN, seed=1)
    for level in (Level("fog", "1", 0, (1,)), Level("jpeg", "", 0, ())):
        with pytest.raises(ValueError, match="no corruption that is known"):
            corrupt(images, level, seed=1)
