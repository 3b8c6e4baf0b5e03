"""Planted duplicates, coders and sizes are counted exactly."""

import hashlib

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import roc_auc_score

from detector.audit import audit
from detector.images.decode import channel_moments, low_frequencies
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
        "test_and_train_or_val": 4,  # c is in both
        "fake_and_real": 2,
        "anywhere": 7,
    }


def with_noise(pixels, rms):
    """Give `pixels`, all between 64 and 192, changed by `rms` grey levels at high frequency."""
    sign = np.where(np.indices((32, 32)).sum(axis=0) % 2, 1, -1)
    return (pixels.astype(int) + rms * sign[..., None]).astype(np.uint8)


def middle(seed):
    return 64 + random_pixels(seed) // 2


def coded_table(fake, real):
    rows = [(0, codec) for codec in fake] + [(1, codec) for codec in real]
    return pd.DataFrame(rows, columns=["label", "codec"])


def test_codecs_the_most_frequent_first():
    counts = audit.codecs_by_class(coded_table(["a", "b", "b", "c"], ["a"]))
    assert list(counts["FAKE"].items()) == [("b", 2), ("a", 1), ("c", 1)]
    assert counts["REAL"] == {"a": 1}


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
        assert result[name]["std"] == pytest.approx(pixels.std(axis=0), abs=6e-4)


def test_channel_statistics_of_plain_images():
    images = np.stack([np.full((8, 8, 3), value, np.uint8) for value in (0, 255, 7)])
    result = audit.channel_statistics(pd.DataFrame({"label": [0, 0, 1]}), channel_moments(images))
    assert result["FAKE"] == {"mean": [127.5] * 3, "std": [127.5] * 3}
    assert result["REAL"] == {"mean": [7.0] * 3, "std": [0.0] * 3}


def full_audit(images, codecs="same", file_bytes=None, places=None):
    images, places = np.stack(images), places or PLACES
    digests = [hashlib.blake2b(image.tobytes(), digest_size=16).digest() for image in images]
    table = table_of([(*row, digest) for row, digest in zip(places, digests, strict=True)])
    sizes = range(len(places)) if file_bytes is None else file_bytes
    table = table.assign(codec=codecs, file_bytes=sizes)
    return audit.audit(
        table, low_frequencies(images), channel_moments(images), lambda m: images[m], 5.0
    )


PLACES = [(split, label) for split in ("train", "val", "test") for label in (0, 1)] * 50


@pytest.fixture
def images():
    return [middle(seed) for seed in range(300)]


def test_a_clean_set_gives_no_warning(images):
    report = full_audit(images)
    assert report["warnings"] == []
    assert report["images"] == {s: {"FAKE": 50, "REAL": 50} for s in ("train", "val", "test")}
    assert set(report["exact_duplicates"].values()) == {0}
    auc = roc_auc_score([label for _, label in PLACES], range(300))
    assert report["file_bytes"]["auc"] == round(max(auc, 1 - auc), 4)


def test_all_that_can_be_wrong_is_warned_of_the_gravest_first(images):
    images[4] = images[0]  # test FAKE is train FAKE
    images[3] = images[2]  # val FAKE is val REAL
    images[5] = with_noise(images[1], 3)  # test REAL is nearly train REAL
    images[9] = images[7]  # val REAL is train REAL
    for i in range(10, 40, 6):
        images[i] = images[16]  # 5 of test FAKE are one
    codecs = ["one" if label else "other" for _, label in PLACES]
    sizes = [900 + 100 * label + i // 2 for i, (_, label) in enumerate(PLACES)]
    warnings = full_audit(images, codecs, sizes)["warnings"]
    expected = [
        "one: 0.0% of FAKE but 100.0% of REAL",
        "other: 100.0% of FAKE but 0.0% of REAL",
        "the size of a file alone tells the classes apart with an AUC of 0.94 (0.5 is chance; "
        "medians: FAKE 974 bytes, REAL 1,074)",
        "4 test images with the very pixels of another test image: the intervals are too narrow",
        "2 test images with a near-duplicate among training images (RMS at most 5 grey levels)",
        "1 test image with the very pixels of a training image",
        "1 validation image with the very pixels of a training image: temperature, threshold",
        "1 FAKE image with the very pixels of a REAL one",
        "1 FAKE image with a near-duplicate among REAL ones",
    ]
    for warning, start in zip(warnings, expected, strict=True):
        assert warning.startswith(start)


def test_a_test_image_that_is_in_train_and_in_val_is_one(images):
    images[2] = images[4] = images[0]
    assert "1 test image with the very pixels" in " | ".join(full_audit(images)["warnings"])


def test_few_images_of_a_class(images):
    """49 and 50 of one class; nothing is said of few training images."""
    places = [("train", 0)] * 10 + [("train", 1)] * 41 + [("val", 0)] * 50 + [("val", 1)] * 49
    places += [("test", 0)] * 2 + [("test", 1)] * 148
    assert full_audit(images, places=places, file_bytes=7)["warnings"] == [
        "only 2 FAKE images in test, fewer than 50: what is measured on them is uncertain",
        "only 49 REAL images in val, fewer than 50: temperature, threshold and the band of UNSURE "
        "that are chosen on them are chance",
    ]
