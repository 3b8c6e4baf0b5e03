"""Figures of one backbone: its errors, its probabilities, and what it looks at."""

import os

import matplotlib
import numpy as np
import pandas as pd
import seaborn as sns

from detector.base.layout import CLASSES
from detector.figures.style import COLOURS, plt, save

HEAT = "inferno"  # colours, cold to hot


def confusion_matrix(confusion: dict[str, int], title: str, path: str | os.PathLike[str]) -> None:
    """Draw the counts and shares of actual class by predicted class.

    confusion: `confusion` of metrics.classification_metrics.
    """
    order = tuple(reversed(CLASSES))
    counts = np.array([[confusion[f"{a}_predicted_{c}"] for c in order] for a in order])
    shares = counts / counts.sum(axis=1, keepdims=True)
    words = [
        [f"{n:,}\n{s:.2%}" for n, s in zip(*rows, strict=True)]
        for rows in zip(counts, shares, strict=True)
    ]
    figure, axis = plt.subplots(figsize=(4.6, 3.9))
    sns.heatmap(
        shares, annot=words, fmt="", cmap="crest", vmin=0, vmax=1, square=True,
        xticklabels=order, yticklabels=order, cbar_kws={"label": "share of the actual class"},
        ax=axis,
    )  # fmt: skip
    axis.set(xlabel="predicted", ylabel="actual", title=title)
    save(figure, path)


def probability_histogram(
    labels: np.ndarray,
    probabilities: np.ndarray,
    threshold: float,
    title: str,
    path: str | os.PathLike[str],
) -> None:
    """Draw how the probabilities of REAL of each class are spread, and the threshold."""
    figure, axis = plt.subplots(figsize=(6, 3.4))
    sns.histplot(
        x=probabilities, hue=np.array(CLASSES)[labels], hue_order=list(COLOURS), palette=COLOURS,
        bins=np.linspace(0, 1, 41), element="step", ax=axis,
    )  # fmt: skip
    axis.axvline(threshold, color="0.3", linestyle="--", linewidth=1)
    axis.get_legend().set_title("actual")
    axis.set(
        xlabel=f"calibrated probability of REAL (dashed: threshold {threshold:.3f})",
        ylabel="test images", title=title, xlim=(0, 1),
    )  # fmt: skip
    save(figure, path)


def reliability(tables: dict[str, pd.DataFrame], title: str, path: str | os.PathLike[str]) -> None:
    """Draw the share of REAL against the probability said, before and after calibration.

    tables: of calibration.reliability_table, by name. On the diagonal a probability is true.
    """
    figure, axis = plt.subplots(figsize=(4.6, 4.2))
    axis.plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
    for name, table in tables.items():
        axis.plot(
            table["mean_probability"], table["share_real"], marker="o", markersize=4, label=name
        )
    axis.legend(title="temperature scaling", loc="upper left")
    axis.set(
        xlabel="mean probability of REAL", ylabel="share of REAL images", title=title,
        xlim=(-0.02, 1.02), ylim=(-0.02, 1.02),
    )  # fmt: skip
    save(figure, path)


def gradcam_sheet(
    images: np.ndarray,
    heat: np.ndarray,
    groups: dict[str, np.ndarray],
    probabilities: np.ndarray,
    title: str,
    path: str | os.PathLike[str],
) -> None:
    """Draw a row for each group: each image, and beside it the same under its heat.

    groups: of gradcam.confident; rows of the split, which are written below the images, at least
    one group. images: uint8 M,S,S,3, heat: M,S,S of gradcam.grad_cam, and probabilities:
    calibrated, of REAL, are those of the first group's rows, then the second's and so on.
    """
    if len(images) != sum(map(len, groups.values())):
        raise ValueError("images must be those of the groups, one after another")
    columns = max(1, *map(len, groups.values()))
    # A narrow empty column stands between two pairs.
    widths = ([1, 1, 0.12] * columns)[:-1]
    figure, axes = plt.subplots(
        len(groups), len(widths), squeeze=False,
        figsize=(1.3 + 1.02 * sum(widths), 1.3 * len(groups)),
        gridspec_kw={"width_ratios": widths, "wspace": 0.06, "hspace": 0.32, "top": 0.94},
    )  # fmt: skip
    for axis in axes.flat:
        axis.set(xticks=[], yticks=[])
        axis.grid(False)
        axis.patch.set_visible(False)  # it would cover its neighbour's label
        sns.despine(ax=axis, left=True, bottom=True)
    first = 0
    for (name, rows), line in zip(groups.items(), axes, strict=True):
        line[0].set_ylabel(
            name.replace(", ", "\n"), color=COLOURS[name.split(",")[0]], rotation=0,
            ha="right", va="center", fontweight="bold",
        )  # fmt: skip
        if len(rows) == 0:
            line[0].text(0.5, 0.5, "none", ha="center", va="center", transform=line[0].transAxes)
        for i, row in enumerate(rows):
            plain, hot = line[3 * i], line[3 * i + 1]
            plain.imshow(images[first + i], interpolation="nearest")
            hot.imshow(_overlay(images[first + i], heat[first + i]), interpolation="nearest")
            plain.set_xlabel(f"row {row}", fontsize=7)
            hot.set_xlabel(f"P(REAL) {_words(probabilities[first + i])}", fontsize=7)
        first += len(rows)
    figure.suptitle(title, y=1.0, x=0.45)
    figure.colorbar(
        matplotlib.cm.ScalarMappable(cmap=HEAT), ax=axes, shrink=0.6, pad=0.02, aspect=25,
        label="evidence for the predicted class",
    )  # fmt: skip
    save(figure, path)


def _words(probability: float) -> str:
    # A calibrated probability is never quite 0 or 1.
    if probability > 0.9995:
        return ">0.999"
    return "<0.001" if probability < 0.0005 else f"{probability:.3f}"


def _overlay(image: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Mix the grey image with the colours of its heat; float S,S,3, 0 to 1."""
    grey = image.astype(np.float64).mean(axis=-1, keepdims=True) / 255
    colours = matplotlib.colormaps[HEAT](heat)[..., :3]
    return 0.45 * grey + 0.55 * colours
