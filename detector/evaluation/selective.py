"""Where to cut the probabilities, and when to say nothing: chosen on validation images.

All on numpy arrays: labels N, 0 = FAKE, 1 = REAL; probabilities N of REAL, 0 to 1. An image is
predicted REAL when its probability is at least the threshold, else FAKE. Users ask "is it fake?",
so a false positive is a photograph, REAL, that is predicted FAKE.
"""

import numpy as np
import pandas as pd
from scipy.special import expit

from detector.base.layout import CLASSES
from detector.evaluation.calibration import checked, logit
from detector.evaluation.metrics import FAKE, REAL
from detector.evaluation.settings import parse_goal

UNSURE = "UNSURE"


def choose_threshold(labels: np.ndarray, probabilities: np.ndarray, goal: str | float) -> float:
    """Give the threshold that reaches `goal` on these images, for the rule p >= threshold.

    - "0.5" is 0.5, whatever the images.
    - "balanced" has the highest balanced accuracy, (recall of REAL + recall of FAKE) / 2: the
      middle of the gap between two neighbouring probabilities, in logits, as the band of UNSURE is
      measured, so that the choice is the same at any temperature. Of equally good gaps the widest
      is taken, of equally wide ones the lowest. 0.5 if no gap beats calling all images the same.
    - "fpr_X" is the largest at which the share of the REAL images predicted FAKE is at most X. It
    is
      therefore one of their probabilities, the one of rank floor(X * n) from below, from 0.

    The result is exact in the width of the probabilities, so that float32 compares as float64.
    Raises ValueError as `parse_goal` and `checked` do, and for "balanced" and "fpr_X" when the
    images are all of one class.
    """
    kind, value = parse_goal(goal)
    is_real, probabilities = checked(labels, probabilities, both=kind != "fixed")
    if kind == "fixed":
        return value
    if kind == "balanced":
        return _balanced_threshold(is_real, probabilities)
    real = np.sort(probabilities[is_real])
    # 0.29 * 100 is a hair below 29 in binary
    allowed = int(value * len(real) + 1e-9)
    return float(real[min(allowed, len(real) - 1)])


def _balanced_threshold(is_real: np.ndarray, probabilities: np.ndarray) -> float:
    scores, tie = np.unique(probabilities, return_inverse=True)
    real = np.bincount(tie, is_real).astype(np.int64)
    fake = np.bincount(tie, ~is_real).astype(np.int64)
    # Cut k is between scores k and k + 1. Twice the balanced accuracy times both counts is a whole
    # number, so that equally good cuts are exactly equal.
    real_over, fake_under = real.sum() - np.cumsum(real)[:-1], np.cumsum(fake)[:-1]
    worth = real_over * fake.sum() + fake_under * real.sum()
    if not len(worth) or worth.max() <= real.sum() * fake.sum():
        return 0.5
    best = np.flatnonzero(worth == worth.max())
    logits = logit(scores)
    cut = best[(logits[best + 1] - logits[best]).argmax()]
    low, high = scores[cut : cut + 2]
    middle = scores.dtype.type(expit(logits[cut : cut + 2].mean()))
    # No middle parts neighbouring floats, or two beyond the range of logits; `low` itself would be
    # predicted REAL.
    return float(middle if low < middle <= high else high)


def _distance(probabilities: np.ndarray, threshold: float) -> np.ndarray:
    return np.abs(logit(probabilities) - logit(threshold))


def risk_coverage(labels: np.ndarray, probabilities: np.ndarray, threshold: float) -> pd.DataFrame:
    """Give the error among the surest images, for every number of them that can be told apart.

    Sure is who is far from the threshold: |logit(p) - logit(threshold)|, in nats, of probabilities
    clipped as in evaluation.calibration. Columns: score, that distance, falling; coverage, the
    share of the images at least so far, rising to 1; risk, the share of errors among those. Equally
    far images make one row. El-Yaniv and Wiener, JMLR 11, 2010. Raises ValueError as `checked`
    does.
    """
    is_real, probabilities = checked(labels, probabilities)
    wrong = (probabilities >= float(threshold)) != is_real
    score, tie = np.unique(-_distance(probabilities, threshold), return_inverse=True)
    kept = np.cumsum(np.bincount(tie))
    risk = np.cumsum(np.bincount(tie, wrong)) / kept
    return pd.DataFrame({"coverage": kept / len(wrong), "risk": risk, "score": -score})


def aurc(table: pd.DataFrame) -> float:
    """Give the area under a table of `risk_coverage`, 0 (no error) to 1 (nothing else).

    Geifman, Uziel, El-Yaniv, ICLR 2019: the mean of the risk over coverages 1/N, 2/N to 1; equally
    far images have the risk of their row.
    """
    return float((table["risk"] * np.diff(table["coverage"], prepend=0)).sum())


def coverage_at_risk(table: pd.DataFrame, max_risk: float) -> float:
    """Give the largest coverage whose risk is at most `max_risk`; 0 where none is."""
    return float(table.loc[table["risk"] <= max_risk, "coverage"].to_numpy().max(initial=0))


def abstention_band(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float, max_error: float
) -> float | None:
    """Give the smallest distance from the threshold at which to be sure, on validation images.

    The distance is the score of `risk_coverage`. Among the images at least so far the share of
    errors is at most `max_error`. 0, no image is unsure, where that holds for all; None where it
    holds for no distance. The share is of these very images: on others it may be larger, the more
    so the fewer are kept. Raises ValueError as `checked` does, and for a max_error not in 0 to 1.
    """
    if not 0 <= max_error <= 1:
        raise ValueError(f"a share of errors is within 0 to 1, not {max_error}")
    table = risk_coverage(labels, probabilities, threshold)
    good = table.loc[table["risk"] <= max_error, "score"]
    if good.empty:
        return None
    return 0.0 if good.index[-1] == table.index[-1] else float(good.iloc[-1])


def verdicts(probabilities: np.ndarray, threshold: float, band: float | None = 0.0) -> np.ndarray:
    """Call each image "REAL", "FAKE" or "UNSURE": str N.

    band: of `abstention_band`; an image nearer to the threshold is UNSURE, and with None all are.
    An image that is not is predicted as everywhere else, REAL when p >= threshold.
    """
    probabilities = np.asarray(probabilities)
    predicted = np.where(probabilities >= float(threshold), CLASSES[REAL], CLASSES[FAKE])
    unsure = _distance(probabilities, threshold) < (np.inf if band is None else band)
    return np.where(unsure, UNSURE, predicted)
