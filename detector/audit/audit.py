"""What a data set gives away besides what one wants to learn: duplicates, coders, brightness."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from detector.audit.giveaways import (
    texts,
    weighed_codecs,
    weighed_counts,
    weighed_duplicates,
    weighed_file_sizes,
)
from detector.audit.near_duplicates import near_pairs
from detector.base.arrays import SPLITS
from detector.base.layout import CLASSES

# Images for which near-duplicates are looked for: all of CIFAKE's. Each takes longer the more there
# are to compare it with, so that the time for all of them would grow much faster than their number.
MOST_ASKED = 100_000


def audit(
    table: pd.DataFrame,
    features: np.ndarray,
    moments: np.ndarray,
    pixels: Callable[[np.ndarray], np.ndarray],
    rms: float,
) -> dict[str, Any]:
    """Count images and find what could make a test easier than it looks.

    table: a row an image, columns member, split, label, codec, file_bytes, digest. features,
    pixels, rms: see near_duplicates. moments: see channel_statistics. The functions below say what
    each key is, `giveaways` what is warned of; the gravest warning is the first.
    """
    exact = exact_duplicates(table)
    near = near_duplicates(table, features, pixels, rms)
    codecs, sizes = codecs_by_class(table), file_sizes_by_class(table)
    counts = table.groupby(["split", "label"]).size()
    images = {
        split: {name: int(counts.get((split, label), 0)) for label, name in enumerate(CLASSES)}
        for split in SPLITS
    }
    warnings = [
        *weighed_counts(images),
        *weighed_duplicates(images, exact, near),
        *weighed_codecs(codecs),
        *weighed_file_sizes(table, sizes),
    ]
    return {
        "images": images,
        "warnings": texts(warnings),
        "exact_duplicates": exact,
        "near_duplicates": near,
        "codecs": codecs,
        "file_bytes": sizes,
        "pixels": channel_statistics(table, moments),
    }


def exact_duplicates(table: pd.DataFrame) -> dict[str, int]:
    """Count images whose pixels equal another's.

    table: columns split (train, val, test), label (0, 1) and digest (of the pixels). Returns, for
    each split, how many images repeat an earlier one of it (`within_train`, ...); for each pair of
    splits, how many images of the later split occur in the earlier one (`train_and_val`, ...); how
    many test images occur in train or val; how many FAKE images have the pixels of a REAL one
    (`fake_and_real`); and how many images repeat an earlier one `anywhere`.
    """
    digests = {split: table.loc[table["split"] == split, "digest"] for split in SPLITS}
    counts = {f"within_{split}": int(digests[split].duplicated().sum()) for split in SPLITS}
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        counts[f"{first}_and_{second}"] = int(digests[second].isin(digests[first]).sum())
    learned = table.loc[table["split"] != "test", "digest"]
    counts["test_and_train_or_val"] = int(digests["test"].isin(learned).sum())
    fake, real = (table.loc[table["label"] == label, "digest"] for label in (0, 1))
    counts["fake_and_real"] = int(fake.isin(real).sum())
    counts["anywhere"] = int(table["digest"].duplicated().sum())
    return counts


def near_duplicates(
    table: pd.DataFrame,
    features: np.ndarray,
    pixels: Callable[[np.ndarray], np.ndarray],
    rms: float,
    most: int = MOST_ASKED,
) -> dict[str, Any]:
    """Count images that are almost another image, the exact ones included.

    Two images are near-duplicates when the root mean square difference of their luma, means taken
    off, is at most `rms` grey levels.

    table: columns split, label, member. features, pixels: see near_duplicates.near_pairs. most: at
    most so many images are asked about, evenly spread. Returns the number of test images with a
    near-duplicate in train or val, of FAKE images with one in REAL, how many were asked about, and
    some pairs of names of each.
    """
    test = (table["split"] == "test").to_numpy()
    fake = (table["label"] == CLASSES.index("FAKE")).to_numpy()
    result: dict[str, Any] = {"rms_at_most": rms}
    for name, asking in (("test_and_train", test), ("fake_and_real", fake)):
        rows = np.flatnonzero(asking), np.flatnonzero(~asking)
        pairs, asked = near_pairs(*rows, features, pixels, rms, most)
        result[name] = len(pairs)
        result[f"{name}_asked"] = asked
        result[f"{name}_examples"] = [
            [table["member"].iat[a], table["member"].iat[b]] for a, b in pairs[:5]
        ]
    return result


def codecs_by_class(table: pd.DataFrame) -> dict[str, dict[str, int]]:
    """Count the coders of each class, the most frequent first. table: columns label and codec."""
    return {
        name: dict(
            sorted(
                Counter(table.loc[table["label"] == label, "codec"]).items(),
                key=lambda item: (-item[1], item[0]),
            )
        )
        for label, name in enumerate(CLASSES)
    }


def file_sizes_by_class(table: pd.DataFrame) -> dict[str, Any]:
    """Describe the sizes of the coded files in bytes. table: columns label and file_bytes.

    `auc` is how well the size alone tells the classes apart: 0.5 not at all, 1 perfectly; it is
    max(AUC, 1 - AUC) since the direction does not matter.
    """
    sizes: dict[str, Any] = {}
    for label, name in enumerate(CLASSES):
        of_class = table.loc[table["label"] == label, "file_bytes"]
        low, middle, high = np.percentile(of_class, [5, 50, 95]) if len(of_class) else [0, 0, 0]
        sizes[name] = {"median": int(middle), "5%": int(low), "95%": int(high)}
    if table["label"].nunique() == 2:
        auc = float(roc_auc_score(table["label"], table["file_bytes"]))
        sizes["auc"] = round(max(auc, 1 - auc), 4)
    return sizes


def codec_warnings(codecs: dict[str, dict[str, int]]) -> list[str]:
    """Return a sentence for what of the coders gives the label away, the gravest first.

    codecs: of `codecs_by_class`. See giveaways.weighed_codecs.
    """
    return texts(weighed_codecs(codecs))


def channel_statistics(table: pd.DataFrame, moments: np.ndarray) -> dict[str, Any]:
    """Give mean and std of the pixels of each class by channel (R, G, B), 0 to 255.

    table: column label. moments: float64 N,2,3 of decode.channel_moments, row for row.
    """
    result = {}
    for label, name in enumerate(CLASSES):
        of_class = moments[(table["label"] == label).to_numpy()]
        mean, square = of_class.mean(axis=0) if len(of_class) else np.zeros((2, 3))
        std = np.sqrt(np.maximum(square - mean**2, 0))
        result[name] = {
            "mean": [round(float(v) + 128, 3) for v in mean],
            "std": [round(float(v), 3) for v in std],
        }
    return result
