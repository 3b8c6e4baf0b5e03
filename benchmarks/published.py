"""The tables of results/<data set>/README.md, from the files of the published runs beside it."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from detector.base.files import replacing
from detector.comparison.paired import with_ends
from detector.evaluation.intervals import mcnemar
from detector.evaluation.metrics import percent


@dataclass(frozen=True)
class Run:
    """One backbone of a published run. right: bool N, at 0.5 of the raw probability."""

    name: str
    evaluation: dict[str, Any]
    headline: dict[str, float]
    seconds: float
    machine: str
    right: np.ndarray


def read_runs(folder: Path) -> list[Run]:
    """Return the backbones of all runs in a folder, the most accurate first."""
    runs = []
    for path in sorted(folder.glob("*/cost.json")):
        cost = json.loads(path.read_text(encoding="utf-8"))
        for backbone, timed in cost["backbones"].items():
            test = path.parent / "data/results" / backbone / "test"
            runs.append(
                Run(
                    path.parent.name if len(cost["backbones"]) == 1 else
                    f"{path.parent.name}, {backbone}",
                    json.loads((test / "evaluation.json").read_text(encoding="utf-8")),
                    json.loads((path.parent / f"metrics/{backbone}.json").read_text("utf-8")),
                    timed["training"]["seconds_total"],
                    f"{cost['machine']['cpu']}, {cost['machine']['gpu'] or 'no GPU'}",
                    right_at_half(test),
                )
            )  # fmt: skip
    return sorted(runs, key=lambda run: -run.evaluation["test"]["accuracy"])


def right_at_half(test: Path) -> np.ndarray:
    """Return which test images were told rightly at 0.5. Of their sorted names FAKE are first."""
    raw = np.load(test / "test_probabilities.npy", allow_pickle=False)
    counts = json.loads((test / "evaluation.json").read_text(encoding="utf-8"))["test"]["confusion"]
    fakes = sum(count for name, count in counts.items() if name.startswith("FAKE"))
    return (raw >= 0.5) == (np.arange(len(raw)) >= fakes)


def results_table(runs: list[Run]) -> pd.DataFrame:
    """Return a row a run: figures on the test images in percent, 95 % intervals in brackets."""
    rows = []
    for run in runs:
        test = run.evaluation["test"]["intervals"]
        rest = run.evaluation.get("test_without_leaked", {}).get("intervals")
        size = run.evaluation["size"]
        rows.append(
            {
                "run": run.name,
                "accuracy": with_ends(test["accuracy"]),
                "without leaked": with_ends(rest["accuracy"]) if rest else "",
                "AUC": f"{test['roc_auc']['value']:.4f}",
                "corrupted": percent(run.headline["corrupted_accuracy"]),
                "parameters": f"{size['parameters']:,}",
                "MFLOP an image": f"{size['flops_per_image'] / 1e6:,.0f}",
                "training, minutes": f"{run.seconds / 60:.1f}",
            }
        )
    return pd.DataFrame(rows)


def pairs_table(runs: list[Run]) -> pd.DataFrame:
    """Return McNemar's exact test, at 0.5, of each run against the next better one and the best."""
    rows = []
    for place, run in enumerate(runs[1:], 1):
        for better in dict.fromkeys((place - 1, 0)):
            found = mcnemar(runs[better].right, run.right)
            rows.append(
                {
                    "better": runs[better].name,
                    "than": run.name,
                    "only the first is right": found["only_a"],
                    "only the second": found["only_b"],
                    "p": f"{found['p_value']:.2g}",
                }
            )
    return pd.DataFrame(rows)


def write_tables(folder: Path) -> None:
    """Write README.md of a folder of published runs."""
    runs = read_runs(folder)
    machines = "; ".join(dict.fromkeys(run.machine for run in runs))
    n = len(runs[0].right) if runs else 0
    text = f"""# {folder.name}: what was measured

Written by `python -m benchmarks.publish` from the files beside it; not edited by hand. Figures are
of {n:,} test images at probability 0.5, in percent, with 95 % intervals. *Without leaked*: without
the test images whose pixels are those of a training or validation image. *Corrupted*: mean
accuracy over all levels of corruption at the threshold frozen on validation. Times are of training
alone, on {machines}.

{results_table(runs).to_markdown(index=False, disable_numparse=True)}

McNemar's exact test on the same images:

{pairs_table(runs).to_markdown(index=False, disable_numparse=True)}
"""
    with replacing(folder / "README.md") as path:
        path.write_text(text, encoding="utf-8")
