"""What a data set gives away besides what one wants to learn: duplicates, coders, brightness."""

from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree
from sklearn.metrics import roc_auc_score

from detector.data.arrays import SPLITS, at_once
from detector.data.decode import luma
from detector.data.layout import CLASSES

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
    each key is.
    """
    exact = exact_duplicates(table)
    near = near_duplicates(table, features, pixels, rms)
    codecs = codecs_by_class(table)
    counts = table.groupby(["split", "label"]).size()
    return {
        "images": {
            split: {name: int(counts[split, label]) for label, name in enumerate(CLASSES)}
            for split in SPLITS
        },
        "warnings": codec_warnings(codecs) + duplicate_warnings(exact, near),
        "exact_duplicates": exact,
        "near_duplicates": near,
        "codecs": codecs,
        "file_bytes": file_sizes_by_class(table),
        "pixels": channel_statistics(table, moments),
    }


def exact_duplicates(table: pd.DataFrame) -> dict[str, int]:
    """Count images whose pixels equal another's.

    table: columns split (train, val, test), label (0, 1) and digest (of the pixels). Returns, for
    each split, how many images repeat an earlier one of it (`within_train`, ...); for each pair of
    splits, how many images of the later split occur in the earlier one (`train_and_val`, ...); and
    how many FAKE images have the pixels of a REAL one (`fake_and_real`).
    """
    digests = {split: table.loc[table["split"] == split, "digest"] for split in SPLITS}
    counts = {f"within_{split}": int(digests[split].duplicated().sum()) for split in SPLITS}
    for first, second in (("train", "val"), ("train", "test"), ("val", "test")):
        counts[f"{first}_and_{second}"] = int(digests[second].isin(digests[first]).sum())
    fake, real = (table.loc[table["label"] == label, "digest"] for label in (0, 1))
    counts["fake_and_real"] = int(fake.isin(real).sum())
    return counts


def near_duplicates(
    table: pd.DataFrame,
    features: np.ndarray,
    pixels: Callable[[np.ndarray], np.ndarray],
    rms: float,
    neighbours: int = 3,
    most: int = MOST_ASKED,
) -> dict[str, Any]:
    """Count images that are almost another image, the exact ones included.

    Two images are near-duplicates when the root mean square difference of their luma, means taken
    off, is at most `rms` grey levels. Candidates are the `neighbours` nearest within that distance
    by the low frequencies, a lower bound; each is then measured on all pixels.

    table: columns split, label, member. features: float32 N,K by `decode.low_frequencies`. pixels:
    gives uint8 M,S,S,3 for M row numbers. most: at most so many images are asked about, evenly
    spread. Returns the number of test images with a near-duplicate in train or val, of FAKE images
    with one in REAL, how many were asked about, and some pairs of names of each.
    """
    test = (table["split"] == "test").to_numpy()
    fake = (table["label"] == CLASSES.index("FAKE")).to_numpy()
    result: dict[str, Any] = {"rms_at_most": rms}
    for name, asking in (("test_and_train", test), ("fake_and_real", fake)):
        rows = np.flatnonzero(asking)
        rows = rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
        pairs = _near_pairs(rows, np.flatnonzero(~asking), features, pixels, rms, neighbours)
        result[name] = len(pairs)
        result[f"{name}_asked"] = len(rows)
        result[f"{name}_examples"] = [
            [table["member"].iat[a], table["member"].iat[b]] for a, b in pairs[:5]
        ]
    return result


def _near_pairs(asking, answering, features, pixels, rms, neighbours) -> list[tuple[int, int]]:
    """Give for each row of `asking` that has a near-duplicate in `answering` the pair of rows."""
    if not len(asking) or not len(answering):
        return []
    neighbours = min(neighbours, len(answering))
    tree = cKDTree(features[answering])
    _, nearest = tree.query(
        features[asking],
        k=range(1, neighbours + 1),
        distance_upper_bound=rms + 0.01,  # room for rounding; what is over is measured and let go
        workers=-1,
    )
    found: dict[int, int] = {}
    step = at_once(4096, pixels(asking[:1]).shape[1])
    for rank in range(neighbours):
        hit = np.flatnonzero(nearest[:, rank] < len(answering))
        for start in range(0, len(hit), step):
            rows = hit[start : start + step]
            a, b = asking[rows], answering[nearest[rows, rank]]
            for i in np.flatnonzero(_rms(pixels(a), pixels(b)) <= rms):
                found.setdefault(int(a[i]), int(b[i]))
    return sorted(found.items())


def _rms(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    difference = luma(first) - luma(second)
    return difference.std(axis=(1, 2))  # the deviation takes the mean off


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


def codec_warnings(codecs: dict[str, dict[str, int]], tolerance: float = 0.01) -> list[str]:
    """Say where the coder gives the label away.

    codecs: of `codecs_by_class`. tolerance: difference of a coder's share between the classes that
    is let pass. Returns a sentence for each coder that is over it.
    """
    totals = {name: max(1, sum(counts.values())) for name, counts in codecs.items()}
    warnings = []
    for codec in sorted({codec for counts in codecs.values() for codec in counts}):
        fake, real = (codecs[name].get(codec, 0) / totals[name] for name in CLASSES)
        if abs(fake - real) > tolerance:
            warnings.append(
                f"{codec}: {fake:.1%} of FAKE but {real:.1%} of REAL files are coded so; a network "
                "can tell the classes by their coder, not by how the images were made"
            )
    return warnings


def duplicate_warnings(exact: dict[str, int], near: dict[str, Any]) -> list[str]:
    """Say where duplicates make a test easier or a label doubtful."""
    warnings = []
    leaked = exact["train_and_test"] + exact["val_and_test"]
    if leaked:
        warnings.append(f"{_count(leaked, 'test')} with the very pixels of a training image")
    if near["test_and_train"]:
        warnings.append(
            f"{_count(near['test_and_train'], 'test', near['test_and_train_asked'])} with a "
            f"near-duplicate among training images (RMS at most {near['rms_at_most']:g} grey "
            "levels); the test is that much easier"
        )
    if exact["fake_and_real"]:
        warnings.append(
            f"{_count(exact['fake_and_real'], 'FAKE')} with the very pixels of a REAL one"
        )
    if near["fake_and_real"]:
        warnings.append(
            f"{_count(near['fake_and_real'], 'FAKE', near['fake_and_real_asked'])} with a "
            "near-duplicate among REAL ones: where content is shared it does not tell the classes "
            "apart"
        )
    return warnings


def _count(n: int, kind: str, asked: int = 0) -> str:
    of = f" (of {asked:,} that were looked at)" if asked >= MOST_ASKED else ""
    return f"{n:,} {kind} image{'' if n == 1 else 's'}{of}"


def channel_statistics(table: pd.DataFrame, moments: np.ndarray) -> dict[str, Any]:
    """Give mean and deviation of the pixels of each class by channel (R, G, B), 0 to 255.

    table: column label. moments: float64 N,2,3 of decode.channel_moments, row for row.
    """
    result = {}
    for label, name in enumerate(CLASSES):
        of_class = moments[(table["label"] == label).to_numpy()]
        mean, square = of_class.mean(axis=0) if len(of_class) else np.zeros((2, 3))
        deviation = np.sqrt(np.maximum(square - mean**2, 0))
        result[name] = {
            "mean": [round(float(v) + 128, 3) for v in mean],
            "deviation": [round(float(v), 3) for v in deviation],
        }
    return result
