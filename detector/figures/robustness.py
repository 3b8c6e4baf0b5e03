"""Pictures of corrupted images and of what detectors make of them."""

import os

import numpy as np
import pandas as pd
import seaborn as sns

from detector.data.layout import CLASSES
from detector.figures.style import COLOURS, plt, save

TITLES = {
    "jpeg": "JPEG: quality",
    "blur": "Gaussian blur: sigma in pixels",
    "noise": "Gaussian noise: deviation, of 1",
    "rescale": "scaled down and up: factor",
    "blur_then_jpeg": "blur, then JPEG: sigma + quality",
}
_GAP = 2  # white pixels between images


def _corruptions(levels: pd.DataFrame) -> list[str]:
    return [name for name in dict.fromkeys(levels["corruption"]) if name != "none"]


def robustness_curves(table: pd.DataFrame, title: str, path: str | os.PathLike[str]) -> None:
    """Draw the accuracy from clean to the strongest level, a panel for each corruption.

    table: of robustness.level_table with a column `backbone`, one line for each; bands are the 95 %
    intervals, and 0.5, dotted, is what guessing reaches when both classes are equally many.
    Raises ValueError when no level is corrupted.
    """
    corruptions = _corruptions(table)
    if not corruptions:
        raise ValueError("no level is corrupted, so there is nothing to draw")
    names = list(dict.fromkeys(table["backbone"]))
    colours = dict(zip(names, sns.color_palette("deep", len(names)), strict=True))
    columns = min(3, len(corruptions))
    rows = -(-len(corruptions) // columns)
    figure, axes = plt.subplots(
        rows, columns, figsize=(0.6 + 3.5 * columns, 0.9 + 2.7 * rows), sharey=True, squeeze=False
    )
    for axis, corruption in zip(axes.flat, corruptions, strict=False):
        _panel(axis, table[table["corruption"].isin(("none", corruption))], colours)
        axis.set(title=TITLES.get(corruption, corruption), xlabel="")
    for axis in axes[:, 0]:
        axis.set_ylabel("accuracy")
    for axis in axes.flat[len(corruptions) :]:
        axis.axis("off")
    figure.tight_layout(rect=(0, 0.9 / figure.get_figheight() * 0.35, 1, 1))
    figure.legend(
        *axes[0, 0].get_legend_handles_labels(),
        loc="lower center", ncols=min(4, len(names)), frameon=False,
    )  # fmt: skip
    figure.suptitle(title, y=1.02)
    save(figure, path)


def _panel(axis: plt.Axes, table: pd.DataFrame, colours: dict[str, tuple]) -> None:
    axis.axhline(0.5, color="0.4", linestyle=":", linewidth=1.2)
    for name, colour in colours.items():
        part = table[table["backbone"] == name].sort_values(
            ["corruption", "severity"],
            key=lambda c: c if c.name == "severity" else c != "none",
            kind="stable",
        )
        place = np.arange(len(part))
        axis.plot(place, part["accuracy"], color=colour, marker="o", markersize=4, label=name)
        axis.fill_between(
            place, part["accuracy_low"], part["accuracy_high"], color=colour, alpha=0.2, linewidth=0
        )
        words = part["level"].astype(str)
        axis.set_xticks(place, words, rotation=45 if words.str.len().sum() > 36 else 0)
    axis.set_ylim(0, 1.03)
    axis.grid(axis="x", visible=False)


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
    corruptions = _corruptions(levels)
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
        axis.set_title(TITLES.get(name, name), loc="left")
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
