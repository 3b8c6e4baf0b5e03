"""Stage compare: the backbones of this run beside each other and beside the paper's table."""

import json
import shutil
from pathlib import Path

import pandas as pd

from detector.errors import ExpectedError
from detector.evaluation import comparison, metrics
from detector.evaluation.calibration import reliability_table
from detector.evaluation.results import Result, read_result
from detector.evaluation.robustness import from_clean
from detector.evaluation.selective import risk_coverage
from detector.figures import results as figures
from detector.figures import robustness as robustness_figures
from detector.files import replacing
from stages.common import read_params, run

RESULTS = Path("data/results")


def main() -> None:
    """Write the table (JSON, Markdown), overlaid curves and figures of all backbones of the run."""
    params = read_params()
    names = list(params.model)
    drop_deselected(names)
    loaded = {name: read_result(RESULTS / name) for name in names}
    tests = {name: result.test for name, result in loaded.items()}
    require_same_images(tests)
    rows = comparison.comparison_rows(
        {name: result.metrics for name, result in loaded.items()},
        {name: settings.backbone for name, settings in params.model.items()},
    )
    resamples, seed = params.evaluate.resamples, params.seed
    n = len(tests[names[0]])
    pairs = comparison.paired_tests(
        tests[names[0]]["label"].to_numpy(),
        {name: result.calibrated for name, result in loaded.items()},
        {name: result.decision.threshold for name, result in loaded.items()},
        resamples,
        seed,
    )
    comparison.add_robustness(
        pairs,
        loaded[names[0]].damaged_labels,
        {name: result.damaged_right for name, result in loaded.items()},
        resamples,
        seed,
    )
    words = comparison.caption(params.data.name, params.data.kaggle_dataset == comparison.CIFAKE, n)
    title = f"{params.data.name}, {n:,} test images"
    write(rows, pairs, overlaid(loaded), words, title)


def overlaid(loaded: dict[str, Result]) -> dict[str, pd.DataFrame]:
    """Give each kind of curve as one table of all backbones, by a column `backbone`."""
    parts: dict[str, list[pd.DataFrame]] = {}
    for result in loaded.values():
        labels = result.test["label"].to_numpy()
        risk = risk_coverage(labels, result.calibrated, result.decision.threshold)
        for kind, curve in {
            "roc": metrics.roc_table(labels, result.test["probability"]),
            "precision_recall": metrics.precision_recall_table(labels, result.test["probability"]),
            "risk_coverage": metrics.thinned(risk[["coverage", "risk"]]),
            "reliability": reliability_table(labels, result.calibrated),
            "learning": result.history,
            "robustness": from_clean(result.damaged),
        }.items():
            parts.setdefault(kind, []).append(curve)
    return {
        kind: pd.concat(curves, keys=loaded, names=["backbone"]).reset_index("backbone")
        for kind, curves in parts.items()
    }


def require_same_images(tests: dict[str, pd.DataFrame]) -> None:
    """Refuse predictions of different images: a paired test needs the same ones."""
    first, *others = tests
    for other in others:
        if not tests[first]["name"].equals(tests[other]["name"]):
            raise ExpectedError(
                f"{RESULTS}: {first} and {other} judged different test images; run "
                "'dvc repro' so that both are of the same data"
            )


def drop_deselected(names: list[str]) -> None:
    """Remove the results of backbones that params.yaml no longer names.

    This stage depends on the folder as a whole, since dvc.yaml cannot list the files of a choice
    of backbones. Results of an earlier choice would make its hash depend on what was run before.
    Nothing is lost: they are in DVC's cache, and come back when the backbone does.
    """
    for folder in RESULTS.iterdir():
        if folder.is_dir() and folder.name not in names:
            shutil.rmtree(folder)


def write(
    rows: pd.DataFrame,
    pairs: dict[str, dict],
    tables: dict[str, pd.DataFrame],
    words: str,
    title: str,
) -> None:
    """Write the outs of the stage."""
    nested: dict[str, dict] = {}
    for row in rows.itertuples(index=False):
        nested.setdefault(row.backbone, {}).setdefault(row.source, {})[row.metric] = row.value
    nested |= metrics.rounded(pairs)
    with (
        replacing("metrics/compare.json") as report,
        replacing("metrics/compare.md") as markdown,
        replacing("plots/compare") as folder,
    ):
        report.write_text(json.dumps(nested, indent=2) + "\n", encoding="utf-8")
        table = comparison.markdown_table(rows, words)
        tested = comparison.pairs_in_words(pairs)
        markdown.write_text(f"{table}\n{tested}" if tested else table, encoding="utf-8")
        folder.mkdir()
        for kind, curve in tables.items():
            curve.to_csv(folder / f"{kind}.csv", index=False)
        figures.curves(tables["roc"], tables["precision_recall"], title, folder / "curves.png")
        figures.risk_coverage(tables["risk_coverage"], title, folder / "risk_coverage.png")
        figures.learning_curves(tables["learning"], title, folder / "learning_curves.png")
        damaged = f"{title}, of which {tables['robustness']['n'].iloc[0]:,} are damaged"
        robustness_figures.robustness_curves(
            tables["robustness"], damaged, folder / "robustness.png"
        )
        figures.comparison(rows, f"here: {title}; paper: CIFAKE", folder / "paper.png")


if __name__ == "__main__":
    run(main)
