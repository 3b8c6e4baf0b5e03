"""The validation split: shares, repeatability, refusals."""

import numpy as np
import pytest

from detector.base.errors import ExpectedError
from detector.preprocessing.ingest import plan_splits
from detector.preprocessing.split import validation_mask

STRATA, NAMES = np.repeat([0, 1, 2], [100, 50, 20]), ["a", "b", "c"]


def test_the_same_share_of_every_stratum():
    mask = validation_mask(STRATA, NAMES, 0.2, seed=1)
    assert mask.dtype == bool and mask.shape == (170,)
    assert [int(mask[stratum == STRATA].sum()) for stratum in (0, 1, 2)] == [20, 10, 4]


def test_the_order_of_the_strata_is_no_matter():
    order = np.random.default_rng(0).permutation(170)
    mask = validation_mask(STRATA[order], NAMES, 0.2, seed=1)
    assert [int(mask[STRATA[order] == stratum].sum()) for stratum in (0, 1, 2)] == [20, 10, 4]


def test_the_seed_decides():
    first, again, other = (validation_mask(STRATA, NAMES, 0.2, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("sizes", "fraction", "reason"),
    [
        ([10, 1], 0.2, "b has 1, and both parts need one"),
        ([10, 0], 0.2, "b has 0, and both parts need one"),
        ([2, 2], 0.2, "1 of 4 images for validation are fewer than the 2 groups"),
        ([2, 2], 0.9, "0 of 4 images for training are fewer than the 2 groups"),
        ([1], 0.5, "a has 1"),
        ([900, 3], 0.1, "b has 3, of which validation would get none"),
        ([900, 3], 0.95, "b has 3, of which training would get none"),
    ],
)
def test_too_few_images(sizes, fraction, reason):
    strata = np.repeat(np.arange(len(sizes)), sizes)
    with pytest.raises(ExpectedError, match=r"preprocess\.validation_fraction") as caught:
        validation_mask(strata, NAMES[: len(sizes)], fraction, seed=1)
    said = str(caught.value)
    assert said.isprintable() and f"so: {reason}" in said


def test_what_is_too_small_is_named_as_the_archive_names_it():
    members = {f"train/REAL/000{i} (3).jpg": ("train", 1) for i in range(5)}
    members |= {f"train/FAKE/100{i} (3).jpg": ("train", 0) for i in range(5)}
    members["train/REAL/0009 (4).jpg"] = ("train", 1)
    with pytest.raises(ExpectedError, match=r"so: train/REAL, CIFAR-10 class 3 has 1, and"):
        plan_splits(members, True, 0.2, 1)
    with pytest.raises(ExpectedError, match=r"so: train/FAKE has 1, and"):
        plan_splits({**dict(list(members.items())[:6])}, False, 0.2, 1)
