"""Sentences on what makes a test easier than it looks, each with a weight, so that none is buried.

A weight is from 0 to 1: the share of the images, or of the difference of the classes, that is
concerned. What chance explains is no giveaway: a difference of classes is said only where random
labels would seldom give as much.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import mannwhitneyu

from detector.base.layout import CLASSES

Weighed = tuple[float, str]

FEW = 50  # images of a class, of which less is chance: the half-width at 90 % is 8 points
LEVEL = 0.01  # of the tests against chance
DRAWS = 999  # of random labels
LISTED = 3  # coders that are named each; photographs of many cameras have many

# AUC of a difference of half a deviation, a medium effect by J. Cohen; M. E. Rice, G. T. Harris,
# "Comparing effect sizes in follow-up studies: ROC area, Cohen's d, and r", Law and Human Behavior
# 29, 2005, table 1.
MEDIUM_AUC = 0.64

_USE = {
    "val": "temperature, threshold and the band of UNSURE that are chosen on them are chance",
    "test": "what is measured on them is uncertain",
}


def texts(weighed: Iterable[Weighed]) -> list[str]:
    """Return the sentences, that of the greatest weight first."""
    return [text for _, text in sorted(weighed, key=lambda one: -one[0])]


def weighed_counts(images: dict[str, dict[str, int]]) -> list[Weighed]:
    """Say where a class has fewer than FEW images for validation or test. images: by split."""
    found = []
    for split, use in _USE.items():
        few = {name: n for name, n in images[split].items() if n < FEW}
        if few:
            counts = " and ".join(f"{n} {name}" for name, n in few.items())
            text = f"only {counts} images in {split}, fewer than {FEW}: {use}"
            found.append((1 - min(few.values()) / FEW, text))
    return found


def weighed_duplicates(
    images: dict[str, dict[str, int]], exact: dict[str, int], near: dict[str, Any]
) -> list[Weighed]:
    """Say where duplicates make a test easier or a label doubtful.

    images: counts by split and class. exact, near: of audit.exact_duplicates and near_duplicates.
    """
    val, test = (sum(images[split].values()) for split in ("val", "test"))
    fake = sum(counts["FAKE"] for counts in images.values())
    tested, faked = near["test_and_train_asked"], near["fake_and_real_asked"]
    asked_test, asked_fake = (
        f" (of {asked:,} that were looked at)" if asked < n else ""
        for asked, n in ((tested, test), (faked, fake))
    )
    repeated = exact["within_test"]
    found = [
        (repeated if repeated > test / 100 else 0, test, "test", "",
         "the very pixels of another test image: the intervals are too narrow"),
        (exact["test_and_train_or_val"], test, "test", "", "the very pixels of a training image"),
        (exact["train_and_val"], val, "validation", "",
         "the very pixels of a training image: temperature, threshold and the band of UNSURE are "
         "chosen on what was learnt"),
        (near["test_and_train"], tested, "test", asked_test,
         f"a near-duplicate among training images (RMS at most {near['rms_at_most']:g} grey "
         "levels); the test is that much easier"),
        (exact["fake_and_real"], fake, "FAKE", "", "the very pixels of a REAL one"),
        (near["fake_and_real"], faked, "FAKE", asked_fake,
         "a near-duplicate among REAL ones: where content is shared it does not tell the classes "
         "apart"),
    ]  # fmt: skip
    return [
        (n / whole, f"{n:,} {kind} image{'' if n == 1 else 's'}{asked} with {what}")
        for n, whole, kind, asked, what in found
        if n
    ]


def weighed_codecs(codecs: dict[str, dict[str, int]], tolerance: float = 0.01) -> list[Weighed]:
    """Say where the coder gives the label away.

    codecs: of `audit.codecs_by_class`. tolerance: difference of a coder's share between the classes
    that is let pass. The LISTED coders that differ most are named, where the largest difference of
    any coder under random labels is seldom as large (P. H. Westfall, S. S. Young, Resampling-Based
    Multiple Testing, 1993, max-T); the others are taken together, by the sum of their differences
    over what random labels give.
    """
    names = np.array(sorted({codec for counts in codecs.values() for codec in counts}))
    fake, real = (np.array([codecs[c].get(name, 0) for name in names], int) for c in CLASSES)
    totals = fake.sum(), real.sum()
    if min(totals) == 0:
        return []
    shares = np.stack([fake / totals[0], real / totals[1]])
    difference = np.abs(shares[0] - shares[1])
    if difference.sum() / 2 <= tolerance:
        return []
    order = np.argsort(-difference, kind="stable")
    listed = order[:LISTED][difference[order[:LISTED]] > tolerance]
    rest = order[len(listed) :]
    largest, together = _under_random_labels(fake, real, rest)
    found = []
    for i in listed:
        if _by_chance(difference[i], largest) <= LEVEL:
            text = (
                f"{names[i]}: {shares[0, i]:.1%} of FAKE but {shares[1, i]:.1%} of REAL files are "
                "coded so; a network can tell the classes by their coder, not by how the images "
                "were made"
            )
            found.append((difference[i], text))
    excess = (difference[rest].sum() - together.mean()) / 2
    if excess > tolerance and _by_chance(difference[rest].sum(), together) <= LEVEL:
        number = f"{len(rest):,}{' other' if len(listed) else ''} coder{'s'[: len(rest) > 1]}"
        found.append((excess, f"{number}: {_of_many(shares[:, rest])}"))
    return found


def _under_random_labels(
    fake: np.ndarray, real: np.ndarray, rest: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return the largest difference of all coders and the sum of those of `rest`, by draw."""
    rng, both = np.random.default_rng(0), fake + real
    found = np.empty((DRAWS, 2))
    for draw in found:
        drawn = rng.multivariate_hypergeometric(both, fake.sum(), method="marginals")
        difference = np.abs(drawn / fake.sum() - (both - drawn) / real.sum())
        draw[:] = difference.max(), difference[rest].sum()
    return found[:, 0], found[:, 1]


def _by_chance(observed: float, drawn: np.ndarray) -> float:
    """Return how often random labels give as much, the observed labels being one of the draws."""
    return (1 + np.count_nonzero(drawn >= observed - 1e-9)) / (1 + len(drawn))


def _of_many(shares: np.ndarray) -> str:
    gaps = shares[0] - shares[1]
    side = int(gaps[gaps > 0].sum() < -gaps[gaps < 0].sum())
    own = gaps < 0 if side else gaps > 0
    fake, real = shares[:, own].sum(axis=1)
    return (
        f"{fake:.1%} of FAKE but {real:.1%} of REAL files have one that is commoner among "
        f"{CLASSES[side]}; together they tell the classes apart"
    )


def weighed_file_sizes(table: pd.DataFrame, sizes: dict[str, Any]) -> list[Weighed]:
    """Say where the size of the coded file gives the label away.

    table: columns label and file_bytes. sizes: of audit.file_sizes_by_class. The test against
    chance is that of Mann and Whitney, whose U is the AUC.
    """
    auc = sizes.get("auc", 0.5)
    if auc < MEDIUM_AUC:
        return []
    fake, real = (table.loc[table["label"] == label, "file_bytes"] for label in (0, 1))
    if mannwhitneyu(fake, real).pvalue > LEVEL:
        return []
    medians = [f"{sizes[name]['median']:,}" for name in CLASSES]
    text = (
        f"the size of a file alone tells the classes apart with an AUC of {auc:.2f} (0.5 is "
        f"chance; medians: FAKE {medians[0]} bytes, REAL {medians[1]}): they differ in detail or "
        "in how they were coded"
    )
    return [(2 * auc - 1, text)]
