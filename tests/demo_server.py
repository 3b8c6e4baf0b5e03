"""The page of `make demo` with a network that needs no training, served on loopback."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np

from detector.base.section import ClassCounts
from detector.demo.app import create
from detector.demo.judge import Judge
from detector.demo.limits import Limiter
from detector.demo.samples import read_samples
from detector.demo.server import bound, configured
from detector.deployment.familiarity import NAMES, Limits
from detector.deployment.model_archive import (
    EDGES,
    DecisionRule,
    ModelDescription,
    ResultOnTest,
    Scores,
    TrainingData,
    Versions,
    read_description,
    write_model,
)
from detector.evaluation.decision import Decision
from detector.prediction.detector import Detector, Predictions
from tests.helpers import ROOT, coded
from tests.model_files import described

# Grey 0 to 99 is FAKE, 100 to 178 UNSURE, within 0.65 of the logit of 0.55, 179 to 255 REAL.
RULE = {"threshold": 0.55, "abstain": 0.65, "temperature": 1.0}
OF_100 = {"fake": (10, 0, 0, 40, 300, 1, 1, 1, 2, 3), "real": (0, 0, 0, 10, 100, 7, 5, 90, 50, 180)}


def describe(name: str = "bright", **rule: Any) -> ModelDescription:
    wide = dict.fromkeys(NAMES, (-1e6, 1e6))
    return described(
        name=name,
        decision=DecisionRule(goal="balanced", sure_error=0.01, n=640, **{**RULE, **rule}),
        data=TrainingData(
            name="greys", archive_sha256="a" * 64, training_sha256="b" * 64,
            training_images=ClassCounts(REAL=1230, FAKE=4567),
        ),
        test=ResultOnTest(
            n=800, accuracy=0.975, fake_predicted_fake=347, fake_predicted_real=11,
            real_predicted_fake=9, real_predicted_real=433, unsure=21,
        ),
        scores=Scores(edges=EDGES, **OF_100),
        familiar=Limits(share=0.001, n=5797, ranges={**wide, "brightness": (10.0, 245.0)}),
        versions=Versions(keras="3.15.1", backend="tensorflow", backend_version="2.21", numpy="2"),
    )  # fmt: skip


def archive(folder: Path, name: str = "bright", **rule: Any) -> Path:
    """Write an archive with the description of a model and no weights that Keras could read."""
    weights = folder / "none.h5"
    weights.write_bytes(b"none")
    path = folder / f"{name}.zip"
    write_model(path, describe(name, **rule), weights)
    return path


class Brightness(Detector):
    """The brighter, the likelier REAL; its evidence is on the left."""

    delay = 0.0  # seconds that an answer takes
    at_once = most_at_once = 0

    def __init__(self, description: ModelDescription) -> None:
        self.description = description
        self.decision = Decision(**description.decision.model_dump())

    def predict(self, images: np.ndarray, batch_size: int = 256) -> Predictions:
        cls = type(self)
        cls.at_once += 1
        cls.most_at_once = max(cls.most_at_once, cls.at_once)
        time.sleep(cls.delay)
        cls.at_once -= 1
        probability = images.mean(axis=(1, 2, 3)) / 255
        return Predictions(probability, probability, self.decision.verdicts(probability))

    def explain(self, images: np.ndarray, called: np.ndarray) -> np.ndarray:
        assert set(called) <= {0, 1}
        heat = np.zeros(images.shape[:3], np.float32)
        heat[:, :, : images.shape[2] // 2] = 1
        return heat


def load(path: Path) -> Detector:
    return Brightness(read_description(path))


def grey(value: int, size: int = 32, kind: str = "PNG", **options: Any) -> bytes:
    return coded(np.full((size, size, 3), value, np.uint8), kind, **options)


@contextmanager
def serving(
    *paths: Path, limiter: Limiter | None = None, samples: bool = True, loader: Any = load
) -> Iterator[str]:
    """Give the address, with a slash at its end, of the page in a thread."""
    to_try = read_samples(ROOT / "data/sample/sample.zip") if samples else []
    judge = Judge(paths, loader)
    if loader is load:
        judge.warm_up(paths[0].stem)
    with bound(0) as listening:
        server = configured(create(judge, to_try, limiter), listening)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        while not server.started:
            assert thread.is_alive(), "the server did not start"
            time.sleep(0.01)
        yield server.address
        server.should_exit = True
        thread.join(10)
        assert not thread.is_alive()


@contextmanager
def asked(folder: Path) -> Iterator[httpx.Client]:
    """Give a client of a page with two models, bright and second."""
    with (
        serving(archive(folder), archive(folder, "second", threshold=0.9)) as address,
        httpx.Client(base_url=address, timeout=30) as client,
    ):
        yield client


def ask(client: httpx.Client, content: Any, model: str | None = None, **options: Any):
    query = {} if model is None else {"model": model}
    return client.post("/api/predict", content=content, params=query, **options)
