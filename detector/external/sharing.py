"""Whether a set of images that is held to be other data shares images with those of the archive."""

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd

from detector.audit.audit import MOST_ASKED
from detector.audit.near_duplicates import near_pairs
from detector.base.arrays import Split, at_once, rows_of
from detector.images.decode import low_frequencies

# What the splits of the archive are to a network: what it learnt from, and what it is measured on
_ROLES = {"training": ("train", "val"), "test": ("test",)}


def features_of(images: np.ndarray) -> np.ndarray:
    """Return float32 N,K of decode.low_frequencies of uint8 N,S,S,3, in bounded memory."""
    step = at_once(4096, images.shape[1])
    return np.concatenate(
        [low_frequencies(images[i : i + step]) for i in range(0, max(1, len(images)), step)]
    )


def shared_images(
    found: Split, known: Mapping[str, Split], features: Mapping[str, np.ndarray], rms: float
) -> dict[str, Any]:
    """Count the images of a set that are almost an image of the archive, the exact ones included.

    found: the set. known, features: by split (train, val, test), features by features_of. rms: see
    audit.near_duplicates. Returns how many have one among `training` images (train or val) and
    among those of `test`, how many were asked about, and some pairs of names of each.
    """
    parts = {"external": found, **known}
    counts = [len(part) for part in parts.values()]
    table = pd.DataFrame(
        {"split": np.repeat(list(parts), counts), "row": np.concatenate([*map(np.arange, counts)])}
    )
    every = np.concatenate([features_of(found.images), *(features[split] for split in known)])
    result: dict[str, Any] = {"rms_at_most": rms}
    for role, splits in _ROLES.items():
        pairs, asked = near_pairs(
            np.arange(len(found)),
            np.flatnonzero(table["split"].isin(splits)),
            every,
            lambda rows: rows_of(parts, table, rows),
            rms,
            MOST_ASKED,
        )
        names = [[_name(parts, table, row) for row in pair] for pair in pairs[:5]]
        result |= {role: len(pairs), f"{role}_asked": asked, f"{role}_examples": names}
    return result


def _name(parts: Mapping[str, Split], table: pd.DataFrame, row: int) -> str:
    split, of_split = table.loc[row, ["split", "row"]]
    return parts[split].names[of_split].decode()


def sharing_warnings(shared: Mapping[str, Any]) -> list[str]:
    """Say what a set shares with the archive. shared: of shared_images."""
    meaning = {
        "training": "this is no other data",
        "test": "this is no other evidence than the test",
    }
    return [
        f"{shared[role]:,} of {shared[f'{role}_asked']:,} images have a near-duplicate among the "
        f"{role} images (RMS at most {shared['rms_at_most']:g} grey levels): {means}"
        for role, means in meaning.items()
        if shared[role]
    ]
