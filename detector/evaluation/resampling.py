"""Intervals of what depends on the order of the images, and of the log loss: a smoothed bootstrap.

All on numpy arrays: labels N, 0 = FAKE, 1 = REAL; probabilities N of REAL, 0 to 1. Images are drawn
within each class, because CIFAKE fixes how many of each there are (Efron and Tibshirani, An
Introduction to the Bootstrap, 1993, section 13.2, the normal interval). As resamples do not differ
where no image is out of order, each class gets half an image more that is right and half a one that
is wrong, the halves of Jeffreys' prior (Brown, Cai, DasGupta, Statistical Science 16, 2001).
"""

from collections.abc import Iterator

import numpy as np
from scipy.stats import norm

from detector.base.layout import CLASSES
from detector.evaluation.calibration import checked
from detector.evaluation.intervals import (
    Interval,
    check_confidence,
    interval,
    paired_mean,
    proportion_intervals,
)
from detector.evaluation.metrics import FAKE, REAL, clipped

CELLS = 200_000  # resamples times images held at once: 1.6 MB an array, which a cache can hold

# Half images of REAL, REAL, FAKE, FAKE that are added: of each class the first is on the right side
# of all others and the second on the wrong one. The log loss of a wrong image has no bound in
# reason, so there it is one of which nothing is known.
_ADDED = np.array([True, True, False, False])
_RIGHT_FIRST = np.array([2.0, -1.0, -1.0, 2.0])
_WRONG_FIRST = 1 - _RIGHT_FIRST
_LOSSES = np.array([0, np.log(2), 0, np.log(2)])


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


def weighted_areas(
    is_real: np.ndarray, scores: np.ndarray, weights: np.ndarray
) -> dict[str, np.ndarray]:
    """Return areas under curves for each row of weights, as scikit-learn does with sample_weight.

    is_real: bool N. scores: float N, the higher the more REAL. weights: float64 (R, N), not
    negative, with some weight on both classes in each row. Both are float64 R: roc_auc, and
    average_precision (tied images enter together, no interpolation).
    """
    order = np.argsort(-scores, kind="stable")
    scores, real = scores[order], is_real[order]
    weights = weights[:, order]
    all_over = np.cumsum(weights, axis=1)  # weight at or over each image
    real_over = np.cumsum(weights * real, axis=1)
    positives = real_over[:, -1]
    negatives = all_over[:, -1] - positives

    last = np.append(np.flatnonzero(np.diff(scores)), len(scores) - 1)  # of each group of ties
    hit, over = real_over[:, last], all_over[:, last]
    risen, false = np.diff(hit, prepend=0), np.diff(over - hit, prepend=0)
    return {
        # the trapezoids under the ROC curve, and the steps under precision over recall
        "roc_auc": np.einsum("rg,rg->r", false, hit - risen / 2) / (positives * negatives),
        "average_precision": np.einsum(
            "rg,rg->r", risen, np.divide(hit, over, out=np.zeros_like(hit), where=over > 0)
        )
        / positives,
    }


