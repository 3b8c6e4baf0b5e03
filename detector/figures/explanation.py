"""Figures of what a network looks at and what sets the classes apart. Same input, same bytes."""

import os

import matplotlib
import numpy as np
import seaborn as sns

from detector.data.spectra import Spectra
from detector.figures.style import COLOURS, plt, save

HEAT = "inferno"  # colours, cold to hot


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
        label="evidence for what it was called",
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


def spectra_figure(spectra: Spectra, title: str, path: str | os.PathLike[str]) -> None:
    """Draw the mean spectra of REAL and FAKE, their difference, and the means over rings."""
    figure, axes = plt.subplots(2, 2, figsize=(9, 7.6), layout="constrained")
    real, fake = spectra.magnitude["REAL"], spectra.magnitude["FAKE"]
    size = len(real)
    # Pixels are centred on their frequencies; downwards as in the images.
    edges = [(-(size // 2) - 0.5) / size, (size - size // 2 - 0.5) / size]
    lowest, highest = min(real.min(), fake.min()), max(real.max(), fake.max())
    both = {"cmap": "mako", "vmin": lowest, "vmax": highest}
    largest = np.abs(fake - real).max()
    apart = {
        "cmap": sns.blend_palette([COLOURS["REAL"], "white", COLOURS["FAKE"]], as_cmap=True),
        "vmin": -largest, "vmax": largest,
    }  # fmt: skip
    for axis, values, name, unit, options in (
        (axes[0, 0], real, f"REAL ({spectra.counts['REAL']:,} images)", "log magnitude", both),
        (axes[0, 1], fake, f"FAKE ({spectra.counts['FAKE']:,} images)", "log magnitude", both),
        (axes[1, 0], fake - real, "FAKE minus REAL", "difference of log magnitudes", apart),
    ):
        drawn = axis.imshow(values, extent=[*edges, *reversed(edges)], **options)
        axis.set(
            title=name, xlabel="horizontal, cycles per pixel", ylabel="vertical, cycles per pixel",
            xticks=np.linspace(-0.5, 0.5, 5), yticks=np.linspace(-0.5, 0.5, 5),
        )  # fmt: skip
        axis.grid(False)
        figure.colorbar(drawn, ax=axis, label=unit, shrink=0.85)
    for name, radial in spectra.radial.items():
        axes[1, 1].plot(np.arange(len(radial)) / size, radial, color=COLOURS[name], label=name)
    axes[1, 1].axvline(0.5, color="0.5", linestyle="--", linewidth=1)
    axes[1, 1].legend()
    axes[1, 1].set(
        title="mean over rings of equal frequency",
        xlabel="cycles per pixel (right of the dashes: corners only)",
        ylabel="log magnitude", box_aspect=1,
    )  # fmt: skip
    figure.suptitle(title)
    save(figure, path)
