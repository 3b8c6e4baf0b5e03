"""Near-duplicates: the threshold is kept, no pair is missed, the cost is bounded."""

import numpy as np
import pytest

from detector.audit import audit, near_duplicates
from detector.images.decode import low_frequencies
from tests.helpers import random_pixels
from tests.test_audit import middle, table_of, with_noise


def near(images, rows, rms=5.0, **options):
    images = np.stack(images)
    table = table_of([(split, label, b"") for split, label in rows])
    return audit.near_duplicates(
        table, low_frequencies(images), lambda m: images[m], rms, **options
    )


def test_planted_near_duplicates():
    images = [middle(seed) for seed in range(10)]
    rows = [("train", 1)] * 4 + [("val", 0)] * 2 + [("test", 1)] * 4
    images += [
        images[0],  # 10: an exact one
        images[1] + np.uint8(60),  # 11: brighter
        with_noise(images[4], 4),  # 12: of val, noise below the threshold
        with_noise(images[2], 6),  # 13: noise above the threshold
    ]
    rows += [("test", 1)] * 4
    result = near(images, rows)
    assert result["rms_at_most"] == 5
    assert result["test_and_train"] == 3
    assert result["test_and_train_examples"] == [["m10", "m0"], ["m11", "m1"], ["m12", "m4"]]
    # 12 is REAL and resembles a FAKE one
    assert result["fake_and_real"] == 1
    assert result["fake_and_real_examples"] == [["m4", "m12"]]


@pytest.mark.parametrize(("rms", "found"), [(5.99, 0), (6.01, 1)])
def test_the_threshold(rms, found):
    images = [middle(0), with_noise(middle(0), 6)]
    assert near(images, [("train", 1), ("test", 1)], rms)["test_and_train"] == found


def test_a_threshold_of_zero_finds_equal_pixels():
    images = [middle(0), middle(0), with_noise(middle(0), 1)]
    rows = [("train", 1), ("test", 1), ("test", 1)]
    assert near(images, rows, rms=0)["test_and_train"] == 1


def test_an_image_with_many_near_duplicates_counts_once():
    images = [middle(0)] * 6
    result = near(images, [("train", 1)] * 5 + [("test", 0)])
    assert (result["test_and_train"], result["fake_and_real"]) == (1, 1)


def test_few_examples_are_named():
    images = [middle(seed) for seed in range(8)] * 2
    result = near(images, [("train", 1)] * 8 + [("test", 1)] * 8)
    assert result["test_and_train"] == 8 and len(result["test_and_train_examples"]) == 5


def test_at_most_so_many_images_are_asked_about():
    images = [middle(seed) for seed in range(8)] * 2
    rows = [("train", 1)] * 8 + [("test", 1)] * 8
    result = near(images, rows, most=3)
    assert result["test_and_train"] == result["test_and_train_asked"] == 3
    # Spread evenly from the first to the last
    assert [one for one, _ in result["test_and_train_examples"]] == ["m8", "m11", "m15"]
    assert near(images, rows)["test_and_train_asked"] == 8


def test_the_same_low_frequencies_are_not_enough():
    """The candidates are measured on all pixels."""
    images = [with_noise(np.full((32, 32, 3), 128, np.uint8), strength) for strength in (0, 40)]
    assert np.linalg.norm(np.subtract(*low_frequencies(np.stack(images)))) < 5
    assert near(images, [("train", 1), ("test", 1)])["test_and_train"] == 0


