"""Metrics of a detector from labels and probabilities; nothing here knows a network."""

from decimal import Decimal
from typing import Any

import numpy as np
import pandas as pd
from sklearn import metrics as sk

from detector.base.layout import CIFAR_CLASSES, CLASSES

FAKE, REAL = range(2)
CURVE_POINTS = 500  # of a plotted curve; more cannot be seen
# How near to 0 and 1 a probability comes in a logarithm: a logit of 16, never infinite.
FLOOR = 1e-7


def classification_metrics(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float = 0.5
) -> dict[str, Any]:
    """Give the paper's metrics and the usual ones, all but counts between 0 and 1.

    labels: N, 0 = FAKE, 1 = REAL, both present. probabilities: float N of REAL. An image is
    predicted REAL when its probability is at least `threshold`. precision, recall and f1 are those
    of REAL, as in the paper's table, and specificity is the recall of FAKE; `fake` has the same
    three with FAKE as the positive class. log_loss is in nats. A precision without any positive
    call is 0.
    """
    predicted = (probabilities >= threshold).astype(int)
    confusion = sk.confusion_matrix(labels, predicted, labels=[FAKE, REAL])
    by_class = {
        label: {
            "precision": sk.precision_score(labels, predicted, pos_label=label, zero_division=0),
            "recall": sk.recall_score(labels, predicted, pos_label=label, zero_division=0),
            "f1": sk.f1_score(labels, predicted, pos_label=label, zero_division=0),
        }
        for label in (FAKE, REAL)
    }
    result = {
        "n": len(labels),
        "accuracy": sk.accuracy_score(labels, predicted),
        **by_class[REAL],
        "specificity": by_class[FAKE]["recall"],
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
        "roc_auc": sk.roc_auc_score(labels, probabilities),
        "average_precision": sk.average_precision_score(labels, probabilities),
        "log_loss": log_loss(labels, probabilities),
        "fake": {
            **by_class[FAKE],
            "average_precision": sk.average_precision_score(1 - labels, -probabilities),
        },
        "confusion": {
            f"{CLASSES[actual]}_predicted_{CLASSES[said]}": int(confusion[actual, said])
            for actual in (FAKE, REAL)
            for said in (FAKE, REAL)
        },
    }
    return rounded(result)


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Give the mean negative log likelihood in nats, of clipped probabilities."""
    return sk.log_loss(labels, clipped(probabilities), labels=[FAKE, REAL])


def clipped(probabilities: np.ndarray) -> np.ndarray:
    """Give them as float64 within FLOOR to 1 - FLOOR; float32 has no 1 - 1e-7."""
    return np.clip(np.asarray(probabilities, np.float64), FLOOR, 1 - FLOOR)


def accuracy_by_cifar_class(
    labels: np.ndarray, probabilities: np.ndarray, classes: np.ndarray, threshold: float = 0.5
) -> dict[str, float]:
    """Give the accuracy on the images of each CIFAR-10 class that occurs; -1 is unknown."""
    right = (probabilities >= threshold) == (labels == REAL)
    return rounded(
        {
            name: float(right[classes == number].mean())
            for number, name in enumerate(CIFAR_CLASSES)
            if (classes == number).any()
        }
    )


def percent(share: float, sign: str = "") -> str:
    """Return a share in percent with two digits, as it is written everywhere: 97.25 for 0.9725.

    sign: "+" puts one before what is not negative. The share is rounded to the six digits of the
    JSON files first, then a half goes to the even digit, in decimals, so that a float32 and a
    rounded float64 of the same share are written alike.
    """
    return f"{Decimal(repr(round(float(share), 6))) * 100:{sign}.2f}"


def rounded(tree: Any, digits: int = 6) -> Any:
    """Round every float of nested dicts; beyond this the last bits differ between processors.

    A `p_value` keeps as many digits from its first one that is not 0, however small it is.
    """
    if isinstance(tree, dict):
        return {
            key: float(f"{value:.{digits}g}") if key == "p_value" else rounded(value, digits)
            for key, value in tree.items()
        }
    if isinstance(tree, float | np.floating):
        return round(float(tree), digits)
    return tree


def confusion_table(
    labels: np.ndarray, probabilities: np.ndarray, threshold: float
) -> pd.DataFrame:
    """Return the confusion matrix, a row for each of its four cells, REAL first.

    labels, probabilities, threshold: as of `classification_metrics`. Columns actual, predicted,
    count, share (of the actual class) and threshold.
    """
    counts = sk.confusion_matrix(labels, probabilities >= threshold, labels=[FAKE, REAL])
    shares = counts / counts.sum(axis=1, keepdims=True)
    cells = [
        (CLASSES[actual], CLASSES[said], counts[actual, said], shares[actual, said], threshold)
        for actual in (REAL, FAKE)
        for said in (REAL, FAKE)
    ]
    columns = ["actual", "predicted", "count", "share", "threshold"]
    return pd.DataFrame(cells, columns=columns).round(6)


def roc_table(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Give the ROC curve as columns fpr and tpr (of REAL), at most CURVE_POINTS rows."""
    fpr, tpr, _ = sk.roc_curve(labels, probabilities)
    return thinned(pd.DataFrame({"fpr": fpr, "tpr": tpr}))


def precision_recall_table(labels: np.ndarray, probabilities: np.ndarray) -> pd.DataFrame:
    """Give the curve as columns recall and precision (of REAL), at most CURVE_POINTS rows."""
    precision, recall, _ = sk.precision_recall_curve(labels, probabilities)
    return thinned(pd.DataFrame({"recall": recall, "precision": precision}))


def thinned(curve: pd.DataFrame) -> pd.DataFrame:
    """Keep at most CURVE_POINTS rows, both ends among them, rounded to six digits."""
    if len(curve) > CURVE_POINTS:
        rows = np.unique(np.linspace(0, len(curve) - 1, CURVE_POINTS).astype(int))
        curve = curve.iloc[rows]
    return curve.round(6).reset_index(drop=True)
