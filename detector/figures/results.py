"""Figures of predictions, trainings and comparisons."""

import os

import numpy as np
import pandas as pd
import seaborn as sns

from detector.data.layout import CLASSES
from detector.figures.style import COLOURS, plt, save


def confusion_matrix(confusion: dict[str, int], title: str, path: str | os.PathLike[str]) -> None:
    """Draw the counts and shares of actual class by called class.

    confusion: `confusion` of metrics.classification_metrics.
    """
    order = tuple(reversed(CLASSES))
    counts = np.array([[confusion[f"{a}_called_{c}"] for c in order] for a in order])
    shares = counts / counts.sum(axis=1, keepdims=True)
    words = [
        [f"{n:,}\n{s:.1%}" for n, s in zip(*rows, strict=True)]
        for rows in zip(counts, shares, strict=True)
    ]
    figure, axis = plt.subplots(figsize=(4.6, 3.9))
    sns.heatmap(
        shares, annot=words, fmt="", cmap="crest", vmin=0, vmax=1, square=True,
        xticklabels=order, yticklabels=order, cbar_kws={"label": "share of the actual class"},
        ax=axis,
    )  # fmt: skip
    axis.set(xlabel="called", ylabel="actual", title=title)
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


def risk_coverage(table: pd.DataFrame, title: str, path: str | os.PathLike[str]) -> None:
    """Draw the error among the surest images against their share. A line for each `backbone`."""
    figure, axis = plt.subplots(figsize=(5.6, 3.8))
    sns.lineplot(data=table, x="coverage", y="risk", hue="backbone", errorbar=None, ax=axis)
    axis.set(
        xlabel="share of images that are answered, surest first", ylabel="errors among them",
        title=title, xlim=(0, 1.01),
    )  # fmt: skip
    axis.set_ylim(bottom=0)
    save(figure, path)


def curves(
    roc: pd.DataFrame, precision_recall: pd.DataFrame, title: str, path: str | os.PathLike[str]
) -> None:
    """Draw ROC and precision-recall curves side by side, a line for each value of `backbone`."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 4.2))
    axes[0].plot([0, 1], [0, 1], color="0.6", linestyle="--", linewidth=1)
    for axis, table, x, y in (
        (axes[0], roc, "fpr", "tpr"),
        (axes[1], precision_recall, "recall", "precision"),
    ):
        sns.lineplot(
            data=table, x=x, y=y, hue="backbone", errorbar=None, estimator=None, sort=False, ax=axis
        )
        axis.set(xlim=(-0.01, 1.01), ylim=(-0.01, 1.01))
    axes[0].set(xlabel="FAKE called REAL", ylabel="REAL called REAL", title="ROC")
    axes[1].set(xlabel="recall of REAL", ylabel="precision of REAL", title="Precision-recall")
    figure.suptitle(title)
    save(figure, path)


def learning_curves(history: pd.DataFrame, title: str, path: str | os.PathLike[str]) -> None:
    """Draw loss and accuracy by epoch. history: columns backbone, epoch, split, loss, accuracy."""
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8))
    for axis, quantity in zip(axes, ("accuracy", "loss"), strict=True):
        sns.lineplot(
            data=history, x="epoch", y=quantity, hue="backbone", style="split", markers=True,
            dashes={"train": (2, 2), "validation": ""}, ax=axis,
        )  # fmt: skip
        axis.xaxis.get_major_locator().set_params(integer=True)
        axis.set_title(quantity)
    axes[0].get_legend().remove()
    figure.suptitle(title)
    save(figure, path)


def comparison(table: pd.DataFrame, title: str, path: str | os.PathLike[str]) -> None:
    """Draw metrics of each backbone beside the paper's.

    table: columns backbone, source ("here" or "paper"), metric, value (0 to 1).
    """
    names = list(dict.fromkeys(table["backbone"]))
    words = table.assign(metric=table["metric"].str.replace("_", " "))
    figure, axes = plt.subplots(
        1, len(names), figsize=(1.8 + 3.6 * len(names), 4.4), sharey=True, squeeze=False
    )
    for axis, name in zip(axes[0], names, strict=True):
        sns.barplot(
            data=words[words["backbone"] == name], x="value", y="metric", hue="source",
            hue_order=["here", "paper"], palette=["#30638e", "#c9c9c9"], ax=axis,
        )  # fmt: skip
        for bars in axis.containers:
            axis.bar_label(bars, fmt=lambda value: f" {100 * value:.1f}", fontsize=8)
        axis.set(title=name, xlabel="", ylabel="", xlim=(0, 1.15), xticks=np.linspace(0, 1, 5))
        axis.get_legend().remove()
    figure.legend(
        *axes[0][0].get_legend_handles_labels(), loc="lower center", ncols=2, frameon=False
    )
    figure.suptitle(title)
    figure.tight_layout(rect=(0, 0.06, 1, 1))
    save(figure, path)
