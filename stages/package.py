"""Stage package: one backbone and all that its answers need in one file, and its metrics."""

import argparse
import hashlib
from collections import Counter
from dataclasses import asdict
from importlib.metadata import version
from typing import Any

import numpy as np

from detector.base.arrays import load_split
from detector.base.errors import ExpectedError
from detector.base.files import parse_json, replacing, write_json
from detector.base.finite import require_finite_file
from detector.base.layout import CLASSES
from detector.base.params import read_params
from detector.base.program import run
from detector.base.section import ClassCounts
from detector.deployment.familiarity import limits, statistics
from detector.deployment.model_archive import (
    FORMAT,
    DecisionRule,
    ModelDescription,
    ResultOnTest,
    Scores,
    TrainingData,
    Versions,
    write_model,
)
from detector.evaluation.decision import Decision, read_decision
from detector.evaluation.headline import headline
from detector.evaluation.predictions import read_predictions
from detector.networks.runtime import start_keras
from detector.networks.settings import ModelParams, Models

DATA = "data/audit.json"


def main() -> None:
    """Write models/<backbone>.zip and metrics/<backbone>.json of the backbone `--model`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a key of `model` in params.yaml")
    name = parser.parse_args().model
    description = describe(name, read_params(model=Models).model[name])
    weights = f"models/{name}.weights.h5"
    require_finite_file(weights)
    figures = headline(f"data/results/{name}")
    with (
        replacing(f"models/{name}.zip") as path,
        replacing(f"metrics/{name}.json") as metrics,
    ):
        write_json(metrics, figures)
        write_model(path, description, weights)
        megabytes = path.stat().st_size / 1e6
    print(f"models/{name}.zip: {megabytes:.1f} MB, all that an answer needs")


def describe(name: str, settings: ModelParams) -> ModelDescription:
    """Gather what is known of the network. Raises ExpectedError when a dependency is not whole."""
    software = versions()  # imports Keras, of which the next line asks
    from detector.networks.builders import input_pixels

    train = load_split("data/train")
    decision = read_decision(f"models/{name}.decision.json")
    counts = np.bincount(train.labels, minlength=len(CLASSES)).tolist()
    audit = data_audit()
    codecs = sum(map(Counter, audit["codecs"].values()), Counter())
    return ModelDescription(
        format=FORMAT,
        name=name,
        settings=settings.model_copy(update={"input_size": input_pixels(settings)}),
        image_size=train.images.shape[1],
        classes=CLASSES,
        decision=DecisionRule(**asdict(decision)),
        data=TrainingData(
            name="CIFAKE" if audit["archive"]["cifake"] else audit["archive"]["name"],
            archive_sha256=audit["archive"]["sha256"],
            training_sha256=training_sha256(),
            training_images=ClassCounts(**dict(zip(CLASSES, counts, strict=True))),
        ),
        **on_test(name, decision),
        familiar=limits(statistics(train.images), codecs),
        versions=software,
    )


def data_audit() -> dict[str, Any]:
    """Return the audit of the archive that the arrays are from: its name, its coders.

    Raises ExpectedError when it does not say them.
    """
    try:
        with open(DATA, encoding="utf-8") as file:
            found = parse_json(file.read())
        if not {"name", "sha256", "cifake"} <= set(found["archive"]) or set(found["codecs"]) != set(
            CLASSES
        ):
            raise ValueError("its keys are other ones")
        return found
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ExpectedError(
            f"{DATA}: does not name the archive and its coders ({error}); 'dvc repro preprocess' "
            "makes it anew"
        ) from error


def training_sha256() -> str:
    """Give what `cat data/train/images.npy data/train/labels.npy | sha256sum` says."""
    digest = hashlib.sha256()
    for array in ("images", "labels"):
        with open(f"data/train/{array}.npy", "rb") as file:
            while chunk := file.read(1 << 20):
                digest.update(chunk)
    return digest.hexdigest()


def on_test(name: str, decision: Decision) -> dict[str, ResultOnTest | Scores]:
    """Give what evaluate found on the test images."""
    table = read_predictions(f"data/results/{name}/test/predictions.csv")["test"]
    labels = table["label"].to_numpy()
    calibrated = decision.calibrate(table["probability"].to_numpy())
    predicted = calibrated >= decision.threshold
    return {
        "test": ResultOnTest.of(labels, predicted, decision.verdicts(calibrated)),
        "scores": Scores.of(labels, calibrated),
    }


def versions() -> Versions:
    """Give the versions of what computes here."""
    start_keras(seed=0)
    import keras

    backend = keras.backend.backend()
    return Versions(
        keras=version("keras"),
        backend=backend,
        backend_version=version(backend),
        numpy=version("numpy"),
    )


if __name__ == "__main__":
    run(main)
