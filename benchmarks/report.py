"""The table and the plots of all results that a folder holds."""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import seaborn as sns
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from tabulate import tabulate

from benchmarks.common import PARTS
from detector.base.files import replacing
from detector.figures import style

plt = style.plt


def write_report(folder: Path) -> str:
    """Write table.md and the plots of the parts in `folder`. Returns the table."""
    found = (folder / f"{part}.json" for part in PARTS)
    results = [json.loads(path.read_text(encoding="utf-8")) for path in found if path.exists()]
    text = markdown(results)
    with replacing(folder / "table.md") as path:
        path.write_text(text, encoding="utf-8")
    for part, draw in (("accuracy", accuracy), ("growth", growth), ("throughput", throughput)):
        for result in results:
            if result["part"] == part:
                with replacing(folder / f"{part}.png") as path:
                    style.save(draw(result["figures"]), path)
    return text


def markdown(results: list[dict[str, Any]]) -> str:
    """Give the table of every row of every result, and below it what they were measured on."""
    lines = [
        [result["part"], row["what"], number(row["value"], row["unit"]), *verdict(row)]
        for result in results
        for row in result["rows"]
    ]
    table = tabulate(
        lines,
        ["part", "measured", "value", "bar", "met"],
        tablefmt="github",
        colalign=("left", "left", "right", "right", "left"),
        disable_numparse=True,
    )
    notes = [f"{parts}: {words}" for words, parts in measured_on(results).items()]
    return "\n\n".join([table, *notes]) + "\n"


def measured_on(results: list[dict[str, Any]]) -> dict[str, str]:
    """Give the parts that were measured on each machine, in words, with as many repeats."""
    groups: dict[str, list[str]] = {}
    for result in results:
        machine = result["machine"]
        versions = ", ".join(f"{name} {v}" for name, v in machine["versions"].items())
        words = (
            f"{machine['cpu']}, {machine['cores']} cores, {machine['memory_gib']} GiB, "
            f"{machine['gpu'] or 'no GPU'}; {machine['system']}, Python {machine['python']}, "
            f"{versions}, Keras on {machine['keras_backend']}; medians of {result['repeats']}"
            + ("; --quick: only a trial" if result["quick"] else "")
        )
        groups.setdefault(words, []).append(result["part"])
    return {words: ", ".join(parts) for words, parts in groups.items()}


def number(value: float | None, unit: str) -> str:
    """Give a value with its unit, of 4 significant digits."""
    if value is None:
        return "never"
    digits = f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"
    return f"{digits} {unit}".rstrip()


def verdict(row: dict[str, Any]) -> tuple[str, str]:
    """Give the bar of a row in words, and whether it is met."""
    if "met" not in row:
        return "", ""
    sign, bar = ("<=", row["at_most"]) if "at_most" in row else (">=", row["at_least"])
    return f"{sign} {number(bar, row['unit'])}", "yes" if row["met"] else "no"


def plain_ticks(axis: Any, subs: tuple[float, ...] = (1.0, 2.0, 5.0)) -> None:
    """Label a logarithmic axis with numbers instead of powers."""
    axis.set_major_locator(LogLocator(subs=subs))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,g}"))
    axis.set_minor_formatter(NullFormatter())


def accuracy(figures: dict[str, Any]) -> Any:
    """Draw validation accuracy over the seconds of training, a line for each run and seed."""
    table = pd.DataFrame(
        [
            {"run": run["name"], "seed": run["seed"], **point}
            for run in figures["runs"]
            for point in run["curve"]
        ]
    )
    table["accuracy"] *= 100
    figure, axis = plt.subplots(figsize=(8, 4.6))
    sns.lineplot(
        data=table, x="seconds", y="accuracy", hue="run", units="seed", estimator=None,
        marker="o", markersize=4, ax=axis,
    )  # fmt: skip
    axis.set_xscale("log")
    plain_ticks(axis.xaxis)
    axis.set(
        xlabel="seconds of training, input included, compilation and validation not",
        ylabel="validation accuracy, %", title="Time to accuracy",
    )  # fmt: skip
    axis.set_ylim(bottom=max(50, float(table["accuracy"].quantile(0.1)) - 5))
    axis.legend(title=None, loc="upper left", bbox_to_anchor=(1, 1))
    return figure


def growth(figures: dict[str, Any]) -> Any:
    """Draw seconds and memory of an epoch by number of images, both axes logarithmic."""
    table = pd.DataFrame(
        [
            {"images": images, **run}
            for images, runs in zip(figures["images"], figures["runs"], strict=True)
            for run in runs
        ]
    )
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8))
    names = {
        "epoch_seconds": ("seconds of an epoch", f"cnn32: images^{figures['exponent']:.2f}"),
        "beyond_arrays_mib": ("peak MiB beyond the arrays", "cnn32: memory of the process"),
    }
    for axis, (column, (label, title)) in zip(axes, names.items(), strict=True):
        sns.lineplot(data=table, x="images", y=column, errorbar=None, estimator="median", ax=axis)
        sns.scatterplot(data=table, x="images", y=column, ax=axis)
        axis.set(xscale="log", xlabel="images", ylabel=label, title=title)
        axis.set_xticks(figures["images"], [f"{n:,}" for n in figures["images"]])
        axis.minorticks_off()
    axes[0].set_yscale("log")
    plain_ticks(axes[0].yaxis)
    figure.tight_layout()
    axes[1].set_ylim(0, 1.2 * table["beyond_arrays_mib"].max())
    return figure


def throughput(figures: dict[str, Any]) -> Any:
    """Draw images a second of each backbone, and the share of the machine's peak."""
    table = pd.DataFrame(
        [
            {
                "backbone": name,
                "work": kind,
                "rate": found[f"{kind}_images_per_second"],
                "share": 100 * found[f"{kind}_share_of_peak"],
            }
            for name, found in figures["networks"].items()
            for kind in ("prediction", "training")
        ]
    )
    figure, axes = plt.subplots(1, 2, figsize=(9, 3.8), sharey=True)
    peak = figures["matmul_peak_flops_per_second"] / 1e9
    names = {"rate": "images a second", "share": f"% of the peak of {peak:.0f} GFLOP/s"}
    for axis, (column, label) in zip(axes, names.items(), strict=True):
        sns.barplot(
            data=table, y="backbone", x=column, hue="work", legend=column == "rate", ax=axis
        )
        axis.set(xlabel=label, ylabel="")
    axes[0].set(xscale="log", xlim=(1, None))
    plain_ticks(axes[0].xaxis, (1.0,))
    axes[0].legend(title=None, loc="upper center", bbox_to_anchor=(0.5, -0.2), ncol=2)
    figure.suptitle("Speed of the backbones")
    figure.tight_layout()
    return figure
