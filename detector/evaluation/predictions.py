"""The table of predictions: what evaluate leaves for compare and for every later question."""

import os

import numpy as np
import pandas as pd

from detector.base.arrays import Split
from detector.base.errors import ExpectedError

COLUMNS = ["split", "name", "label", "cifar_class", "probability"]


def predictions_table(name: str, split: Split, probabilities: np.ndarray) -> pd.DataFrame:
    """Put the probability of REAL beside what is known of each image.

    name: of the split. probabilities: float32 N. Columns: COLUMNS; label 0 = FAKE, 1 = REAL;
    cifar_class 0 to 9, or -1 where unknown.
    """
    return pd.DataFrame(
        {
            "split": name,
            "name": [member.decode() for member in split.names],
            "label": split.labels,
            "cifar_class": split.classes,
            "probability": probabilities,
        }
    )


def write_predictions(table: pd.DataFrame, path: str | os.PathLike[str]) -> None:
    """Write the table as CSV; nine digits give back the same float32."""
    table.to_csv(path, index=False, float_format="%.9g")


def read_predictions(path: str | os.PathLike[str]) -> dict[str, pd.DataFrame]:
    """Give the table of each split by name. Raises ExpectedError for any other file."""
    try:
        table = pd.read_csv(path, dtype={"probability": np.float32})
        missing = set(COLUMNS) - set(table.columns)
        if not missing and not table["probability"].between(0, 1).all():
            raise ValueError("a probability is not a number from 0 to 1")
    except (OSError, ValueError) as error:
        raise ExpectedError(
            f"{path}: not a table of predictions ({' '.join(str(error).split())}); "
            "'dvc repro' makes it anew"
        ) from error
    if missing:
        raise ExpectedError(f"{path}: lacks the columns {sorted(missing)}; run 'dvc repro'")
    return dict(tuple(table.groupby("split", sort=False)))
