"""Stage evaluate: what one trained backbone says of data/test and data/val, and how well."""

import argparse
import json
import shutil

import pandas as pd

from detector import figures, metrics
from detector.arrays import load_split
from detector.layout import CLASSES
from detector.predictions import predictions_table, write_predictions
from detector.runtime import start_keras
from stages.common import read_params, replacing, run


def main() -> None:
    """Write predictions, metrics, curves and pictures of the backbone `--model`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a key of `model` in params.yaml")
    name = parser.parse_args().model
    params = read_params()
    splits = {split: load_split(f"data/{split}") for split in ("val", "test")}

    start_keras(seed=0)  # nothing is random from here on
    from detector.batches import OrderedBatches
    from detector.model import load_trained

    image_size = splits["test"].images.shape[1]
    model = load_trained(f"models/{name}.weights.h5", params.model[name], image_size)
    tables = {}
    for split, arrays in splits.items():
        batches = OrderedBatches(arrays, params.evaluate.batch_size)
        probabilities = model.predict(batches, verbose=0)[:, 0]
        tables[split] = predictions_table(split, arrays, probabilities)
    results = {split: measure(table) for split, table in tables.items()}
    write(name, tables, results)


def measure(table: pd.DataFrame) -> dict:
    """Give all metrics of one split's predictions."""
    labels, probabilities, classes = (
        table[column].to_numpy() for column in ("label", "probability", "cifar_class")
    )
    result = metrics.classification_metrics(labels, probabilities)
    by_class = metrics.accuracy_by_cifar_class(labels, probabilities, classes)
    return {**result, **({"accuracy_by_cifar_class": by_class} if by_class else {})}


def write(name: str, tables: dict[str, pd.DataFrame], results: dict[str, dict]) -> None:
    """Write the outs of the stage."""
    test = tables["test"]
    said = pd.DataFrame(
        {"actual": test["label"], "called": (test["probability"] >= 0.5).astype(int)}
    ).replace(dict(enumerate(CLASSES)))
    title = f"{name}, {len(test):,} test images"
    plots = f"plots/{name}"
    with (
        replacing(f"data/results/{name}") as folder,
        replacing(f"metrics/{name}/evaluation.json") as report,
        replacing(f"{plots}/confusion.csv") as confusion,
        replacing(f"{plots}/confusion_matrix.png") as matrix,
        replacing(f"{plots}/probabilities.png") as histogram,
    ):
        folder.mkdir()
        write_predictions(pd.concat(tables.values()), folder / "predictions.csv")
        # Kept with the predictions, so that compare depends on evaluations alone.
        shutil.copyfile(f"models/{name}.history.csv", folder / "history.csv")
        report.write_text(json.dumps(results, indent=2) + "\n", encoding="utf-8")
        said.to_csv(confusion, index=False)
        figures.confusion_matrix(results["test"]["confusion"], title, matrix)
        figures.probability_histogram(test, title, histogram)


if __name__ == "__main__":
    run(main)
