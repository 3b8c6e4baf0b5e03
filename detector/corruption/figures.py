"""Pictures of corrupted images. Same input, same bytes."""

import os

import numpy as np
import pandas as pd
import seaborn as sns

from detector.base.layout import CLASSES
from detector.figures.style import COLOURS, CORRUPTIONS, corruptions_of, plt, save

_GAP = 2  # white pixels between images


def corruption_sheet(
    images: np.ndarray,
    levels: pd.DataFrame,
    path: str | os.PathLike[str],
    labels: np.ndarray | None = None,
) -> None:
    """Draw two images at each level, enlarged without smoothing; a pair of rows a corruption.

    images: uint8 (L, n, S, S, 3). levels: L rows with corruption, level, severity, clean first.
    labels: n, 0 = FAKE, 1 = REAL; of each class that image is drawn which has the most contrast
    among the first hundred. Without labels it is the first image and the last. Raises ValueError
    when no level is corrupted.
    """
    corruptions = corruptions_of(levels)
    if not corruptions:
        raise ValueError("no level is corrupted, so there is nothing to draw")
    picked = [0, images.shape[1] - 1]
    if labels is not None:
        members = [np.flatnonzero(np.asarray(labels) == label)[:100] for label in range(2)]
        picked = [rows[images[0, rows].std(axis=(1, 2, 3)).argmax()] for rows in members]
    places = [
        [0, *levels[levels["corruption"] == name].sort_values("severity").index]
        for name in corruptions
    ]
    columns, cell = max(map(len, places)), images.shape[2] + _GAP
    figure, axes = plt.subplots(
        len(corruptions), 1, figsize=(0.9 * columns, 2.35 * len(corruptions)), squeeze=False
    )
    for axis, name, shown in zip(axes.flat, corruptions, places, strict=True):
        sheet = np.full((len(picked) * cell - _GAP, columns * cell - _GAP, 3), 255, np.uint8)
        for row, image in enumerate(picked):
            for column, level in enumerate(shown):
                y, x = row * cell, column * cell
                sheet[y : y + cell - _GAP, x : x + cell - _GAP] = images[level, image]
        axis.imshow(sheet, interpolation="nearest")
        axis.set_xticks(
            [(i + 0.5) * cell - _GAP / 2 for i in range(len(shown))], levels["level"].iloc[shown]
        )
        axis.set_title(CORRUPTIONS.get(name, name), loc="left")
        _name_rows(axis, cell, labels is not None)
    figure.tight_layout()
    save(figure, path)


def _name_rows(axis: plt.Axes, cell: int, named: bool) -> None:
    """Write the class at the left of its row and take away what is drawn around pictures."""
    axis.grid(visible=False)
    axis.tick_params(length=0)
    sns.despine(ax=axis, left=True, bottom=True)
    if not named:
        axis.set_yticks([])
        return
    axis.set_yticks([(i + 0.5) * cell - _GAP / 2 for i in range(len(CLASSES))], CLASSES)
    for text, name in zip(axis.get_yticklabels(), CLASSES, strict=True):
        text.set(color=COLOURS[name], fontweight="bold")
