"""What evaluate and robustness leave in data/results/<backbone>, read together."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from detector.base.errors import ExpectedError
from detector.base.files import parse_json
from detector.base.finite import why_not_finite
from detector.evaluation import judgement
from detector.evaluation import levels as robustness
from detector.evaluation.decision import Decision, read_decision
from detector.evaluation.predictions import read_predictions


@dataclass(frozen=True)
class Result:
    """What evaluate and robustness found of one backbone.

    metrics: at threshold 0.5, as in the paper. without_leaked: the same, of the test images that
    are not in train or val; None where none is. size: of cost.size. test: predictions. calibrated:
    float64 N. right: bool N, at the frozen threshold. corrupted: a row a corruption and level.
    corrupted_labels: n. corrupted_right: bool (levels, n), the clean ones first.
    """

    metrics: dict[str, Any]
    without_leaked: dict[str, Any] | None
    size: dict[str, Any]
    test: pd.DataFrame
    decision: Decision
    calibrated: np.ndarray
    right: np.ndarray
    history: pd.DataFrame
    corrupted: pd.DataFrame
    corrupted_labels: np.ndarray
    corrupted_right: np.ndarray


def read_result(folder: Path) -> Result:
    """Read the folder of one backbone. Raises ExpectedError for a file that is not as it should."""
    predictions = read_predictions(folder / "test/predictions.csv")
    decision = read_decision(folder / "test/decision.json")
    try:
        test = predictions["test"]
        found = parse_json((folder / "test/evaluation.json").read_text(encoding="utf-8"))
        validation, size = found["val"], found["size"]
        metrics_at_half = found["test"] | {"validation_accuracy": validation["accuracy"]}
        metrics_at_half["intervals"]["validation_accuracy"] = validation["intervals"]["accuracy"]
        history = long_history(folder / "test/history.csv")
        corrupted = pd.read_csv(folder / "robustness/table.csv", dtype={"level": str})
        labels = np.load(folder / "robustness/labels.npy", allow_pickle=False)
        raw = np.load(folder / "robustness/probabilities.npy", allow_pickle=False)
        if why := why_not_finite([*_numbers(corrupted), ("probabilities.npy", raw)]):
            raise ValueError(why)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExpectedError(
            f"{folder}: not the results of a backbone ({' '.join(str(error).split())}); "
            "run 'dvc repro'"
        ) from error
    return Result(
        metrics=metrics_at_half,
        without_leaked=found.get("test_without_leaked"),
        size=size,
        test=test,
        decision=decision,
        calibrated=judgement.calibrated_probabilities(test, decision),
        right=robustness.rightness(test["label"], test["probability"], decision),
        history=history,
        corrupted=corrupted,
        corrupted_labels=labels,
        corrupted_right=robustness.rightness(labels, raw, decision),
    )


def require_same_images(results: dict[str, Result]) -> None:
    """Raise ExpectedError unless all judged the same test and corrupted images, as pairs must have.

    results: by what a message calls them.
    """
    (first, one), *others = results.items()
    for other, found in others:
        if not (
            one.test[["name", "label"]].equals(found.test[["name", "label"]])
            and np.array_equal(one.corrupted_labels, found.corrupted_labels)
            and one.corrupted_right.shape == found.corrupted_right.shape
        ):
            raise ExpectedError(
                f"{first} and {other} judged different images; a paired test needs the same data, "
                "seed and corruption: 'dvc repro' makes both anew"
            )


def long_history(path: Path) -> pd.DataFrame:
    """Give the history of a training as columns epoch (from 1), split, accuracy, loss."""
    try:
        history = pd.read_csv(path)
        if why := why_not_finite(_numbers(history)):
            raise ValueError(why)
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
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExpectedError(
            f"{path}: not the history of a training ({' '.join(str(error).split())}); "
            "run 'dvc repro'"
        ) from error
    return pd.concat(parts, ignore_index=True)


def _numbers(table: pd.DataFrame) -> list[tuple[str, pd.Series]]:
    return list(table.select_dtypes("number").items())
