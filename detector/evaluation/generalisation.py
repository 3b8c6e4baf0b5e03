"""What a detector is worth on images of another origin than those it was trained on."""

from typing import Any

import numpy as np

from detector.evaluation.calibration import checked
from detector.evaluation.decision import Decision
from detector.evaluation.intervals import share_interval
from detector.evaluation.metrics import rounded
from detector.evaluation.resampling import bootstrap_metrics
from detector.evaluation.selective import UNSURE


def judge(
    labels: np.ndarray, probabilities: np.ndarray, decision: Decision, resamples: int, seed: int
) -> dict[str, Any]:
    """Judge one set by what was frozen on validation; nothing is fitted to the set.

    labels: N, 0 = FAKE, 1 = REAL, at least one image, one class may be absent. probabilities:
    float N, raw, of REAL. resamples, seed: of the bootstrap.

    Returns n_fake, n_real, threshold; accuracy, fake_recall and real_recall at the frozen threshold
    of the calibrated probability, with Wilson's intervals; roc_auc of the raw probability with a
    bootstrap interval; unsure, the share that the frozen band leaves unanswered; mean_probability,
    the mean calibrated probability of REAL by class. What an absent class leaves undefined is None.
    Raises ValueError as calibration.checked does.
    """
    is_real, raw = checked(labels, probabilities)
    calibrated = decision.calibrate(raw)
    right = (calibrated >= decision.threshold) == is_real
    both = is_real.any() and not is_real.all()
    auc = bootstrap_metrics(labels, raw, resamples, seed)["roc_auc"] if both else None
    return rounded(
        {
            "n_fake": int((~is_real).sum()),
            "n_real": int(is_real.sum()),
            "threshold": decision.threshold,
            "accuracy": _share(right),
            "fake_recall": _share(right[~is_real]),
            "real_recall": _share(right[is_real]),
            "roc_auc": auc,
            "unsure": float((decision.verdicts(calibrated) == UNSURE).mean()),
            "mean_probability": {
                "FAKE": _mean(calibrated[~is_real]),
                "REAL": _mean(calibrated[is_real]),
            },
        }
    )


def _share(right: np.ndarray) -> dict[str, float] | None:
    return share_interval(int(right.sum()), len(right)) if len(right) else None


def _mean(values: np.ndarray) -> float | None:
    return float(values.mean()) if len(values) else None
