"""Figures of the data."""

import os

import numpy as np

from detector.data.arrays import Split
from detector.data.layout import CLASSES
from detector.figures.style import COLOURS, plt, save


def sample_sheet(split: Split, seed: int, path: str | os.PathLike[str], columns: int = 12) -> None:
    """Draw random images of both classes, 3 rows each, enlarged without smoothing."""
    rng = np.random.default_rng(seed)
    rows = 3
    figure, axes = plt.subplots(2, 1, figsize=(columns * 0.75, 2 * rows * 0.75 + 0.9))
    for axis, (label, name) in zip(axes, reversed(list(enumerate(CLASSES))), strict=True):
        members = np.flatnonzero(split.labels == label)
        picked = rng.choice(members, min(rows * columns, len(members)), replace=False)
        size = split.images.shape[1]
        sheet = np.full((rows * (size + 2), columns * (size + 2), 3), 255, np.uint8)
        for i, row in enumerate(picked):
            y, x = (i // columns) * (size + 2), (i % columns) * (size + 2)
            sheet[y : y + size, x : x + size] = split.images[row]
        axis.imshow(sheet, interpolation="nearest")
        axis.set_title(
            f"{name} ({len(members):,} in train)",
            color=COLOURS[name],
            loc="left",
            fontweight="bold",
        )
        axis.axis("off")
    save(figure, path)
