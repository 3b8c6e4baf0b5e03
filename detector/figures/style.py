"""What all figures have in common: colours, and files with the same bytes for the same input."""

import os

import matplotlib
import pandas as pd
import seaborn as sns

matplotlib.use("Agg")
from matplotlib import pyplot as plt

COLOURS = {"FAKE": "#d1495b", "REAL": "#00798c"}  # apart for colour-blind readers, too
CORRUPTIONS = {
    "jpeg": "JPEG: quality",
    "blur": "Gaussian blur: sigma in pixels",
    "noise": "Gaussian noise: standard deviation, of 1",
    "rescale": "scaled down and up: factor",
    "blur_then_jpeg": "blur, then JPEG: sigma + quality",
}
sns.set_theme(style="whitegrid", font_scale=0.95)


def save(figure: plt.Figure, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG and close it."""
    # matplotlib writes its version into the file otherwise
    figure.savefig(path, format="png", dpi=130, bbox_inches="tight", metadata={"Software": None})
    plt.close(figure)


def corruptions_of(levels: pd.DataFrame) -> list[str]:
    """Return the names in the column `corruption`, in their order, without the clean level."""
    return [name for name in dict.fromkeys(levels["corruption"]) if name != "none"]
