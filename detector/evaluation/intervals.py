"""How far chance may have moved a figure: intervals of the metrics, and of two detectors' gap.

All on numpy arrays: labels N, 0 = FAKE, 1 = REAL; probabilities N of REAL, 0 to 1. Intervals are
of the images drawn: they say nothing of another training seed or of images of another kind.

Shares of counted images have Wilson's interval; what is no such share is resampled (Efron and
Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3, percentiles), within each class,
because CIFAKE fixes how many of each there are.
"""

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.stats import binomtest

from detector.data.layout import CLASSES
from detector.evaluation.calibration import checked, clipped
from detector.evaluation.metrics import FAKE, REAL

CELLS = 200_000  # resamples times images held at once: 1.6 MB an array, which a cache can hold

Interval = dict[str, float]  # value, low, high, n


def wilson(successes: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Give `(low, high)`, 0 to 1, of a share of which `successes` of `n` were seen.

    Wilson, JASA 22, 1927. `(0, 1)` where n is 0, since nothing was seen. Raises ValueError unless
    0 <= successes <= n and 0 < confidence < 1.
    """
    _check_confidence(confidence)
    if not 0 <= successes <= n:
        raise ValueError(f"{successes} of {n} is not a share")
    if n == 0:
        return 0.0, 1.0
    found = binomtest(int(successes), int(n)).proportion_ci(confidence, method="wilson")
    return float(found.low), float(found.high)


def proportion_intervals(
    confusion: Mapping[str, int], confidence: float = 0.95
) -> dict[str, Interval]:
    """Give accuracy, precision, recall and specificity, each with Wilson's interval and its n.

    confusion: counts by "FAKE_called_REAL" and so on, as evaluation.metrics gives them. n is what
    the metric is a share of: all images, those called REAL, the REAL, the FAKE. Where n is 0 the
    value is 0, as in evaluation.metrics, and the interval 0 to 1. Raises ValueError as
    `wilson` does.
    """
    count = {
        (actual, said): confusion[f"{CLASSES[actual]}_called_{CLASSES[said]}"]
        for actual in (FAKE, REAL)
        for said in (FAKE, REAL)
    }
    hits, rejections = count[REAL, REAL], count[FAKE, FAKE]
    shares = {
        "accuracy": (hits + rejections, sum(count.values())),
        "precision": (hits, hits + count[FAKE, REAL]),
        "recall": (hits, hits + count[REAL, FAKE]),
        "specificity": (rejections, rejections + count[FAKE, REAL]),
    }
    return {
        name: _interval(k / n if n else 0.0, *wilson(k, n, confidence), n)
        for name, (k, n) in shares.items()
    }


def resampled_weights(is_real: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield float64 weights (some, N), `resamples` rows in all: how often each image was drawn.

    is_real: bool N. Each class is drawn from itself with replacement, as often as it has images.
    The same seed and labels give the same rows, however many are yielded at once.
    """
    streams = np.random.default_rng(seed).spawn(2)
    members = [np.flatnonzero(is_real), np.flatnonzero(~is_real)]
    step = max(1, CELLS // len(is_real))
    for start in range(0, resamples, step):
        rows = min(step, resamples - start)
        weights = np.empty((rows, len(is_real)))
        for rng, member in zip(streams, members, strict=True):
            n = len(member)
            drawn = rng.integers(0, n, (rows, n)) + n * np.arange(rows)[:, None]
            weights[:, member] = np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n)
        yield weights


def weighted_metrics(
    is_real: np.ndarray, probabilities: np.ndarray, threshold: float, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Give metrics under each row of weights, as scikit-learn does with sample_weight.

    is_real: bool N. probabilities: float N. weights: float64 (R, N), not negative, with some weight
    on both classes in each row. Each metric is float64 R: accuracy, balanced_accuracy, f1 (of
    REAL), roc_auc, average_precision (tied images enter together, no interpolation) and log_loss
    (nats, clipped as in detector.evaluation.calibration).
    """
    order = np.argsort(-probabilities, kind="stable")
    scores, real = probabilities[order], is_real[order]
    weights = weights[:, order]
    all_over = np.cumsum(weights, axis=1)  # weight at or over each image
    real_over = np.cumsum(weights * real, axis=1)
    total, positives = all_over[:, -1], real_over[:, -1]
    negatives = total - positives

    # The images called REAL come first, whatever the weights.
    called = np.count_nonzero(scores >= float(threshold))
    hits, said = (over[:, called - 1] if called else 0 * total for over in (real_over, all_over))
    rejections = negatives - (said - hits)

    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # of each group of ties
    hit, over = real_over[:, last], all_over[:, last]
    risen, false = np.diff(hit, prepend=0), np.diff(over - hit, prepend=0)
    loss = -np.log(np.where(real, clipped(scores), 1 - clipped(scores)))
    return {
        "accuracy": (hits + rejections) / total,
        "balanced_accuracy": (hits / positives + rejections / negatives) / 2,
        "f1": 2 * hits / (said + positives),
        # the trapezoids under the ROC curve, and the steps under precision over recall
        "roc_auc": np.einsum("rg,rg->r", false, hit - risen / 2) / (positives * negatives),
        "average_precision": np.einsum(
            "rg,rg->r", risen, np.divide(hit, over, out=np.zeros_like(hit), where=over > 0)
        )
        / positives,
        "log_loss": weights @ loss / total,
    }


def bootstrap_metrics(
    labels: np.ndarray,
    probabilities: np.ndarray,
    threshold: float,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Give balanced_accuracy, f1, roc_auc, average_precision and log_loss with intervals.

    Each is value, low, high and n, the number of images. With one image a class every resample is
    the same, and so are the ends. Raises ValueError as `checked` does, for images all of one class,
    less than one resample and a confidence not between 0 and 1.
    """
    is_real, probabilities = checked(labels, probabilities, both=True)
    value = weighted_metrics(is_real, probabilities, threshold, np.ones((1, len(is_real))))
    drawn = [
        weighted_metrics(is_real, probabilities, threshold, weights)
        for weights in resampled_weights(is_real, _check_resamples(resamples), seed)
    ]
    return {
        name: _percentiles(value[name], [part[name] for part in drawn], confidence, len(is_real))
        for name in ("balanced_accuracy", "f1", "roc_auc", "average_precision", "log_loss")
    }


def intervals(
    labels: np.ndarray,
    probabilities: np.ndarray,
    threshold: float = 0.5,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Give the metrics of `proportion_intervals` and of `bootstrap_metrics` in one, by name.

    Raises ValueError as those do.
    """
    is_real, probabilities = checked(labels, probabilities, both=True)
    called = probabilities >= float(threshold)
    confusion = {
        f"{CLASSES[actual]}_called_{CLASSES[said]}": int(
            np.count_nonzero((is_real == actual) & (called == said))
        )
        for actual in (FAKE, REAL)
        for said in (FAKE, REAL)
    }
    return proportion_intervals(confusion, confidence) | bootstrap_metrics(
        labels, probabilities, threshold, resamples, seed, confidence
    )


def mcnemar(right_a: np.ndarray, right_b: np.ndarray) -> dict[str, float]:
    """Count on how many images two detectors were right, and test whether one is more often.

    right_a, right_b: bool N, of the same images. Gives both_right, only_a, only_b, both_wrong and
    p_value, two-sided: McNemar, Psychometrika 12, 1947, exact, so of a fair coin for the images
    that one alone got right. 1 where there are none. Raises ValueError for other shapes.
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
        "p_value": float(binomtest(only_a, discordant).pvalue) if discordant else 1.0,
    }


def paired_difference(
    labels: np.ndarray,
    probabilities_a: np.ndarray,
    probabilities_b: np.ndarray,
    threshold_a: float = 0.5,
    threshold_b: float = 0.5,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Give accuracy and roc_auc of a minus those of b, -1 to 1, with intervals.

    Both are of the same images in every resample, so what makes an image hard for both cancels.
    Each is value, low, high and n. Raises ValueError as `bootstrap_metrics` does.
    """
    is_real, a = checked(labels, probabilities_a, both=True)
    _, b = checked(labels, probabilities_b)

    def gap(weights: np.ndarray) -> dict[str, np.ndarray]:
        of_a = weighted_metrics(is_real, a, threshold_a, weights)
        of_b = weighted_metrics(is_real, b, threshold_b, weights)
        return {name: of_a[name] - of_b[name] for name in ("accuracy", "roc_auc")}

    value = gap(np.ones((1, len(is_real))))
    drawn = [gap(w) for w in resampled_weights(is_real, _check_resamples(resamples), seed)]
    return {
        name: _percentiles(value[name], [part[name] for part in drawn], confidence, len(is_real))
        for name in value
    }


def _percentiles(value: np.ndarray, parts: list[np.ndarray], confidence: float, n: int) -> Interval:
    _check_confidence(confidence)
    tail = (1 - confidence) / 2
    low, high = np.quantile(np.concatenate(parts), [tail, 1 - tail])
    return _interval(value[0], low, high, n)


def _interval(value: float, low: float, high: float, n: int) -> Interval:
    return {"value": float(value), "low": float(low), "high": float(high), "n": int(n)}


def _check_confidence(confidence: float) -> None:
    if not 0 < confidence < 1:
        raise ValueError(f"a confidence is between 0 and 1, not {confidence}")


def _check_resamples(resamples: int) -> int:
    if resamples < 1:
        raise ValueError(f"{resamples} resamples: at least one is needed")
    return resamples
