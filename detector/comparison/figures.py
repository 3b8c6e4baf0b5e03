"""Figures of all backbones of a run beside each other. Same input, same bytes."""

import os

import numpy as np
import pandas as pd
import seaborn as sns

from detector.figures.style import CORRUPTIONS, corruptions_of, plt, save


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
    axes[0].set(
        xlabel="false positive rate (FAKE predicted REAL)",
        ylabel="true positive rate (REAL predicted REAL)", title="ROC",
    )  # fmt: skip
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


def comparison(
    table: pd.DataFrame, title: str, is_cifake: bool, path: str | os.PathLike[str]
) -> None:
    """Draw metrics of each backbone, with the paper's.

    table: columns backbone, source ("here" or "paper"), metric, value (0 to 1). The paper's are
    bars beside ours only where both are of the same images; otherwise a muted column of numbers.
    """
    names = list(dict.fromkeys(table["backbone"]))
    words = table.assign(metric=table["metric"].str.replace("_", " "))
    figure, axes = plt.subplots(
        1, len(names), figsize=(1.8 + 3.6 * len(names), 4.4), sharey=True, squeeze=False
    )
    sources = ["here", "paper"] if is_cifake else ["here"]
    for axis, name in zip(axes[0], names, strict=True):
        own = words[words["backbone"] == name]
        sns.barplot(
            data=own[own["source"].isin(sources)], x="value", y="metric", hue="source",
            hue_order=sources, palette=["#30638e", "#c9c9c9"][: len(sources)], ax=axis,
        )  # fmt: skip
        for bars in axis.containers:
            axis.bar_label(bars, fmt=lambda value: f" {100 * value:.1f}", fontsize=8)
        axis.set(title=name, xlabel="", ylabel="", xlim=(0, 1.15), xticks=np.linspace(0, 1, 5))
        axis.get_legend().remove()
        theirs = own[own["source"] == "paper"]
        if not is_cifake and len(theirs):
            axis.set_xlim(0, 1.6)
            muted = {"color": "0.6", "fontsize": 8, "ha": "center"}
            axis.text(1.42, -0.75, "paper, CIFAKE:\nother images", **muted)
            for place, value in enumerate(theirs["value"]):
                axis.text(1.42, place, f"{100 * value:.1f}", va="center", **muted)
    if is_cifake:
        handles = axes[0][0].get_legend_handles_labels()
        figure.legend(*handles, loc="lower center", ncols=2, frameon=False)
    figure.suptitle(title)
    figure.tight_layout(rect=(0, 0.06 if is_cifake else 0, 1, 1))
    save(figure, path)


def robustness_curves(table: pd.DataFrame, title: str, path: str | os.PathLike[str]) -> None:
    """Draw the accuracy from clean to the strongest level, a panel for each corruption.

    table: of robustness.level_table with a column `backbone`, one line for each; bands are the 95 %
    intervals, and 0.5, dotted, is what guessing reaches when both classes are equally many.
    Raises ValueError when no level is corrupted.
    """
    corruptions = corruptions_of(table)
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
        axis.set(title=CORRUPTIONS.get(corruption, corruption), xlabel="")
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
