"""Figures of the data."""

import os

import numpy as np
import seaborn as sns

from detector.base.arrays import Split
from detector.base.layout import CLASSES
from detector.figures.style import COLOURS, plt, save
from detector.preprocessing.spectra import Spectra


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
