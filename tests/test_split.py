"""The validation split: shares, repeatability, refusals."""

import numpy as np
import pytest

from detector.data.split import validation_mask
from detector.errors import ExpectedError

STRATA = np.repeat([0, 1, 7], [100, 50, 20])


def test_the_same_share_of_every_stratum():
    mask = validation_mask(STRATA, 0.2, seed=1)
    assert mask.dtype == bool and mask.shape == (170,)
    assert [int(mask[stratum == STRATA].sum()) for stratum in (0, 1, 7)] == [20, 10, 4]


def test_the_order_of_the_strata_is_no_matter():
    order = np.random.default_rng(0).permutation(170)
    mask = validation_mask(STRATA[order], 0.2, seed=1)
    assert [int(mask[STRATA[order] == stratum].sum()) for stratum in (0, 1, 7)] == [20, 10, 4]


def test_the_seed_decides():
    first, again, other = (validation_mask(STRATA, 0.2, seed) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("sizes", "fraction"),
    [
        ([10, 1], 0.2),  # one of a stratum
        ([2, 2], 0.2),  # one image for validation, two strata
        ([2, 2], 0.9),  # nothing left to train
        ([1], 0.5),
    ],
)
def test_too_few_images(sizes, fraction):
    strata = np.repeat(np.arange(len(sizes)), sizes)
    with pytest.raises(ExpectedError, match=r"preprocess\.validation_fraction") as caught:
        validation_mask(strata, fraction, seed=1)
    assert str(caught.value).isprintable()
