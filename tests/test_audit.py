"""Planted duplicates, coders and sizes are counted exactly."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from detector.data import audit
from detector.data.decode import channel_moments, low_frequencies
from tests.helpers import random_pixels


def table_of(rows):
    """rows: (split, label, digest)."""
    table = pd.DataFrame(rows, columns=["split", "label", "digest"])
    return table.assign(member=[f"m{i}" for i in range(len(rows))])


def test_exact_duplicates():
    counts = audit.exact_duplicates(
        table_of(
            [
                ("train", 1, b"a"),
                ("train", 1, b"a"),  # the same class: within train only
                ("train", 0, b"a"),  # and again, as FAKE
                ("train", 0, b"b"),
                ("train", 1, b"c"),
                ("val", 1, b"c"),  # of train
                ("val", 1, b"d"),
                ("val", 0, b"e"),
                ("test", 1, b"d"),  # of val
                ("test", 0, b"b"),  # of train, twice
                ("test", 0, b"b"),
                ("test", 0, b"c"),  # of train and val, REAL there
                ("test", 1, b"f\0"),
                ("test", 1, b"f"),
            ]
        )
    )
    assert counts == {
        "within_train": 2,
        "within_val": 0,
        "within_test": 1,
        "train_and_val": 1,
        "train_and_test": 3,
        "val_and_test": 2,
        "fake_and_real": 2,
    }


def near(images, rows, rms=5.0, **options):
    images = np.stack(images)
    table = table_of([(split, label, b"") for split, label in rows])
    return audit.near_duplicates(
        table, low_frequencies(images), lambda m: images[m], rms, **options
    )


def with_noise(pixels, rms):
    """Give `pixels`, all between 64 and 192, changed by `rms` grey levels at high frequency."""
    sign = np.where(np.indices((32, 32)).sum(axis=0) % 2, 1, -1)
    return (pixels.astype(int) + rms * sign[..., None]).astype(np.uint8)


def middle(seed):
    return 64 + random_pixels(seed) // 2


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


def test_the_warning_says_how_many_were_asked_about(monkeypatch):
    monkeypatch.setattr(audit, "MOST_ASKED", 3)
    found = near([middle(0)] * 2, [("train", 1), ("test", 1)]) | {"test_and_train_asked": 3}
    (warning,) = audit.duplicate_warnings(
        dict.fromkeys(("train_and_test", "val_and_test", "fake_and_real"), 0), found
    )
    assert warning.startswith("1 test image (of 3 that were looked at) with a near-duplicate")


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
    result = near(list(images), rows, rms=8.0, neighbours=120)
    assert 0 < result["test_and_train"] < 40
    assert result["test_and_train"] == close[test][:, ~test].any(axis=1).sum()
    assert result["fake_and_real"] == close[fake][:, ~fake].any(axis=1).sum()


def coded_table(fake, real):
    rows = [(0, codec) for codec in fake] + [(1, codec) for codec in real]
    return pd.DataFrame(rows, columns=["label", "codec"])


def test_codecs_the_most_frequent_first():
    counts = audit.codecs_by_class(coded_table(["a", "b", "b", "c"], ["a"]))
    assert list(counts["FAKE"].items()) == [("b", 2), ("a", 1), ("c", 1)]
    assert counts["REAL"] == {"a": 1}


def test_warnings_of_coders():
    assert audit.codec_warnings(audit.codecs_by_class(coded_table("a" * 50, "a" * 90))) == []
    counts = audit.codecs_by_class(coded_table("aaab", "bbbb"))
    first, second = audit.codec_warnings(counts)
    assert first.startswith("a: 75.0% of FAKE but 0.0% of REAL files are coded so")
    assert second.startswith("b: 25.0% of FAKE but 100.0% of REAL files are coded so")


def test_a_small_difference_of_coders_is_let_pass():
    counts = {"FAKE": {"a": 995, "b": 5}, "REAL": {"a": 1000}}
    assert audit.codec_warnings(counts) == []
    counts["FAKE"] = {"a": 980, "b": 20}
    assert len(audit.codec_warnings(counts)) == 2


def sized(fake, real):
    rows = [(0, size) for size in fake] + [(1, size) for size in real]
    return pd.DataFrame(rows, columns=["label", "file_bytes"])


def test_file_sizes():
    sizes = audit.file_sizes_by_class(sized(range(0, 101), [500] * 9))
    assert sizes["FAKE"] == {"median": 50, "5%": 5, "95%": 95}
    assert sizes["REAL"] == {"median": 500, "5%": 500, "95%": 500}
    assert sizes["auc"] == 1


@pytest.mark.parametrize(
    ("fake", "real", "auc"),
    [([1, 2], [3, 4], 1), ([3, 4], [1, 2], 1), ([1, 1], [1, 1], 0.5), ([1, 3], [2, 4], 0.75)],
)
def test_auc_of_the_file_size(fake, real, auc):
    assert audit.file_sizes_by_class(sized(fake, real))["auc"] == auc


def test_channel_statistics_are_those_of_all_pixels():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 50)
    images = (
        rng.integers(0, 256, (50, 32, 32, 3), dtype=np.uint8) // (1 + labels)[:, None, None, None]
    )
    images = images.astype(np.uint8)
    images[0], images[1] = 0, 255
    moments = np.concatenate([channel_moments(images[:20]), channel_moments(images[20:])])
    result = audit.channel_statistics(pd.DataFrame({"label": labels}), moments)
    for label, name in enumerate(("FAKE", "REAL")):
        pixels = images[labels == label].reshape(-1, 3).astype(float)
        assert result[name]["mean"] == pytest.approx(pixels.mean(axis=0), abs=6e-4)
        assert result[name]["deviation"] == pytest.approx(pixels.std(axis=0), abs=6e-4)


def test_channel_statistics_of_plain_images():
    images = np.stack([np.full((8, 8, 3), value, np.uint8) for value in (0, 255, 7)])
    result = audit.channel_statistics(pd.DataFrame({"label": [0, 0, 1]}), channel_moments(images))
    assert result["FAKE"] == {"mean": [127.5] * 3, "deviation": [127.5] * 3}
    assert result["REAL"] == {"mean": [7.0] * 3, "deviation": [0.0] * 3}


def full_audit(images, rows, codecs):
    images = np.stack(images)
    digests = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
    table = table_of([(*row, digest) for row, digest in zip(rows, digests, strict=True)])
    table = table.assign(codec=codecs, file_bytes=range(len(rows)))
    return audit.audit(
        table, low_frequencies(images), channel_moments(images), lambda m: images[m], 5.0
    )


PLACES = [(split, label) for split in ("train", "val", "test") for label in (0, 1)] * 2


def test_a_clean_set_gives_no_warning():
    report = full_audit([middle(seed) for seed in range(12)], PLACES, "same")
    assert report["warnings"] == []
    assert report["images"] == {s: {"FAKE": 2, "REAL": 2} for s in ("train", "val", "test")}
    assert set(report["exact_duplicates"].values()) == {0}
    auc = roc_auc_score([label for _, label in PLACES], range(12))
    assert report["file_bytes"]["auc"] == round(max(auc, 1 - auc), 4)


def test_all_that_can_be_wrong_is_warned_of():
    images = [middle(seed) for seed in range(12)]
    images[4] = images[0]  # test FAKE is train FAKE
    images[3] = images[2]  # val FAKE is val REAL
    images[5] = with_noise(images[1], 3)  # test REAL is nearly train REAL
    codecs = ["one" if label else "other" for _, label in PLACES]
    report = full_audit(images, PLACES, codecs)
    warnings = " | ".join(report["warnings"])
    assert "1 test image with the very pixels of a training image" in warnings
    assert "2 test images with a near-duplicate among training images (RMS at most 5" in warnings
    assert "1 FAKE image with the very pixels of a REAL one" in warnings
    assert "1 FAKE image with a near-duplicate among REAL ones" in warnings
    assert "one: 0.0% of FAKE but 100.0% of REAL" in warnings
    assert len(report["warnings"]) == 6