def smoothed_weights(is_real: np.ndarray, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """Yield float64 weights (some, N + 4) of the images and, behind them, of what is added.

    is_real: bool N. Each class is drawn from itself and the two that are added to it, which weigh
    half. Raises ValueError for less than one resample.
    """
    if resamples < 1:
        raise ValueError(f"{resamples} resamples: at least one is needed")
    for weights in resampled_weights(np.append(is_real, _ADDED), resamples, seed):
        weights[:, -len(_ADDED) :] /= 2
        yield weights


def smoothed_areas(
    is_real: np.ndarray, scores: np.ndarray, weights: np.ndarray, wrong_first: bool = False
) -> dict[str, np.ndarray]:
    """Return `weighted_areas` under weights of `smoothed_weights`.

    is_real: bool N. scores: float N within 0 to 1. wrong_first: of each class the first that is
    added is wrong, as that is which another detector is right on.
    """
    added = _WRONG_FIRST if wrong_first else _RIGHT_FIRST
    return weighted_areas(np.append(is_real, _ADDED), np.append(scores, added), weights)


def bootstrap_metrics(
    labels: np.ndarray,
    probabilities: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Return roc_auc, average_precision and log_loss (nats) with their intervals.

    Each is value, low, high, n, n_fake and n_real. Raises ValueError as `checked` does, for images
    all of one class, less than one resample and a confidence not between 0 and 1.
    """
    is_real, probabilities = checked(labels, probabilities, both=True)
    losses = -np.log(np.where(is_real, clipped(probabilities), 1 - clipped(probabilities)))
    one = np.ones((1, len(is_real)))
    value = weighted_areas(is_real, probabilities, one) | {"log_loss": losses.mean(keepdims=True)}
    losses = np.append(losses, _LOSSES)
    drawn = [
        smoothed_areas(is_real, probabilities, weights)
        # not @, whose sum depends on the number of threads
        | {"log_loss": np.einsum("rn,n->r", weights, losses) / weights.sum(axis=1)}
        for weights in smoothed_weights(is_real, resamples, seed)
    ]
    ends = {"log_loss": (0, np.inf)}
    return {
        name: _of_draws(
            value[name], [part[name] for part in drawn], confidence, is_real, ends.get(name, (0, 1))
        )
        for name in value
    }


def intervals(
    labels: np.ndarray,
    probabilities: np.ndarray,
    threshold: float = 0.5,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Return the metrics of `proportion_intervals` and of `bootstrap_metrics` in one, by name.

    Raises ValueError as those do.
    """
    is_real, probabilities = checked(labels, probabilities, both=True)
    predicted = probabilities >= float(threshold)
    confusion = {
        f"{CLASSES[actual]}_predicted_{CLASSES[said]}": int(
            np.count_nonzero((is_real == actual) & (predicted == said))
        )
        for actual in (FAKE, REAL)
        for said in (FAKE, REAL)
    }
    return proportion_intervals(confusion, confidence) | bootstrap_metrics(
        labels, probabilities, resamples, seed, confidence
    )


def paired_difference(
    labels: np.ndarray,
    probabilities_a: np.ndarray,
    probabilities_b: np.ndarray,
    right_a: np.ndarray,
    right_b: np.ndarray,
    resamples: int = 2000,
    seed: int = 0,
    confidence: float = 0.95,
) -> dict[str, Interval]:
    """Return accuracy and roc_auc of a minus those of b, -1 to 1, with intervals.

    probabilities_a, probabilities_b: raw ones, since calibration makes the surest images equal.
    right_a, right_b: bool N, which images were predicted rightly. Both detectors are of the same
    images, so what makes an image hard for both cancels. Each is value, low, high, n, n_fake and
    n_real. Raises ValueError as `bootstrap_metrics` does, and for other shapes.
    """
    is_real, a = checked(labels, probabilities_a, both=True)
    _, b = checked(labels, probabilities_b)
    one = np.ones((1, len(is_real)))
    areas = (weighted_areas(is_real, scores, one)["roc_auc"] for scores in (a, b))
    drawn = [
        smoothed_areas(is_real, a, weights)["roc_auc"]
        - smoothed_areas(is_real, b, weights, wrong_first=True)["roc_auc"]
        for weights in smoothed_weights(is_real, resamples, seed)
    ]
    return {
        "accuracy": paired_mean(is_real, right_a, right_b, confidence),
        "roc_auc": _of_draws(next(areas) - next(areas), drawn, confidence, is_real, (-1, 1)),
    }


def _of_draws(
    value: np.ndarray,
    parts: list[np.ndarray],
    confidence: float,
    is_real: np.ndarray,
    ends: tuple[float, float] = (0, 1),
) -> Interval:
    """Return the value with the normal interval about the mean of what was drawn, cut at `ends`.

    It is widened to the value where that is outside: what is added may move the mean away from it.
    """
    check_confidence(confidence)
    drawn = np.concatenate(parts)
    half = norm.ppf((1 + confidence) / 2) * drawn.std()
    low, high = np.clip([drawn.mean() - half, drawn.mean() + half], *ends)
    return interval(value[0], min(low, value[0]), max(high, value[0]), is_real)
