"""Stage compare: the backbones of this run beside each other and beside the paper's table."""

import json
import shutil
from pathlib import Path

import pandas as pd

from detector import comparison, evaluation, figures, metrics
from detector.decision import Decision, read_decision
from detector.errors import ExpectedError
from detector.predictions import read_predictions
from detector.selective import risk_coverage
from stages.common import read_params, replacing, run

RESULTS = Path("data/results")


def main() -> None:
    """Write the table (JSON, Markdown), overlaid curves and figures of all backbones of the run."""
    params = read_params()
    names = list(params.model)
    drop_deselected(names)
    resamples, seed = params.evaluate.resamples, params.seed
    results, tests, decisions = {}, {}, {}
    curves = {"roc": [], "precision_recall": [], "risk_coverage": [], "learning": []}
    for name in names:
        splits = read_predictions(RESULTS / name / "predictions.csv")
        test, decision = splits["test"], read_decision(RESULTS / name / "decision.json")
        tests[name], decisions[name] = test, decision
        results[name] = evaluation.at_half(test, resamples, seed)
        validation = evaluation.at_half(splits["val"], resamples, seed)
        results[name]["validation_accuracy"] = validation["accuracy"]
        results[name]["intervals"]["validation_accuracy"] = validation["intervals"]["accuracy"]
        for kind, curve in test_curves(test, decision).items():
            curves[kind].append(curve)
        curves["learning"].append(long_history(RESULTS / name / "history.csv"))
    require_same_images(tests)
    tables = {
        kind: pd.concat(parts, keys=names, names=["backbone"]).reset_index("backbone")
        for kind, parts in curves.items()
    }
    rows = comparison.comparison_rows(
        results, {name: settings.backbone for name, settings in params.model.items()}
    )
    is_cifake = params.data.kaggle_dataset == comparison.CIFAKE
    words = comparison.caption(params.data.name, is_cifake, results[names[0]]["n"])
    pairs = comparison.paired_tests(
        tests[names[0]]["label"].to_numpy(),
        {n: evaluation.calibrated_probabilities(tests[n], decisions[n]) for n in names},
        {n: decisions[n].threshold for n in names},
        resamples,
        seed,
    )
    title = f"{params.data.name}, {results[names[0]]['n']:,} test images"
    write(rows, pairs, tables, words, title)


def test_curves(test: pd.DataFrame, decision: Decision) -> dict[str, pd.DataFrame]:
    """Give the curves of one network on the test images."""
    labels = test["label"].to_numpy()
    calibrated = evaluation.calibrated_probabilities(test, decision)
    risk = risk_coverage(labels, calibrated, decision.threshold)
    return {
        "roc": metrics.roc_table(labels, test["probability"]),
        "precision_recall": metrics.precision_recall_table(labels, test["probability"]),
        "risk_coverage": metrics.thinned(risk[["coverage", "risk"]]),
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


def long_history(path: Path) -> pd.DataFrame:
    """Give the history of a training as columns epoch (from 1), split, accuracy, loss."""
    try:
        history = pd.read_csv(path)
        parts = [
            pd.DataFrame(
                {
                    "epoch": history["epoch"] + 1,
                    "split": split,
                    "accuracy": history[f"{prefix}accuracy"],
                    "loss": history[f"{prefix}loss"],
                }
            )
            for split, prefix in (("train", ""), ("validation", "val_"))
        ]
    except (OSError, ValueError, KeyError) as error:
        raise ExpectedError(
            f"{path}: not the history of a training ({' '.join(str(error).split())}); "
            "run 'dvc repro'"
        ) from error
    return pd.concat(parts, ignore_index=True)


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
        figures.comparison(rows, f"here: {title}; paper: CIFAKE", folder / "paper.png")


if __name__ == "__main__":
    run(main)
