"""Which images are for training and which for validation."""

import math
from collections.abc import Sequence

import numpy as np
from sklearn.model_selection import train_test_split

from detector.base.errors import ExpectedError


def validation_mask(
    strata: np.ndarray, names: Sequence[str], fraction: float, seed: int
) -> np.ndarray:
    """Return bool N, True for the `fraction` of the rows, the same share of every stratum.

    strata: int N, 0 to len(names) - 1, of each of which there is a row. names: what a stratum is
    called in a message. fraction: above 0, below 1. The same for the same arguments. Raises
    ExpectedError when a stratum is too small to be divided.
    """
    counts = np.bincount(strata, minlength=len(names))
    least, chosen = int(counts.argmin()), math.ceil(fraction * len(strata))
    if counts[least] < 2:
        raise _refusal(fraction, f"{names[least]} has {counts[least]}, and both parts need one")
    for part, n in (("validation", chosen), ("training", len(strata) - chosen)):
        if n < len(names):
            raise _refusal(
                fraction, f"{n} of {len(strata)} images for {part} are fewer than the "
                f"{len(names)} groups that each part must have"
            )  # fmt: skip
    _, rows = train_test_split(
        np.arange(len(strata)), test_size=fraction, random_state=seed, stratify=strata
    )
    mask = np.zeros(len(strata), bool)
    mask[rows] = True
    for part, of_part in (("validation", strata[mask]), ("training", strata[~mask])):
        missing = np.flatnonzero(np.bincount(of_part, minlength=len(names)) == 0)
        if len(missing):
            name, count = names[missing[0]], counts[missing[0]]
            raise _refusal(fraction, f"{name} has {count}, of which {part} would get none")
    return mask


def _refusal(fraction: float, reason: str) -> ExpectedError:
    return ExpectedError(
        f"preprocess.validation_fraction {fraction}: the training images cannot be divided so: "
        f"{reason}; add images or change the fraction"
    )
