"""What `python -m benchmarks.collapse` found, as a table and as a figure."""

import statistics
from typing import Any

import pandas as pd
import seaborn as sns
from tabulate import tabulate

from detector.figures import style

plt = style.plt
HEADERS = [
    "preprocessing", "BatchNorm", "layers that learn", "momentum", "training", "validation",
    "by batch statistics", "mean apart", "variance apart", "spread, last layer",
]  # fmt: skip

HOW_TO_READ = """\
Validation: accuracy as after every training, by moving statistics. By batch statistics: the same
weights and images, but layers that learn normalise as they do in training. Apart: medians over the
layers that learn, of |moving mean - batch mean| in deviations and of |ln| of the ratio of the
variances (0.69: a factor of two). Spread: the deviation between REAL images of a unit of the last
layer, after training.
"""


def way_of(run: dict[str, Any]) -> str:
    """Name a way in one line."""
    momentum = f", {run['bn_momentum']:g}" if run["batchnorm"] == "train" else ""
    return f"{run['preprocessing']}, {run['batchnorm']}{momentum}, {run['trainable_layers']}"


def apart(run: dict[str, Any], column: str) -> float | None:
    """Give the median over the layers that learn; None without one. column: mean or variance."""
    values = [layer[column] for layer in run["layers"] if layer["learns"]]
    return statistics.median(values) if values else None


def markdown(result: dict[str, Any]) -> str:
    """Give the table, and below it how to read it and what it was measured on."""
    rows = []
    for run in result["runs"]:
        moved = [apart(run, column) for column in ("mean", "variance")]
        rows.append(
            [
                run["preprocessing"],
                run["batchnorm"],
                run["trainable_layers"],
                f"{run['bn_momentum']:g}" if run["batchnorm"] == "train" else "",
                *(
                    f"{100 * value:.1f} %"
                    for value in (
                        run["training_accuracy"][-1],
                        run["accuracy"]["moving"],
                        run["accuracy"]["batch"],
                    )
                ),
                *("" if value is None else f"{value:.2f}" for value in moved),
                f"{run['activations_of_real']['end']['spread']:.3g}",
            ]
        )
    aligned = ("left",) * 3 + ("right",) * 7
    table = tabulate(rows, HEADERS, "github", colalign=aligned, disable_numparse=True)
    pre, machine = result["pretraining"], result["machine"]
    versions = ", ".join(f"{name} {value}" for name, value in machine["versions"].items())
    said = [
        f"Backbone pretrained on {pre['images']:,} REAL images in {pre['epochs']} epochs",
        f"({100 * pre['val_accuracy']:.1f} % of ten classes); each way",
        f"{result['epochs']} epochs of",
        f"{result['steps']} steps of 64 of {result['images']['train']:,} images, seed",
        f"{result['seed']}. {machine['cpu']}, {machine['cores']} cores, Python",
        f"{machine['python']}, {versions}.",
    ]
    return f"{table}\n\n{HOW_TO_READ}\n{' '.join(said)}\n"


def figure(result: dict[str, Any]) -> Any:
    """Draw training and validation accuracy, and that by batch statistics, of every way."""
    table = pd.DataFrame(
        [
            {"way": way_of(run), "accuracy": 100 * value, "": name}
            for run in result["runs"]
            for name, value in (
                ("training", run["training_accuracy"][-1]),
                ("validation (moving statistics)", run["accuracy"]["moving"]),
                ("the same by batch statistics", run["accuracy"]["batch"]),
            )
        ]
    )
    drawn, axis = plt.subplots(figsize=(8, 1.2 + 0.42 * len(result["runs"])))
    sns.stripplot(data=table, y="way", x="accuracy", hue="", jitter=False, size=8, ax=axis)
    axis.axvline(50, color="0.6", linestyle=":")
    axis.set(xlabel="accuracy, %", ylabel="", xlim=(45, 101), title="One network, transferred")
    axis.grid(axis="y", color="0.9")
    axis.legend(title=None, loc="upper center", bbox_to_anchor=(0.4, -0.1), ncol=3)
    return drawn
