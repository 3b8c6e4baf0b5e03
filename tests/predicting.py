"""What the tests of `python -m detector predict` share: an archive, and a network's double."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from typer.testing import CliRunner, Result

from detector.__main__ import app
from detector.base.section import ClassCounts
from detector.deployment.familiarity import NAMES, Limits
from detector.deployment.model_archive import (
    DecisionRule,
    ModelDescription,
    ResultOnTest,
    Scores,
    TrainingData,
    read_description,
    write_model,
)
from detector.evaluation.decision import Decision
from detector.prediction.detector import Detector, Predictions
from tests.helpers import coded
from tests.model_files import described

BRIGHT, MIDDLE, DARK = (np.full((32, 32, 3), grey, np.uint8) for grey in (250, 110, 5))
RULE = DecisionRule(
    temperature=2.0, goal="balanced", threshold=0.4, abstain=0.5, sure_error=0.01, n=640
)
ANYTHING = Limits(share=0.001, n=2560, ranges=dict.fromkeys(NAMES, (-1e9, 1e9)))


def make_model(folder: Path, weights: Path | None = None, familiar: Limits = ANYTHING) -> Path:
    """Write folder/models/cnn32.zip, by default with bytes that are no weights."""
    description = described(
        decision=RULE,
        data=TrainingData(
            name="sample", archive_sha256="a" * 64, training_sha256="b" * 64,
            training_images=ClassCounts(REAL=1200, FAKE=1300),
        ),
        test=ResultOnTest(
            n=800, accuracy=0.9875, fake_predicted_fake=396, fake_predicted_real=4,
            real_predicted_fake=6, real_predicted_real=394, unsure=12,
        ),
        scores=Scores(edges=(0.0, 0.5, 0.75, 1.0), fake=(300, 0, 1), real=(100, 0, 199)),
        familiar=familiar,
    )  # fmt: skip
    if weights is None:
        weights = folder / "none.h5"
        weights.write_bytes(b"no weights")
    path = folder / "models/cnn32.zip"
    path.parent.mkdir(exist_ok=True)
    write_model(path, description, weights)
    return path


class Double(Detector):
    """A detector without Keras: the brighter an image, the more it is REAL."""

    def __init__(self, description: ModelDescription) -> None:
        self.description = description
        self.decision = Decision(**description.decision.model_dump())

    def predict(self, images: np.ndarray, batch_size: int = 256) -> Predictions:
        raw = (images.mean(axis=(1, 2, 3)).astype(np.float32) / 255).astype(np.float64)
        probability = self.decision.calibrate(raw)
        return Predictions(raw, probability, self.decision.verdicts(probability))

    def explain(self, images: np.ndarray, called: np.ndarray) -> np.ndarray:
        """Heat the upper half for REAL, the lower one for FAKE."""
        heat = np.zeros(images.shape[:3], np.float32)
        heat[:, :16], heat[:, 16:] = called[:, None, None], 1 - called[:, None, None]
        return heat


def replace_network(monkeypatch) -> list[str]:
    """Let `load` give doubles. Returns the paths that will have been loaded."""
    paths: list[str] = []

    def load(path):
        paths.append(path)
        return Double(read_description(path))

    monkeypatch.setattr("detector.prediction.detector.load", load)
    return paths


def command(folder: Path, archive: Path, monkeypatch) -> Callable[..., Result]:
    """Give the command, to be run in `folder`, which then has models/cnn32.zip."""
    monkeypatch.chdir(folder)
    (folder / "models").symlink_to(archive.parent)
    monkeypatch.setenv("COLUMNS", "100")

    def run(*arguments, code=0, **options):
        done = CliRunner().invoke(app, ["predict", *map(str, arguments)], **options)
        assert done.exit_code == code, (done.output, done.exception)
        assert done.exception is None or isinstance(done.exception, SystemExit)
        return done

    return run


def put(path, pixels=BRIGHT, kind="PNG"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(coded(pixels, kind))
    return path


def files(done) -> list[str]:
    return [entry["file"] for entry in json.loads(done.stdout)["images"]]
