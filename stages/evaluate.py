"""Stage evaluate: what one trained backbone says of data/test and data/val, and how well."""

import argparse
import shutil
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from detector import timings
from detector.base.arrays import Split, load_split
from detector.base.files import replacing, write_json
from detector.base.params import read_params
from detector.base.program import run
from detector.base.section import Seed, Threads
from detector.diagnosis import figures
from detector.evaluation import judgement
from detector.evaluation.calibration import reliability_table
from detector.evaluation.decision import Decision, decide
from detector.evaluation.predictions import predictions_table, write_predictions
from detector.evaluation.settings import EvaluateParams
from detector.networks.runtime import start_keras
from detector.networks.settings import Models

DIAGNOSED, DIAGNOSED_BATCH = 1024, 64  # images; that of the paper's recipe


def main() -> None:
    """Write predictions, decision, metrics, curves and pictures of the backbone `--model`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a key of `model` in params.yaml")
    name = parser.parse_args().model
    params = read_params(seed=Seed, threads=Threads, model=Models, evaluate=EvaluateParams)
    settings = params.evaluate
    splits = {split: load_split(f"data/{split}") for split in ("val", "test")}
    model = load(name, params, splits["test"])
    tables = predict(model, splits, settings.batch_size)
    validation = tables["val"]
    decision = decide(
        validation["label"].to_numpy(),
        validation["probability"].to_numpy(),
        settings.threshold,
        settings.sure_error,
    )
    judged = Judged(name, splits["test"], tables, decision)
    leaked = pd.read_csv("data/leaked.csv")["test"].tolist()
    results = judgement.evaluate(
        validation, judged.test, decision, settings.resamples, params.seed, leaked
    )

    from detector.diagnosis.cost import inference_rate, size

    normalization, layers = diagnose(model, splits["val"], params.seed)
    results |= {"size": size(model), "normalization": normalization}
    for warning in results["warnings"]:
        print(f"warning: {warning}")
    write(judged, results, look(model, judged), layers)
    rate = inference_rate(model, splits["test"].images, settings.batch_size)
    timings.keep(name, "prediction", rate)
    print(judgement.in_one_line(name, results["test"]))


@dataclass(frozen=True)
class Judged:
    """What one network said of the images. tables: predictions by split."""

    name: str
    images: Split
    tables: dict[str, pd.DataFrame]
    decision: Decision

    @property
    def test(self) -> pd.DataFrame:
        """Predictions on the test images."""
        return self.tables["test"]

    @property
    def calibrated(self) -> np.ndarray:
        """Calibrated probabilities of the test images, float64 N."""
        return judgement.calibrated_probabilities(self.test, self.decision)

    @property
    def title(self) -> str:
        """Heading of a figure."""
        return f"{self.name}, {len(self.test):,} test images"


class Look(NamedTuple):
    """What a sheet of Grad-CAM shows. groups: rows of the test set; the rest is in their order."""

    groups: dict[str, np.ndarray]
    images: np.ndarray
    heat: np.ndarray
    calibrated: np.ndarray


def load(name: str, params, test: Split):
    """Give the trained network."""
    start_keras(seed=0, threads=params.threads)  # nothing is random in here
    from detector.networks.model import load_trained

    return load_trained(f"models/{name}.weights.h5", params.model[name], test.images.shape[1])


def predict(model, splits: dict[str, Split], batch_size: int) -> dict[str, pd.DataFrame]:
    """Give the table of predictions of each split."""
    from detector.networks.predicting import probabilities

    return {
        name: predictions_table(
            name, arrays, probabilities(model, arrays, batch_size, f"data/{name}")
        )
        for name, arrays in splits.items()
    }


def look(model, judged: Judged) -> Look:
    """Choose the surest images of each class, right and wrong, and find where the evidence lies."""
    from detector.diagnosis.gradcam import confident, grad_cam

    labels, threshold = judged.test["label"].to_numpy(), judged.decision.threshold
    groups = confident(labels, judged.calibrated, threshold)
    rows = np.concatenate(list(groups.values()))
    images = judged.images.images[rows]
    heat = grad_cam(model, images, predicted=judged.calibrated[rows] >= threshold)
    return Look(groups, images, heat, judged.calibrated[rows])


def diagnose(model, validation: Split, seed: int) -> tuple[dict[str, Any], pd.DataFrame]:
    """Compare batch and moving statistics on some validation images; a row for each layer."""
    from detector.diagnosis.normalization import diagnosis, summary

    # In the arrays the classes lie one behind the other.
    rows = np.random.default_rng(seed).permutation(len(validation))[:DIAGNOSED]
    images, labels = validation.images[rows], validation.labels[rows]
    found = diagnosis(model, images, labels, min(DIAGNOSED_BATCH, len(rows)))
    columns = ["layer", "learns", "mean", "variance"]
    return summary(found), pd.DataFrame(found["layers"], columns=columns)


def write(judged: Judged, results: dict[str, Any], seen: Look, normalization: pd.DataFrame) -> None:
    """Write the outs of the stage. Probabilities that are drawn are calibrated ones."""
    name, decision = judged.name, judged.decision
    labels = judged.test["label"].to_numpy()
    calibrated = judged.calibrated
    with (
        replacing(f"data/results/{name}/test") as folder,
        replacing(f"models/{name}.decision.json") as chosen,
        replacing(f"plots/{name}/confusion_matrix.png") as matrix,
        replacing(f"plots/{name}/gradcam.png") as gradcam,
        replacing(f"plots/{name}/probabilities.png") as histogram,
        replacing(f"plots/{name}/reliability.png") as reliability,
    ):
        figures.confusion_matrix(results["test_at_threshold"]["confusion"], judged.title, matrix)
        figures.probability_histogram(
            labels, calibrated, decision.threshold, judged.title, histogram
        )
        figures.reliability(
            {
                "before": reliability_table(labels, judged.test["probability"].to_numpy()),
                "after": reliability_table(labels, calibrated),
            },
            judged.title,
            reliability,
        )
        figures.gradcam_sheet(
            seen.images, seen.heat, seen.groups, seen.calibrated, judged.title, gradcam
        )
        decision.write(chosen)

        # All of one backbone in one folder, so that compare and report depend on results alone.
        folder.mkdir()
        write_predictions(pd.concat(judged.tables.values()), folder / "predictions.csv")
        shutil.copyfile(f"models/{name}.history.csv", folder / "history.csv")
        decision.write(folder / "decision.json")
        write_json(folder / "evaluation.json", results)
        normalization.to_csv(folder / "normalization.csv", index=False, float_format="%.6g")
        (folder / "figures").mkdir()
        for figure in (matrix, gradcam, histogram, reliability):
            shutil.copyfile(figure, folder / "figures" / figure.name.removeprefix(".partial."))


if __name__ == "__main__":
    run(main)
