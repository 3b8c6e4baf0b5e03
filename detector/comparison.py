"""The backbones of a run beside each other and beside the paper's table."""

import json
from importlib import resources
from typing import Any

import pandas as pd

# The rows of the paper's table, by the names that detector.metrics gives them.
PAPER_METRICS = ("accuracy", "precision", "recall", "specificity", "f1")
CIFAKE = "birdy654/cifake-real-and-ai-generated-synthetic-images"


def paper_results() -> dict[str, dict[str, Any]]:
    """Give the paper's figures by backbone, as fractions."""
    text = resources.files("detector").joinpath("paper_results.json").read_text(encoding="utf-8")
    return json.loads(text)["backbones"]


def comparison_rows(results: dict[str, dict[str, Any]], backbones: dict[str, str]) -> pd.DataFrame:
    """Give one row a backbone, source and metric: columns backbone, source, metric, value.

    results: metrics on the test images, with validation_accuracy, by name. backbones: which
    architecture each name is, so that a variant stands beside the paper's figures of the same.
    """
    paper = paper_results()
    rows = []
    for name, measured in results.items():
        published = paper.get(backbones[name], {})
        for metric in ("validation_accuracy", *PAPER_METRICS):
            rows.append((name, "here", metric, measured[metric]))
            if metric in published:
                rows.append((name, "paper", metric, published[metric]))
    return pd.DataFrame(rows, columns=["backbone", "source", "metric", "value"])


def caption(data_name: str, is_cifake: bool, n: int) -> str:
    """Say which images the figures are of, and whether the paper's can be held against them."""
    if is_cifake:
        return f"Here: CIFAKE, {n:,} test images. Paper: as published."
    return (
        f"Here: {n:,} test images of the data set '{data_name}', which is not CIFAKE. "
        "Paper: as published, on CIFAKE. The two are of different images: "
        "compare them on data=cifake only."
    )


def markdown_table(rows: pd.DataFrame, words: str) -> str:
    """Give the table in Markdown, in percent, under its caption."""
    columns = rows[["backbone", "source"]].drop_duplicates().itertuples(index=False)
    keys = [tuple(column) for column in columns]
    values = rows.set_index(["backbone", "source", "metric"])["value"]
    lines = [
        "| % | " + " | ".join(f"{name}, {source}" for name, source in keys) + " |",
        "|---|" + "--:|" * len(keys),
    ]
    for metric in dict.fromkeys(rows["metric"]):
        cells = [
            f"{100 * values[name, source, metric]:.2f}"
            if (name, source, metric) in values.index
            else ""
            for name, source in keys
        ]
        lines.append(f"| {metric.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join([words, "", *lines, ""])
