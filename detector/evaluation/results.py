"""What evaluate and robustness leave in data/results/<backbone>, read together."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from detector.errors import ExpectedError
from detector.evaluation import judgement, robustness
from detector.evaluation.decision import Decision, read_decision
from detector.evaluation.predictions import read_predictions


@dataclass(frozen=True)
class Result:
    """What evaluate and robustness found of one backbone.

    metrics: at threshold 0.5, as in the paper. test: predictions. calibrated: float64 N. damaged:
    a row a kind and level of damage. damaged_labels: n. damaged_right: bool (levels, n), the
    undamaged ones first.
    """

    metrics: dict[str, Any]
    test: pd.DataFrame
    decision: Decision
    calibrated: np.ndarray
    history: pd.DataFrame
    damaged: pd.DataFrame
    damaged_labels: np.ndarray
    damaged_right: np.ndarray


def read_result(folder: Path) -> Result:
    """Read the folder of one backbone. Raises ExpectedError for a file that is not as it should."""
    test = read_predictions(folder / "test/predictions.csv")["test"]
    decision = read_decision(folder / "test/decision.json")
    calibrated = judgement.calibrated_probabilities(test, decision)
    try:
        found = json.loads((folder / "test/evaluation.json").read_text(encoding="utf-8"))
        validation = found["val"]
        metrics_at_half = found["test"] | {"validation_accuracy": validation["accuracy"]}
        metrics_at_half["intervals"]["validation_accuracy"] = validation["intervals"]["accuracy"]
        damaged = pd.read_csv(folder / "robustness/table.csv", dtype={"level": str})
        labels = np.load(folder / "robustness/labels.npy", allow_pickle=False)
        raw = np.load(folder / "robustness/probabilities.npy", allow_pickle=False)
    except (OSError, ValueError, KeyError) as error:
        raise ExpectedError(
            f"{folder}: not the results of a backbone ({' '.join(str(error).split())}); "
            "run 'dvc repro'"
        ) from error
    right = robustness.rightness(labels, raw, decision)
    history = long_history(folder / "test/history.csv")
    return Result(metrics_at_half, test, decision, calibrated, history, damaged, labels, right)


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
