"""How far chance may have moved a figure: intervals of the metrics, and of two detectors' gap.

All on numpy arrays: labels N, 0 = FAKE, 1 = REAL; probabilities N of REAL, 0 to 1. Intervals are
of the images drawn: they say nothing of another training seed or of images of another kind. None
has a width of 0, since errors that were not seen among n images may be found among others:

- shares of counted images have Wilson's interval (JASA 22, 1927);
- balanced accuracy and F1 are put together from those of their parts (Zou and Donner, Statistics
  in Medicine 27, 2008: add the squares of what each part's end changes);
- means over images, and differences of such, count one more image of each class at both ends of
  their range (Agresti and Caffo, American Statistician 54, 2000; for pairs Bonett and Price,
  J. Educational and Behavioral Statistics 37, 2012);
- what depends on the order of the images, and the log loss, is resampled: evaluation.resampling.
"""

from collections.abc import Callable, Mapping
from sys import float_info

import numpy as np
from scipy.stats import binomtest, norm

from detector.base.layout import CLASSES
from detector.evaluation.metrics import FAKE, REAL

Interval = dict[str, float]  # value, low, high, n; n_fake and n_real where it is of both classes


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return `(low, high)`, 0 to 1, of a share of which `successes` of `n` were seen.

    Wilson, JASA 22, 1927. `(0, 1)` where n is 0, since nothing was seen. Raises ValueError unless
    0 <= successes <= n and 0 < confidence < 1.
    """
    check_confidence(confidence)
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is not a share")
    if n == 0:
        return 0.0, 1.0
    found = binomtest(int(successes), int(n)).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def proportion_intervals(
    confusion: Mapping[str, int], confidence: float = 0.95
) -> dict[str, Interval]:
    """Return the metrics at a threshold with their intervals and n, by name.

    confusion: counts by "FAKE_predicted_REAL" and so on, as evaluation.metrics gives them.
    accuracy, precision, recall and specificity have Wilson's interval; n is what the metric is a
    share of: all images, those predicted REAL, the REAL, the FAKE. Where n is 0 the value is 0, as
    in evaluation.metrics, and the interval 0 to 1. balanced_accuracy and f1 (of REAL) rise with
    recall and specificity: of an end of theirs, the squares of what the ends of the two change are
    added. They have n_fake and n_real besides. Raises ValueError as `wilson` does.
    """
    count = {
        (actual, said): confusion[f"{CLASSES[actual]}_predicted_{CLASSES[said]}"]
        for actual in (FAKE, REAL)
        for said in (FAKE, REAL)
    }
    hits, rejections = count[REAL, REAL], count[FAKE, FAKE]
    n_fake, n_real = rejections + count[FAKE, REAL], hits + count[REAL, FAKE]
    shares = {
        "accuracy": (hits + rejections, n_fake + n_real),
        "precision": (hits, hits + count[FAKE, REAL]),
        "recall": (hits, n_real),
        "specificity": (rejections, n_fake),
    }
    found = {name: share_interval(k, n, confidence) for name, (k, n) in shares.items()}

    def balanced_accuracy(recall: float, specificity: float) -> float:
        return (recall + specificity) / 2

    def f1(recall: float, specificity: float) -> float:
        predicted = recall * n_real + (1 - specificity) * n_fake
        return 2 * recall * n_real / max(predicted + n_real, float_info.min)

    parts = found["recall"], found["specificity"]
    of_both = {"n": n_fake + n_real, "n_fake": n_fake, "n_real": n_real}
    for metric in (balanced_accuracy, f1):
        found[metric.__name__] = _of_parts(metric, *parts) | of_both
    return found


def share_interval(successes: int, n: int, confidence: float = 0.95) -> Interval:
    """Return a share, 0 of none, with Wilson's interval. Raises ValueError as `wilson` does."""
    low, high = wilson(successes, n, confidence)
    return interval(successes / n if n else 0.0, low, high, n)


def _of_parts(
    metric: Callable[[float, float], float], first: Interval, second: Interval
) -> Interval:
    """Return a metric that rises with two independent shares, 0 to 1, with its interval."""
    value = metric(first["value"], second["value"])
    low, high = (
        np.hypot(
            metric(first[end], second["value"]) - value, metric(first["value"], second[end]) - value
        )
        for end in ("low", "high")
    )
    ends = max(0.0, float(value - low)), min(1.0, float(value + high))
    return {"value": value, "low": ends[0], "high": ends[1]}


def mean_interval(
    is_real: np.ndarray, scores: np.ndarray, lowest: float, highest: float, confidence: float = 0.95
) -> Interval:
    """Return the mean of the images' scores with its interval.

    is_real: bool N, both classes present. scores: float N, each from `lowest` to `highest`. The
    images of a class are as many as they are, so only what differs within a class widens it.
    Raises ValueError for a confidence not between 0 and 1.
    """
    check_confidence(confidence)
    centre = variance = 0.0
    for of_class in (is_real, ~is_real):
        share = of_class.mean()
        part = np.append(scores[of_class], [lowest, highest])
        centre += share * part.mean()
        variance += share**2 * part.var() / len(part)
    half = norm.ppf((1 + confidence) / 2) * np.sqrt(variance)
    low, high = np.clip([centre - half, centre + half], lowest, highest)
    return interval(scores.mean(), low, high, is_real)


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> dict[str, float]:
    """Count on how many images two detectors were right, and test whether one is more often.

    right_a, right_b: bool N, of the same images. Gives both_right, only_a, only_b, both_wrong and
    p_value, two-sided: McNemar, Psychometrika 12, 1947, exact, so of a fair coin for the images
    that one alone got right. 1 where there are none; never 0: what is under the range of float64 is
    its least number. Raises ValueError for other shapes.
    """
    right_a, right_b = np.asarray(right_a, bool), np.asarray(right_b, bool)
    if right_a.ndim != 1 or right_a.shape != right_b.shape:
        raise ValueError(f"shapes {right_a.shape} and {right_b.shape}: not of the same images")
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    discordant = only_a + only_b
    return {
        "both_right": int((right_a & right_b).sum()),
        "only_a": only_a,
        "only_b": only_b,
        "both_wrong": int((~right_a & ~right_b).sum()),
        "p_value": max(float(binomtest(only_a, discordant).pvalue), float_info.min)
        if discordant
        else 1.0,
    }


def paired_mean(
    is_real: np.ndarray, scores_a: np.ndarray, scores_b: np.ndarray, confidence: float = 0.95
) -> Interval:
    """Return the mean score of a minus that of b, -1 to 1, with its interval.

    is_real: bool N, both classes present. scores: bool N, whether an image was predicted rightly,
    or float N, how often of all times. Raises ValueError for other shapes, and as `mean_interval`.
    """
    a, b = np.asarray(scores_a, np.float64), np.asarray(scores_b, np.float64)
    if not a.shape == b.shape == is_real.shape:
        raise ValueError(f"shapes {a.shape}, {b.shape} and {is_real.shape}: not of the same images")
    return mean_interval(is_real, a - b, -1, 1, confidence)


def interval(value: float, low: float, high: float, images: int | np.ndarray) -> Interval:
    """Return an Interval; images: n, or is_real where the figure is of both classes."""
    found = {"value": float(value), "low": float(low), "high": float(high)}
    if isinstance(images, int):
        return found | {"n": images}
    n_real = int(np.count_nonzero(images))
    return found | {"n": len(images), "n_fake": len(images) - n_real, "n_real": n_real}


def check_confidence(confidence: float) -> None:
    """Raise ValueError unless 0 < confidence < 1."""
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence is between 0 and 1, not {confidence}")
