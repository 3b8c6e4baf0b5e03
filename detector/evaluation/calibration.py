"""Whether probabilities are to be believed, and the one number that makes them more so.

All on numpy arrays: labels N, 0 = FAKE, 1 = REAL; probabilities N of REAL, 0 to 1.
"""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import expit
from scipy.special import logit as exact_logit

from detector.evaluation.metrics import FAKE, REAL, clipped

LOG_TEMPERATURE = 5.0  # searched on both sides of 0: T from 1/148 to 148
BINS = 15  # Guo et al. 2017


def checked(
    labels: np.ndarray, probabilities: np.ndarray, both: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Give `(is_real, probabilities)`: bool N, and float N of the width they came in.

    Raises ValueError when the two are not of one length in one dimension, are empty, a label is
    not 0 or 1 or a probability not within 0 to 1 (NaN is not), and, if `both`, when one of the
    classes is missing.
    """
    labels, probabilities = np.asarray(labels), np.asarray(probabilities)
    if labels.ndim != 1 or labels.shape != probabilities.shape or not len(labels):
        raise ValueError(
            f"labels of shape {labels.shape} and probabilities of shape {probabilities.shape}: "
            "needed are as many of one as of the other, in one dimension, at least one"
        )
    if not np.isin(labels, (FAKE, REAL)).all():
        raise ValueError("a label is neither 0 (FAKE) nor 1 (REAL)")
    if not ((probabilities >= 0) & (probabilities <= 1)).all():
        raise ValueError("a probability is not a number from 0 to 1")
    if not np.issubdtype(probabilities.dtype, np.floating):
        probabilities = probabilities.astype(np.float64)
    is_real = labels == REAL
    if both and (is_real.all() or not is_real.any()):
        raise ValueError("the images are all of one class; both FAKE and REAL are needed")
    return is_real, probabilities


def logit(probabilities: np.ndarray) -> np.ndarray:
    """Give log(p / (1 - p)) as float64 of the clipped probabilities, so within -16.2 to 16.2."""
    return exact_logit(clipped(probabilities))


def fit_temperature(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Give the T that minimises the log loss of sigmoid(logit(p) / T), on validation images.

    Guo, Pleiss, Sun, Weinberger, On Calibration of Modern Neural Networks, ICML 2017, section 4.2,
    for two classes. T > 1 says that the probabilities were too sure of themselves.

    The loss is convex in 1 / T, so there is one minimum; it is sought within exp(-5) to exp(5),
    and is the end of that range when it lies beyond. T is 1, which changes nothing, when the images
    do not say what it should be, that is when

    - there are none, or all are of one class;
    - no image is on the wrong side of 0.5, for then the loss falls for ever as T goes to 0;
    - the logits do not lean to the right side on average, for then it falls for ever as T grows.

    Raises ValueError as `checked` does, but for empty arrays.
    """
    if not len(labels) and not len(probabilities):
        return 1.0
    is_real, probabilities = checked(labels, probabilities)
    right = np.where(is_real, 1.0, -1.0) * logit(probabilities)  # logit of the true class
    if is_real.all() or not is_real.any() or right.min() >= 0 or right.sum() <= 0:
        return 1.0
    best = minimize_scalar(
        lambda log_t: np.logaddexp(0, -right / np.exp(log_t)).mean(),
        bounds=(-LOG_TEMPERATURE, LOG_TEMPERATURE),
        method="bounded",
        options={"xatol": 1e-7},
    )
    return float(np.exp(best.x))


def apply_temperature(probabilities: np.ndarray, temperature: float) -> np.ndarray:
    """Give sigmoid(logit(p) / T) as float64 N; p is clipped first, see `clipped`.

    The order of the images stays, save that those beyond the clip become equal. 0.5 stays 0.5.
    T = 1 gives back the probabilities themselves, not clipped. Raises ValueError unless T is a
    positive number.
    """
    if not 0 < temperature < np.inf:
        raise ValueError(f"a temperature is a positive number, not {temperature}")
    if temperature == 1:
        return np.array(probabilities, np.float64)
    return expit(logit(probabilities) / temperature)


def reliability_table(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS
) -> pd.DataFrame:
    """Give what was said and what was so, over bins of as equally many images as ties allow.

    Columns: bin, from 0 up the probabilities; n, at least 1; mean_probability; share_real. The
    image of rank r of N from below belongs to bin r * bins // N; equal probabilities all go where
    the first of them goes, since nothing tells them apart, and a bin left empty is not listed.
    Raises ValueError as `checked` does, and for less than one bin.
    """
    if bins < 1:
        raise ValueError(f"{bins} bins: at least one is needed")
    is_real, probabilities = checked(labels, probabilities)
    _, tie, sizes = np.unique(probabilities, return_inverse=True, return_counts=True)
    first_rank = np.cumsum(sizes) - sizes
    place = (first_rank * bins // len(tie))[tie]
    _, number, counts = np.unique(place, return_inverse=True, return_counts=True)
    return pd.DataFrame(
        {
            "bin": np.arange(len(counts)),
            "n": counts,
            "mean_probability": np.bincount(number, probabilities) / counts,
            "share_real": np.bincount(number, is_real) / counts,
        }
    )


def expected_calibration_error(
    labels: np.ndarray, probabilities: np.ndarray, bins: int = BINS
) -> float:
    """Give the mean over the images of |mean_probability - share_real| of their bin, 0 to 1.

    Naeini, Cooper, Hauskrecht, AAAI 2015, with the bins of equal mass of Nixon et al., Measuring
    Calibration in Deep Learning, 2019. It is never quite 0: among n images in a bin the share is
    off by up to 0.4 / sqrt(n) on average even if every probability is true. Raises as
    `reliability_table`.
    """
    table = reliability_table(labels, probabilities, bins)
    gaps = (table["mean_probability"] - table["share_real"]).abs()
    return float((gaps * table["n"]).sum() / table["n"].sum())


def brier_score(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Give the mean of (p - label)^2, 0 to 1 (Brier 1950, halved as is usual for two classes).

    Raises ValueError as `checked` does.
    """
    is_real, probabilities = checked(labels, probabilities)
    return float(np.mean((probabilities.astype(np.float64) - is_real) ** 2))
