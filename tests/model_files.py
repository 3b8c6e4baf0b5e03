"""Descriptions and archives of models that nobody trained, and a project to package one from."""

import functools
import json
import tempfile
from pathlib import Path

import numpy as np
import yaml

from conf.compose import compose
from detector.base.arrays import Split, SplitWriter
from detector.base.section import ClassCounts
from detector.deployment.familiarity import NAMES, Limits
from detector.deployment.model_archive import (
    DecisionRule,
    ModelDescription,
    ResultOnTest,
    Scores,
    TrainingData,
    Versions,
)
from detector.evaluation.decision import Decision
from detector.evaluation.headline import OF_TEST
from detector.evaluation.predictions import COLUMNS
from detector.networks.settings import ModelParams
from detector.params import validate
from tests.helpers import composed_params, random_pixels

DECISION = Decision(1.25, "balanced", 0.1 + 0.2, 0.05, 0.01, 640)
ARCHIVE = {"name": "mine", "sha256": "ab" * 32, "bytes": 5, "cifake": False}
RESULTS = {
    "test/evaluation.json": {
        "test": dict.fromkeys(OF_TEST, 0.123456) | {"n": 40}, "val": {"accuracy": 0.75}
    },
    "test/history.csv": "epoch,accuracy,loss,val_accuracy,val_loss\n0,0.5,1,0,0\n1,0.625,1,0,0\n",
    "robustness/summary.json": {"accuracy": 0.6},
    "external/external.json": {
        name: {"accuracy": accuracy and {"value": accuracy}}
        for name, accuracy in {"d": 0.4, "a": 0.1, "of_one_class": None, "c": 0.3, "b": 0.2}.items()
    },
}  # fmt: skip
CODECS = {"FAKE": {"PNG": 600, "WEBP": 66}, "REAL": {"BMP": 220, "PNG": 113}}


@functools.cache
def settings(backbone: str = "cnn32") -> ModelParams:
    """Give those of conf/."""
    with tempfile.TemporaryDirectory() as folder:
        params = composed_params(Path(folder), f"model={backbone}")
    return ModelParams(**params["model"][backbone])


def described(**changes) -> ModelDescription:
    """Give a description, a network of cnn32 unless `changes` say otherwise."""
    fields = {
        "format": 2,
        "name": "cnn32",
        "settings": settings(),
        "image_size": 32,
        "classes": ("FAKE", "REAL"),
        "decision": DecisionRule(**vars(DECISION)),
        "data": TrainingData(
            name="sample", archive_sha256="a" * 64, training_sha256="b" * 64,
            training_images=ClassCounts(REAL=10, FAKE=12),
        ),
        "test": ResultOnTest(
            n=4, accuracy=0.75, fake_predicted_fake=2, fake_predicted_real=1, real_predicted_fake=0,
            real_predicted_real=1, unsure=1,
        ),
        "scores": Scores(edges=(0.0, 0.5, 1.0), fake=(2, 0), real=(1, 0)),
        "familiar": Limits(share=0.001, n=22, ranges=dict.fromkeys(NAMES, (0.0, 1 / 3))),
        "versions": Versions(keras="3", backend="tensorflow", backend_version="2", numpy="2"),
    }  # fmt: skip
    return ModelDescription(**fields | changes)


def spread(model, images: np.ndarray, centred: bool = True, seed: int = 0) -> np.ndarray:
    """Give a network of model.build_model weights by which it is not sure of all images alike.

    Statistics of BatchNormalization are no longer 0 and 1. Logits are of size 2; centred: and have
    a mean of 0, by which rounding in deep networks becomes large, as all images are alike to them.
    Returns the probabilities of REAL, float32 N.
    """
    import keras

    rng = np.random.default_rng(seed)
    for layer in model._flatten_layers():
        weights = layer.get_weights()
        if isinstance(layer, keras.layers.BatchNormalization):
            *_, variance = weights
            by = [rng.uniform(-0.2, 0.2, w.shape) for w in weights]
            by[-2:] = by[-2] * np.sqrt(variance), by[-1] * variance
            layer.set_weights([w + change for w, change in zip(weights, by, strict=True)])
        elif type(layer).__name__ == "LayerScale":  # ConvNeXt's 1e-6 would hide its blocks
            layer.set_weights([rng.uniform(0.2, 0.6, w.shape) for w in weights])
        elif layer.name == "whiten":
            layer.set_weights([rng.normal(0, 0.3, w.shape) for w in weights])
    last = model.layers[-1]
    before = keras.Model(model.inputs, last.input).predict(images, verbose=0)
    kernel = rng.normal(size=(before.shape[1], 1))
    logits = before @ kernel
    middle = logits.mean(axis=0) * centred
    size = np.abs(logits - middle).mean() / 2
    last.set_weights([kernel / size, -middle / size])
    return model.predict(images, verbose=0)[:, 0]


def noisy_images(n: int, size: int = 32, seed: int = 0) -> np.ndarray:
    """Give images of unlike brightness and contrast, uint8 N,S,S,3."""
    rng = np.random.default_rng(seed)
    noise = np.stack([random_pixels(seed + i, size) for i in range(n)]).astype(float)
    contrast, light = rng.uniform(0.1, 0.6, (n, 1, 1, 1)), rng.uniform(20, 100, (n, 1, 1, 3))
    return (contrast * noise + light).astype(np.uint8)


def params_of(tmp_path, *overrides):
    """Give the composed and checked params, with overrides as for -S."""
    compose(tmp_path / "params.yaml", list(overrides))
    return validate(yaml.safe_load((tmp_path / "params.yaml").read_text()))


def images(n, seed=0):
    """Give random images, uint8 N,32,32,3."""
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


def split_of(n, seed=0):
    """Give a split of random images, every other one REAL."""
    labels = (np.arange(n) % 2).astype(np.uint8)
    return Split(images(n, seed), labels, np.full(n, -1, np.int8), np.array([b"x"] * n))


def base_of(network):
    """Give the backbone within a network of model.build_model."""
    import keras

    (base,) = [layer for layer in network.layers if isinstance(layer, keras.Model)]
    return base


def make_project(folder: Path) -> np.ndarray:
    """Write all that the package stage reads, with a network of random weights; images of test."""
    from detector.networks.model import build_model, save_weights

    composed_params(folder, "model=cnn32")
    train, test = noisy_images(999), noisy_images(40, seed=5000)
    labels = np.arange(999) % 3 % 2  # a third are REAL
    with SplitWriter(folder / "data/train", 32) as writer:
        writer.append(train, labels.tolist(), [-1] * 999, [f"{i}.jpg" for i in range(999)])
    model = build_model(settings(), 32)
    probabilities = spread(model, test)
    (folder / "models").mkdir()
    save_weights(model, folder / "models/cnn32.weights.h5")
    DECISION.write(folder / "models/cnn32.decision.json")
    results = folder / "data/results/cnn32/test/predictions.csv"
    results.parent.mkdir(parents=True)
    rows = [f"test,{i}.jpg,{i % 2},-1,{p:.9g}" for i, p in enumerate(probabilities)]
    results.write_text("\n".join([",".join(COLUMNS), *rows, "val,0.jpg,0,-1,0.5"]) + "\n")
    (folder / "data/audit.json").write_text(json.dumps({"archive": ARCHIVE, "codecs": CODECS}))
    of_results = folder / "data/results/cnn32"
    for name, content in RESULTS.items():
        (of_results / name).parent.mkdir(exist_ok=True)
        (of_results / name).write_text(content if name.endswith("csv") else json.dumps(content))
    return test
