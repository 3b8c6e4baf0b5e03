"""Stage generalise: what one trained backbone says of the sets in data/sets, and how well."""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from detector.base.arrays import Split, load_split
from detector.base.errors import ExpectedError
from detector.base.files import parse_json, replacing, write_json
from detector.base.params import read_params
from detector.base.program import run
from detector.base.section import Seed, Threads
from detector.evaluation.decision import read_decision
from detector.evaluation.generalisation import judge
from detector.evaluation.settings import EvaluateParams
from detector.networks.runtime import start_keras
from detector.networks.settings import Models

SETS = Path("data/sets")
COLUMNS = ["set", "name", "label", "probability"]


def main() -> None:
    """Write predictions and metrics of the backbone `--model` for each set; none is fine."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a key of `model` in params.yaml")
    name = parser.parse_args().model
    params = read_params(seed=Seed, threads=Threads, model=Models, evaluate=EvaluateParams)
    splits = {one: load_split(SETS / one) for one in set_names()}
    decision = read_decision(f"models/{name}.decision.json")
    tables = predict(name, params, splits) if splits else {}
    results = {
        one: judge(
            table["label"].to_numpy(),
            table["probability"].to_numpy(),
            decision,
            params.evaluate.resamples,
            params.seed,
        )
        for one, table in tables.items()
    }
    with replacing(f"data/results/{name}/external") as folder:
        folder.mkdir()
        predictions = pd.concat(tables.values()) if tables else pd.DataFrame(columns=COLUMNS)
        predictions.to_csv(folder / "predictions.csv", index=False, float_format="%.9g")
        write_json(folder / "external.json", results)


def set_names() -> list[str]:
    """Give the names of the sets that the stage external wrote, in its order."""
    path = SETS / "sets.json"
    try:
        return [one["name"] for one in parse_json(path.read_text(encoding="utf-8"))]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ExpectedError(
            f"{path}: not a list of sets ({error}); 'dvc repro external' makes it anew"
        ) from error


def predict(name: str, params: Any, splits: dict[str, Split]) -> dict[str, pd.DataFrame]:
    """Give for each set a row an image with the columns COLUMNS, in the order of the arrays."""
    image_size = next(iter(splits.values())).images.shape[1]
    probabilities_of = load(name, params, image_size)
    return {
        one: pd.DataFrame(
            {
                "set": one,
                "name": [member.decode() for member in split.names],
                "label": split.labels,
                "probability": probabilities_of(split),
            },
            columns=COLUMNS,
        )
        for one, split in splits.items()
    }


def load(name: str, params: Any, image_size: int) -> Callable[[Split], np.ndarray]:
    """Load the trained network; give what tells the raw probability of REAL, float32 N."""
    start_keras(seed=0, threads=params.threads)  # nothing is random in here
    from detector.networks.model import load_trained
    from detector.networks.predicting import probabilities

    model = load_trained(f"models/{name}.weights.h5", params.model[name], image_size)
    batch_size = params.evaluate.batch_size

    return lambda split: probabilities(model, split, batch_size, "data/sets")


if __name__ == "__main__":
    run(main)
