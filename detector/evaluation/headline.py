"""The dozen figures of a backbone that DVC tracks as metrics; all others stand in the report."""

from pathlib import Path

import pandas as pd

from detector.base.errors import ExpectedError
from detector.base.files import parse_json

OF_TEST = ("accuracy", "precision", "recall", "specificity", "f1", "roc_auc")
SETS, DIGITS = 3, 5


def headline(folder: str | Path) -> dict[str, float]:
    """Return the headline of one backbone: at most twelve figures, rounded to 5 digits.

    folder: of its results. Those of the test images and val_accuracy are at 0.5 of the raw
    probability, as in the paper's table. train_accuracy: of the last epoch, on augmented images.
    corrupted_accuracy: mean over all corruptions and levels, at the frozen threshold. Last comes
    the accuracy, at the frozen threshold, on the first three external sets with both classes.
    Raises ExpectedError for a file that is not as it should be.
    """
    folder = Path(folder)
    try:
        evaluation, robustness, external = (
            parse_json((folder / name).read_text(encoding="utf-8"))
            for name in (
                "test/evaluation.json",
                "robustness/summary.json",
                "external/external.json",
            )
        )
        figures = {name: evaluation["test"][name] for name in OF_TEST}
        figures |= {
            "val_accuracy": evaluation["val"]["accuracy"],
            "train_accuracy": pd.read_csv(folder / "test/history.csv")["accuracy"].iloc[-1],
            "corrupted_accuracy": robustness["accuracy"],
        }
        both = {
            name: of["accuracy"]["value"] for name, of in {**external}.items() if of["accuracy"]
        }
        figures |= {f"{name}_accuracy": both[name] for name in sorted(both)[:SETS]}
        return {name: round(float(value), DIGITS) for name, value in figures.items()}
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise ExpectedError(
            f"{folder}: not the results of a backbone ({' '.join(str(error).split())}); "
            "run 'dvc repro'"
        ) from error
