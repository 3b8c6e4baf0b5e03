"""Stage compare: the backbones of this run beside each other and beside the paper's table."""

import json
import shutil
from pathlib import Path

import pandas as pd

from detector import comparison, figures, metrics
from detector.errors import ExpectedError
from detector.predictions import read_predictions
from stages.common import read_params, replacing, run

RESULTS = Path("data/results")


def main() -> None:
    """Write the table (JSON, Markdown), overlaid curves and figures of all backbones of the run."""
    params = read_params()
    names = list(params.model)
    drop_deselected(names)
    results, curves = {}, {"roc": [], "precision_recall": [], "learning": []}
    for name in names:
        splits = read_predictions(RESULTS / name / "predictions.csv")
        test, val = splits["test"], splits["val"]
        results[name] = metrics.classification_metrics(
            test["label"].to_numpy(), test["probability"].to_numpy()
        )
        results[name]["validation_accuracy"] = metrics.classification_metrics(
            val["label"].to_numpy(), val["probability"].to_numpy()
        )["accuracy"]
        curves["roc"].append(metrics.roc_table(test["label"], test["probability"]))
        curves["precision_recall"].append(
            metrics.precision_recall_table(test["label"], test["probability"])
        )
        curves["learning"].append(long_history(RESULTS / name / "history.csv"))
    tables = {
        kind: pd.concat(parts, keys=names, names=["backbone"]).reset_index("backbone")
        for kind, parts in curves.items()
    }
    rows = comparison.comparison_rows(
        results, {name: settings.backbone for name, settings in params.model.items()}
    )
    is_cifake = params.data.kaggle_dataset == comparison.CIFAKE
    words = comparison.caption(params.data.name, is_cifake, results[names[0]]["n"])
    write(rows, tables, words, f"{params.data.name}, {results[names[0]]['n']:,} test images")


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


def write(rows: pd.DataFrame, tables: dict[str, pd.DataFrame], words: str, title: str) -> None:
    """Write the outs of the stage."""
    nested: dict[str, dict] = {}
    for row in rows.itertuples(index=False):
        nested.setdefault(row.backbone, {}).setdefault(row.source, {})[row.metric] = row.value
    with (
        replacing("metrics/compare.json") as report,
        replacing("metrics/compare.md") as markdown,
        replacing("plots/compare") as folder,
    ):
        report.write_text(json.dumps(nested, indent=2) + "\n", encoding="utf-8")
        markdown.write_text(comparison.markdown_table(rows, words), encoding="utf-8")
        folder.mkdir()
        for kind, table in tables.items():
            table.to_csv(folder / f"{kind}.csv", index=False)
        figures.curves(tables["roc"], tables["precision_recall"], title, folder / "curves.png")
        figures.learning_curves(tables["learning"], title, folder / "learning_curves.png")
        figures.comparison(rows, f"here: {title}; paper: CIFAKE", folder / "paper.png")


if __name__ == "__main__":
    run(main)
