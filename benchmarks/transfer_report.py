"""One network transferred in many ways: how well it learnt and judges, as a table and a figure."""

import itertools
from dataclasses import dataclass
from typing import Any

import pandas as pd
import seaborn as sns
from tabulate import tabulate

from detector.figures import style

plt = style.plt
GRID = {
    "preprocessing": ("rescale", "imagenet"),
    "batchnorm": ("train", "frozen"),
    "trainable_layers": (0, 50, "all"),
    "bn_momentum": (0.99, 0.9),
}
Values = tuple[Any, ...]
HEADERS = [
    "preprocessing", "BatchNorm", "layers that learn", "momentum", "training", "validation",
    "by batch statistics", "means apart", "variances apart", "spread at the end",
]  # fmt: skip

HOW_TO_READ = """\
Training: accuracy of the last epoch, on augmented images. Validation: accuracy after training, by
moving statistics. By batch statistics: the same weights and images, but BatchNormalization layers
that learn normalise as they do in training. Apart: medians over the layers that learn, of |moving
mean - batch mean| in standard deviations and of |ln| of the ratio of the variances (0.69: a factor
of two). Spread: the standard deviation between REAL images of a unit of the last layer.
"""


def ways() -> list[Values]:
    """Give the ways of the grid that differ.

    The momentum is of no effect without a BatchNormalization that learns, and there is none when no
    layer learns; such ways stand once, with 0.99.
    """
    return [
        way
        for way in itertools.product(*GRID.values())
        if (way[1] == "train" and way[2] != 0) or (way[1], way[3]) == ("frozen", 0.99)
    ]


@dataclass(frozen=True)
class Way:
    """What came of one way. Accuracies 0 to 1; see HOW_TO_READ."""

    preprocessing: str
    batchnorm: str
    trainable_layers: str
    bn_momentum: float
    training: float
    moving: float
    batch: float
    mean_apart: float | None
    variance_apart: float | None
    spread: float

    @property
    def name(self) -> str:
        """Name the way in one line."""
        momentum = f", {self.bn_momentum:g}" if self.batchnorm == "train" else ""
        return f"{self.preprocessing}, {self.batchnorm}{momentum}, {self.trainable_layers}"


def markdown(ways: list[Way], made_of: str) -> str:
    """Give the table, how to read it, and what the figures are of."""
    rows = [
        [
            way.preprocessing,
            way.batchnorm,
            way.trainable_layers,
            f"{way.bn_momentum:g}" if way.batchnorm == "train" else "",
            *(f"{100 * value:.1f} %" for value in (way.training, way.moving, way.batch)),
            *("" if v is None else f"{v:.2f}" for v in (way.mean_apart, way.variance_apart)),
            f"{way.spread:.3g}",
        ]
        for way in ways
    ]
    aligned = ("left",) * 3 + ("right",) * 7
    table = tabulate(rows, HEADERS, "github", colalign=aligned, disable_numparse=True)
    return f"{table}\n\n{HOW_TO_READ}\n{made_of}\n"


def figure(ways: list[Way]) -> plt.Figure:
    """Draw training and validation accuracy, and that by batch statistics, of every way."""
    table = pd.DataFrame(
        [
            {"way": way.name, "accuracy": 100 * value, "": name}
            for way in ways
            for name, value in (
                ("training", way.training),
                ("validation (moving statistics)", way.moving),
                ("the same by batch statistics", way.batch),
            )
        ]
    )
    drawn, axis = plt.subplots(figsize=(8, 1.2 + 0.42 * len(ways)))
    sns.stripplot(
        data=table, y="way", x="accuracy", hue="", jitter=False, dodge=True, size=7, ax=axis
    )
    axis.axvline(50, color="0.6", linestyle=":")
    axis.set(xlabel="accuracy, %", ylabel="", xlim=(45, 101), title="One network, transferred")
    axis.grid(axis="y", color="0.9")
    axis.legend(title=None, loc="upper center", bbox_to_anchor=(0.4, -0.1), ncol=3)
    return drawn
