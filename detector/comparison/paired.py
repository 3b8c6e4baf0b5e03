"""The backbones of a run beside each other and beside the paper's table."""

import json
from collections.abc import Mapping
from importlib import resources
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from detector.evaluation.intervals import mcnemar
from detector.evaluation.levels import paired_robustness
from detector.evaluation.metrics import percent
from detector.evaluation.resampling import paired_difference

# The rows of the paper's table, by the names that detector.evaluation.metrics gives them.
WITHOUT_LEAKED = "here, without leaked"
PAPER_METRICS = ("accuracy", "precision", "recall", "specificity", "f1")


def paper_results() -> dict[str, dict[str, Any]]:
    """Give the paper's figures by backbone, as fractions."""
    text = (
        resources.files("detector.comparison")
        .joinpath("paper_results.json")
        .read_text(encoding="utf-8")
    )
    return json.loads(text)["backbones"]


def comparison_rows(
    results: dict[str, dict[str, Any]],
    backbones: dict[str, str],
    without_leaked: dict[str, dict[str, Any] | None],
) -> pd.DataFrame:
    """Give one row a backbone, source and metric.

    Columns backbone, source, metric, value, low, high; low and high, the ends of the 95 %
    interval, are NaN where there is none. results: metrics on the test images, with
    validation_accuracy and intervals, by name. backbones: which architecture each name is, so that
    a variant stands beside the paper's figures of the same. without_leaked: metrics and intervals,
    by name, of the test images that are not in train or val, for a source of their own.
    """
    paper = paper_results()
    rows = []
    for name, measured in results.items():
        published = paper.get(backbones[name], {})
        for metric in ("validation_accuracy", *PAPER_METRICS):
            rows.append((name, "here", metric, *_with_ends(measured, metric)))
            if without_leaked[name] and metric in PAPER_METRICS:
                rest = _with_ends(without_leaked[name], metric)
                rows.append((name, WITHOUT_LEAKED, metric, *rest))
            if metric in published:
                rows.append((name, "paper", metric, published[metric], np.nan, np.nan))
    return pd.DataFrame(rows, columns=["backbone", "source", "metric", "value", "low", "high"])


def _with_ends(measured: dict[str, Any], metric: str) -> tuple[float, float, float]:
    interval = measured["intervals"].get(metric, {})
    return measured[metric], interval.get("low", np.nan), interval.get("high", np.nan)


def chart_rows(rows: pd.DataFrame, ours: str, is_cifake: bool) -> pd.DataFrame:
    """Return `comparison_rows` for a chart, with two columns more.

    images: ours, or that the paper's were others. percent: the value as the table has it, since
    Python and a browser round halves to different sides. Those without leaked images are left out.
    """
    rows = rows[rows["source"] != WITHOUT_LEAKED]
    theirs = ours if is_cifake else "paper, CIFAKE: other images"
    return rows.assign(
        images=np.where(rows["source"] == "paper", theirs, ours),
        percent=[f"{100 * value:.2f}%" for value in rows["value"]],
    )


def paired_tests(
    labels: np.ndarray,
    raw: dict[str, np.ndarray],
    right: dict[str, np.ndarray],
    resamples: int,
    seed: int,
) -> dict[str, dict[str, Any]]:
    """Test each pair of networks on the same images, at their frozen thresholds.

    labels: N. raw: N probabilities before calibration, by name. right: bool N by name, see
    robustness.rightness. Returns, by "a minus b", the table of McNemar's exact test and intervals
    of the differences in accuracy and AUC.
    """
    return {
        f"{a} minus {b}": {
            "mcnemar": mcnemar(right[a], right[b]),
            "difference": paired_difference(
                labels, raw[a], raw[b], right[a], right[b], resamples, seed
            ),
        }
        for a, b in combinations(right, 2)
    }


def add_robustness(
    pairs: dict[str, dict[str, Any]], labels: np.ndarray, right: dict[str, np.ndarray]
) -> None:
    """Add to each pair of `paired_tests` the difference in mean accuracy over corrupted images.

    labels: n. right: bool (levels, n) by name, see robustness.rightness.
    """
    for a, b in combinations(right, 2):
        pairs[f"{a} minus {b}"]["robustness"] = paired_robustness(labels, right[a], right[b])


def pairs_in_words(pairs: dict[str, dict[str, Any]]) -> str:
    """Say in Markdown what the paired tests found; empty without a pair."""
    lines = []
    for name, tests in pairs.items():
        table, gain = tests["mcnemar"], tests["difference"]["accuracy"]
        a, b = name.split(" minus ")
        p_value = f"{table['p_value']:.2g}"
        lines.append(
            f"- {name}: accuracy differs by {percent(gain['value'], '+')} points (95 % interval "
            f"{percent(gain['low'], '+')} to {percent(gain['high'], '+')}, n = {gain['n']:,}); "
            f"only {a} is right on {table['only_a']}, only {b} on {table['only_b']} images; "
            f"McNemar's exact p = {p_value}{_robustness_in_words(tests.get('robustness'))}"
        )
    if not lines:
        return ""
    return "\n".join(["Paired tests at the thresholds frozen on validation:", "", *lines, ""])


def _robustness_in_words(found: dict[str, Any] | None) -> str:
    if found is None:
        return ""
    gain = found["corrupted"]
    return (
        f"; mean accuracy over corrupted images differs by {percent(gain['value'], '+')} points "
        f"({percent(gain['low'], '+')} to {percent(gain['high'], '+')}, n = {gain['n']:,})"
    )


def caption(data_name: str, is_cifake: bool, n: int, leaked: int) -> str:
    """Say which images the figures are of, and whether the paper's can be held against them.

    n: number of test images, of which `leaked` have the pixels of an image of train or val.
    """
    without = (
        f" {leaked:,} of them are the very pixels of a training or validation image; "
        f"without leaked: the other {n - leaked:,}."
        if leaked
        else ""
    )
    if is_cifake:
        return f"Here: CIFAKE, {n:,} test images.{without} Paper: as published."
    return (
        f"Here: {n:,} test images of the data set '{data_name}', which is not CIFAKE.{without} "
        "Paper: as published, on CIFAKE. The two are of different images: "
        "compare them on data=cifake only."
    )


def markdown_table(rows: pd.DataFrame, words: str) -> str:
    """Give the table in Markdown, in percent, 95 % intervals in brackets, under its caption."""
    columns = rows[["backbone", "source"]].drop_duplicates().itertuples(index=False)
    keys = [tuple(column) for column in columns]
    values = rows.set_index(["backbone", "source", "metric"])
    lines = [
        "| % | " + " | ".join(f"{name}, {source}" for name, source in keys) + " |",
        "|---|" + "--:|" * len(keys),
    ]
    for metric in dict.fromkeys(rows["metric"]):
        cells = [
            with_ends(values.loc[(*key, metric)]) if (*key, metric) in values.index else ""
            for key in keys
        ]
        lines.append(f"| {metric.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join([words, "", *lines, ""])


def with_ends(row: Mapping[str, float]) -> str:
    """Return value, low and high of a share in percent; without an interval the value alone."""
    text = percent(row["value"])
    if np.isnan(row["low"]):
        return text
    return f"{text} ({percent(row['low'])} to {percent(row['high'])})"
