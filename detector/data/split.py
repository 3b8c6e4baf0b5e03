"""Which images are for training and which for validation."""

import numpy as np
from sklearn.model_selection import train_test_split

from detector.errors import ExpectedError


def validation_mask(strata: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Choose `fraction` of the rows for validation, the same share of every stratum.

    strata: N numbers or strings, rows of one value are one stratum. fraction: above 0, below 1.
    Returns bool N, True for validation; the same for the same arguments. Raises ExpectedError
    when a stratum is too small to be divided.
    """
    mask = np.zeros(len(strata), bool)
    try:
        _, chosen = train_test_split(
            np.arange(len(strata)), test_size=fraction, random_state=seed, stratify=strata
        )
    except ValueError as error:
        raise ExpectedError(
            f"preprocess.validation_fraction {fraction}: {len(strata)} training images cannot be "
            f"divided so ({error}); add images or change the fraction"
        ) from error
    mask[chosen] = True
    return mask
