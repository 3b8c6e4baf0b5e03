"""Stage compare: the backbones of this run beside each other and beside the paper's table."""

import shutil
import tempfile
from pathlib import Path

import pandas as pd

from detector.base.files import parse_json, replacing, write_json
from detector.base.params import read_tree
from detector.base.program import run
from detector.comparison import figures
from detector.comparison import paired as comparison
from detector.comparison.results import Result, read_result, require_same_images
from detector.evaluation import metrics
from detector.evaluation.calibration import reliability_table
from detector.evaluation.levels import from_clean
from detector.evaluation.selective import risk_coverage

RESULTS, AUDIT = Path("data/results"), Path("data/audit.json")
ASIDE = Path(".work/results")


def main() -> None:
    """Write the comparison of the backbones, overlaid curves and figures."""
    # Its stages have checked the file; which backbones this run has, all of it says.
    params = read_tree()
    names, data = list(params["model"]), params["data"]
    set_aside(names)
    loaded = {name: read_result(RESULTS / name) for name in names}
    require_same_images(loaded)
    labels = loaded[names[0]].test["label"].to_numpy()
    rows = comparison.comparison_rows(
        {name: result.metrics for name, result in loaded.items()},
        {name: settings["builder"] for name, settings in params["model"].items()},
        {name: result.without_leaked for name, result in loaded.items()},
    )
    n = len(labels)
    pairs = comparison.paired_tests(
        labels,
        {name: result.test["probability"].to_numpy() for name, result in loaded.items()},
        {name: result.right for name, result in loaded.items()},
        params["evaluate"]["resamples"],
        params["seed"],
    )
    comparison.add_robustness(
        pairs,
        loaded[names[0]].corrupted_labels,
        {name: result.corrupted_right for name, result in loaded.items()},
    )
    audit = parse_json(AUDIT.read_text(encoding="utf-8"))
    is_cifake = audit["archive"]["cifake"]
    leaked = audit["exact_duplicates"]["test_and_train_or_val"]
    words = comparison.caption(data["name"], is_cifake, n, leaked)
    title = f"{data['name']}, {n:,} test images"
    tables = overlaid(loaded) | {"comparison": comparison.chart_rows(rows, title, is_cifake)}
    write(loaded, rows, pairs, tables, words, title, is_cifake)


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
            "robustness": from_clean(result.corrupted),
            "confusion": metrics.confusion_table(
                labels, result.calibrated, result.decision.threshold
            ),
        }.items():
            parts.setdefault(kind, []).append(curve)
    return {
        kind: pd.concat(curves, keys=loaded, names=["backbone"]).reset_index("backbone")
        for kind, curves in parts.items()
    }


def set_aside(names: list[str]) -> None:
    """Move whatever is not of a backbone that params.yaml names out of RESULTS, and say where to.

    This stage depends on the folder as a whole, since dvc.yaml cannot list the files of a choice
    of backbones. Results of an earlier choice would make its hash depend on what was run before.
    Nothing is lost: DVC brings them back when the backbone is chosen again, and what else was put
    there, such as a copy, is found where it was moved.
    """
    for path in sorted(RESULTS.iterdir()):
        if path.name in names or path.name == ".gitignore":
            continue
        ASIDE.mkdir(parents=True, exist_ok=True)
        target = Path(tempfile.mkdtemp(prefix=f"{path.name}.", dir=ASIDE)) / path.name
        shutil.move(path, target)
        print(f"{path} is of no backbone of this run: moved to {target}")


def write(
    loaded: dict[str, Result],
    rows: pd.DataFrame,
    pairs: dict[str, dict],
    tables: dict[str, pd.DataFrame],
    words: str,
    title: str,
    is_cifake: bool,
) -> None:
    """Write the outs of the stage."""
    nested: dict[str, dict] = {}
    for row in rows.itertuples(index=False):
        nested.setdefault(row.backbone, {}).setdefault(row.source, {})[row.metric] = row.value
    for name, result in loaded.items():
        nested[name]["size"] = result.size
    nested |= metrics.rounded(pairs)
    with replacing("plots/compare") as folder:
        table = comparison.markdown_table(rows, words)
        tested = comparison.pairs_in_words(pairs)
        folder.mkdir()
        write_json(folder / "compare.json", nested)
        (folder / "compare.md").write_text(
            f"{table}\n{tested}" if tested else table, encoding="utf-8"
        )
        for kind, curve in tables.items():
            curve.to_csv(folder / f"{kind}.csv", index=False)
        figures.curves(tables["roc"], tables["precision_recall"], title, folder / "curves.png")
        figures.risk_coverage(tables["risk_coverage"], title, folder / "risk_coverage.png")
        figures.learning_curves(tables["learning"], title, folder / "learning_curves.png")
        corrupted = f"{title}, of which {tables['robustness']['n'].iloc[0]:,} are corrupted"
        figures.robustness_curves(tables["robustness"], corrupted, folder / "robustness.png")
        figures.comparison(rows, title, is_cifake, folder / "paper.png")


if __name__ == "__main__":
    run(main)
