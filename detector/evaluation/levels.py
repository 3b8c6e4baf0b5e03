"""How well a detector does on corrupted images: by level, on the whole, and against another.

Probabilities are raw ones of REAL, float32 (L, N): L levels, the first of them clean, of the same N
images. Accuracy and recalls are those of the calibrated probability at the threshold frozen on
clean validation images; nothing is chosen anew for a level. The AUC is that of the raw
probability, as on the ROC curves, since calibration makes the surest images equal.

Intervals are of the images drawn, as in evaluation.intervals, with the same images drawn for all
levels.
"""

from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from detector.evaluation.calibration import checked
from detector.evaluation.decision import Decision
from detector.evaluation.intervals import (
    Interval,
    mean_interval,
    paired_mean,
    share_interval,
)
from detector.evaluation.metrics import REAL, rounded
from detector.evaluation.resampling import bootstrap_metrics


def rightness(labels: np.ndarray, probabilities: np.ndarray, decision: Decision) -> np.ndarray:
    """Tell at which level which image is predicted rightly, bool (L, N).

    labels: N, 0 = FAKE, 1 = REAL. probabilities: raw, float (L, N).
    """
    predicted_real = decision.calibrate(probabilities) >= float(decision.threshold)
    return predicted_real == (np.asarray(labels) == REAL)


def level_table(
    labels: np.ndarray,
    probabilities: np.ndarray,
    levels: pd.DataFrame,
    decision: Decision,
    resamples: int,
    seed: int,
) -> pd.DataFrame:
    """Give one row a level, in the order of `levels`, rounded to six digits.

    labels: N. probabilities: raw, float32 (L, N). levels: L rows with corruption, level, severity;
    the first is none, clean. Columns: those three, n, accuracy, accuracy_low, accuracy_high,
    roc_auc, roc_auc_low, roc_auc_high, fake_recall (share of FAKE predicted FAKE), real_recall.
    resamples, seed: of the bootstrap. Raises ValueError when shapes do not fit, the first level is
    not clean, a class is missing, a probability is not within 0 to 1, or `resamples` is less than
    1.
    """
    is_real, probabilities = _checked(labels, probabilities, levels)
    right = rightness(labels, probabilities, decision)
    n = len(is_real)
    shares = [share_interval(int(row.sum()), n) for row in right]
    areas = [bootstrap_metrics(labels, row, resamples, seed)["roc_auc"] for row in probabilities]
    return (
        levels[["corruption", "level", "severity"]]
        .reset_index(drop=True)
        .assign(
            n=n,
            accuracy=right.mean(axis=1),
            accuracy_low=[share["low"] for share in shares],
            accuracy_high=[share["high"] for share in shares],
            roc_auc=[area["value"] for area in areas],
            roc_auc_low=[area["low"] for area in areas],
            roc_auc_high=[area["high"] for area in areas],
            fake_recall=right[:, ~is_real].mean(axis=1),
            real_recall=right[:, is_real].mean(axis=1),
        )
        .round(6)
    )


def from_clean(table: pd.DataFrame) -> pd.DataFrame:
    """Give each corruption's levels, after the clean one as its severity 0, for drawing curves.

    table: of `level_table`. The mildest corruption has severity 1.
    """
    clean = table[table["corruption"] == "none"]
    parts = []
    for name, levels in table[table["corruption"] != "none"].groupby("corruption", sort=False):
        parts += [clean.assign(corruption=name), levels.assign(severity=levels["severity"] + 1)]
    return pd.concat(parts, ignore_index=True)


def summary(
    labels: np.ndarray, probabilities: np.ndarray, levels: pd.DataFrame, decision: Decision
) -> dict[str, Any]:
    """Give the means over all levels but clean, each level counting the same, rounded.

    Arguments and errors are those of `level_table`; there must be a level that is not clean.
    Keys: n, images; levels, how many are corrupted; accuracy and roc_auc, the means over those;
    clean_accuracy and clean_roc_auc; by_corruption, the two means over each one's levels;
    intervals, of accuracy (the mean over images of the share of levels at which one is predicted
    rightly, since the levels are fixed) and of clean_accuracy (Wilson).
    """
    is_real, probabilities = _checked(labels, probabilities, levels)
    right = rightness(labels, probabilities, decision)
    n = len(is_real)
    area = np.array([roc_auc_score(is_real, row) for row in probabilities])
    over_levels = _over_levels(right)
    corruptions = levels["corruption"].to_numpy()[1:]

    def means(picked: np.ndarray) -> dict[str, float]:
        return {"accuracy": right[1:][picked].mean(), "roc_auc": area[1:][picked].mean()}

    clean = share_interval(int(right[0].sum()), n)
    return rounded(
        {
            "n": n,
            "levels": len(corruptions),
            **means(np.ones(len(corruptions), bool)),
            "clean_accuracy": clean["value"],
            "clean_roc_auc": area[0],
            "by_corruption": {
                name: means(corruptions == name) for name in dict.fromkeys(corruptions)
            },
            "intervals": {
                "accuracy": mean_interval(is_real, over_levels, 0, 1),
                "clean_accuracy": clean,
            },
        }
    )


def paired_robustness(
    labels: np.ndarray, right_a: np.ndarray, right_b: np.ndarray
) -> dict[str, Interval]:
    """Give the accuracy of a minus that of b, -1 to 1, with intervals: `corrupted` and `clean`.

    labels: N. right_a, right_b: bool (L, N) as `rightness` gives, of the same levels and images,
    the first level clean. corrupted is the mean over the other levels. Each is value, low, high,
    n, n_fake and n_real, rounded. Raises ValueError when shapes do not fit, a class is missing or
    no level is corrupted.
    """
    labels, a, b = np.asarray(labels), np.asarray(right_a), np.asarray(right_b)
    if a.dtype != bool or b.dtype != bool or a.shape != b.shape or a.shape[1:] != labels.shape:
        raise ValueError(
            f"right_a {a.dtype} {a.shape} and right_b {b.dtype} {b.shape} are not bool (L, N) "
            f"of {labels.shape} labels"
        )
    is_real, _ = checked(labels, np.zeros(len(labels)), both=True)
    return rounded(
        {
            "corrupted": paired_mean(is_real, _over_levels(a), _over_levels(b)),
            "clean": paired_mean(is_real, a[0], b[0]),
        }
    )


def _checked(
    labels: np.ndarray, probabilities: np.ndarray, levels: pd.DataFrame
) -> tuple[np.ndarray, np.ndarray]:
    """Give `(is_real, probabilities)`: bool N, float (L, N)."""
    probabilities = np.asarray(probabilities)
    if probabilities.shape != (len(levels), len(labels)) or not len(levels):
        raise ValueError(
            f"probabilities of shape {probabilities.shape} do not fit {len(levels)} levels "
            f"of {len(labels)} images"
        )
    if (levels["corruption"].iloc[0], levels["level"].iloc[0]) != ("none", "clean"):
        raise ValueError("the first level is not none, clean")
    for row in probabilities:
        is_real, _ = checked(labels, row, both=True)
    return is_real, probabilities


def _over_levels(right: np.ndarray) -> np.ndarray:
    """Return each image's share of the corrupted levels at which it is predicted rightly, N."""
    if len(right) < 2:
        raise ValueError("no level is corrupted, so there is no mean over such levels")
    return right[1:].mean(axis=0)