def test_against_all_pairs():
    """Random crops of one smooth field: many are close, many just not."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:80, :80]
    field = 128 + 60 * np.sin(x / 11) * np.cos(y / 13) + rng.normal(0, 2, (80, 80))
    corners = rng.integers(0, 48, (120, 2))
    images = np.stack([field[a : a + 32, b : b + 32] for a, b in corners])
    images = np.repeat(np.clip(images, 0, 255).astype(np.uint8)[..., None], 3, axis=3)
    rows = [("test" if i % 3 == 0 else "train", i % 2) for i in range(120)]
    gray = images[..., 0].astype(float)
    gray -= gray.mean(axis=(1, 2), keepdims=True)
    distance = np.sqrt(((gray[:, None] - gray[None]) ** 2).mean(axis=(2, 3)))
    test = np.array([split == "test" for split, _ in rows])
    fake = np.array([label == 0 for _, label in rows])
    close = distance <= 8.0
    result = near(list(images), rows, rms=8.0)
    assert 0 < result["test_and_train"] < 40
    assert result["test_and_train"] == close[test][:, ~test].any(axis=1).sum()
    assert result["fake_and_real"] == close[fake][:, ~fake].any(axis=1).sum()


def distances(first, second):
    """Give the RMS of every pair by its definition, in double precision."""
    flat = []
    for images in (first, second):
        grey = np.stack(images) @ np.array([0.299, 0.587, 0.114])
        flat.append((grey - grey.mean(axis=(1, 2), keepdims=True)).reshape(len(grey), -1))
    return np.array([np.sqrt(np.square(flat[1] - one).mean(axis=1)) for one in flat[0]])


def made(kind, rng, count):
    """Give images, float N,32,32,3, of which many have almost the same low frequencies."""
    if kind == "textures":
        return 128 + 25 * rng.standard_normal((count, 32, 32, 3))
    field = np.kron(rng.normal(0, 2, (count, 8, 8, 1)), np.ones((4, 4, 1)))
    return 128 + field + 6 * rng.standard_normal((count, 32, 32, 3))


@pytest.mark.parametrize("kind", ["textures", "of low contrast"])
@pytest.mark.parametrize("rms", [5.0, 8.0, 12.0])
def test_every_planted_pair_is_found(kind, rms):
    """What is nearest by the low frequencies is seldom the near-duplicate here."""
    rng = np.random.default_rng(int(rms))
    known = made(kind, rng, 1000)
    changes = np.kron(rng.standard_normal((60, 4, 4, 1)), np.ones((8, 8, 1)))
    asked = known[:60] + rms * rng.uniform(0.7, 1.1, (60, 1, 1, 1)) * changes
    known, asked = (np.clip(np.rint(some), 0, 255).astype(np.uint8) for some in (known, asked))
    close = (distances(asked, known) <= rms).any(axis=1).sum()
    assert close > 20
    rows = [("train", 1)] * 1000 + [("test", 1)] * 60
    assert near([*known, *asked], rows, rms)["test_and_train"] == close


def test_the_parts_do_not_matter(monkeypatch):
    images = [middle(seed) for seed in range(40)] * 3
    rows = [("train", 0)] * 40 + [("test", 1)] * 80
    whole = near(images, rows)
    assert (whole["test_and_train"], whole["fake_and_real"]) == (80, 40)
    monkeypatch.setattr(near_duplicates, "BLOCK", 7)
    monkeypatch.setattr(near_duplicates, "CHUNK", 11)
    assert near(images, rows) == whole


def test_images_of_another_size(monkeypatch):
    monkeypatch.setattr(near_duplicates, "CHUNK", 8)  # pixels of two images at a time
    images = [random_pixels(seed, 64) for seed in range(9)] * 2
    result = near(images, [("train", 1)] * 9 + [("test", 1)] * 9)
    assert result["test_and_train"] == 9


def test_where_low_frequencies_say_little_fewer_images_are_asked_about(monkeypatch):
    """The cost is bounded, and the number says so; elsewhere all are asked about."""
    flat = np.full((32, 32, 3), 128, np.uint8)
    alike = [with_noise(flat, strength) for strength in range(0, 120, 2)]
    rows = [("train", 1)] * 40 + [("test", 1)] * 20
    assert near(alike, rows, rms=1)["test_and_train_asked"] == 20
    monkeypatch.setattr(near_duplicates, "MOST_PAIRS", 200)
    few = near(alike, rows, rms=1)
    assert (few["test_and_train_asked"], few["test_and_train"]) == (5, 0)
    unlike = near(
        [np.kron(middle(seed)[:4, :4], np.ones((8, 8, 1), np.uint8)) for seed in range(60)], rows
    )
    assert unlike["test_and_train_asked"] == 20
