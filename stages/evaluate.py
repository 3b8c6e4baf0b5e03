"""Stage evaluate: what one trained backbone says of data/test and data/val, and how well."""

import argparse
import json
import shutil

import numpy as np
import pandas as pd

from detector import figures
from detector.arrays import load_split
from detector.calibration import reliability_table
from detector.decision import Decision, decide
from detector.evaluation import calibrated_probabilities, evaluate
from detector.layout import CLASSES
from detector.predictions import predictions_table, write_predictions
from detector.runtime import start_keras
from stages.common import read_params, replacing, run


def main() -> None:
    """Write predictions, decision, metrics, curves and pictures of the backbone `--model`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a key of `model` in params.yaml")
    name = parser.parse_args().model
    params = read_params()
    tables = predict(name, params)
    validation, settings = tables["val"], params.evaluate
    decision = decide(
        validation["label"].to_numpy(),
        validation["probability"].to_numpy(),
        settings.threshold,
        settings.sure_error,
    )
    results = evaluate(validation, tables["test"], decision, settings.resamples, params.seed)
    write(name, tables, decision, results)


def predict(name: str, params) -> dict[str, pd.DataFrame]:
    """Give the tables of predictions on val and test of the trained network."""
    splits = {split: load_split(f"data/{split}") for split in ("val", "test")}
    start_keras(seed=0)  # nothing is random in here
    from detector.batches import OrderedBatches
    from detector.model import load_trained

    image_size = splits["test"].images.shape[1]
    model = load_trained(f"models/{name}.weights.h5", params.model[name], image_size)
    tables = {}
    for split, arrays in splits.items():
        batches = OrderedBatches(arrays, params.evaluate.batch_size)
        probabilities = model.predict(batches, verbose=0)[:, 0]
        tables[split] = predictions_table(split, arrays, probabilities)
    return tables


def write(
    name: str, tables: dict[str, pd.DataFrame], decision: Decision, results: dict[str, dict]
) -> None:
    """Write the outs of the stage. Probabilities that are drawn are calibrated ones."""
    test = tables["test"]
    labels, calibrated = test["label"].to_numpy(), calibrated_probabilities(test, decision)
    called = np.where(calibrated >= decision.threshold, "REAL", "FAKE")
    actual = test["label"].map(dict(enumerate(CLASSES)))
    title = f"{name}, {len(test):,} test images"
    plots = f"plots/{name}"
    with (
        replacing(f"data/results/{name}") as folder,
        replacing(f"models/{name}.decision.json") as chosen,
        replacing(f"metrics/{name}/evaluation.json") as report,
        replacing(f"{plots}/confusion.csv") as confusion,
        replacing(f"{plots}/confusion_matrix.png") as matrix,
        replacing(f"{plots}/probabilities.png") as histogram,
        replacing(f"{plots}/reliability.png") as reliability,
    ):
        folder.mkdir()
        write_predictions(pd.concat(tables.values()), folder / "predictions.csv")
        # Kept with the predictions, so that compare depends on evaluations alone.
        shutil.copyfile(f"models/{name}.history.csv", folder / "history.csv")
        decision.write(chosen)
        decision.write(folder / "decision.json")
        report.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        pd.DataFrame({"actual": actual, "called": called}).to_csv(confusion, index=False)
        figures.confusion_matrix(results["test_at_threshold"]["confusion"], title, matrix)
        figures.probability_histogram(labels, calibrated, decision.threshold, title, histogram)
        figures.reliability(
            {
                "before": reliability_table(labels, test["probability"].to_numpy()),
                "after": reliability_table(labels, calibrated),
            },
            title,
            reliability,
        )


if __name__ == "__main__":
    run(main)
