"""Part predict: the command on one image and on 10,000, against what it cannot do without.

Each process is timed from its start to its end, all in turn: TensorFlow imported and the weights
loaded, and no more; the command for one image; for 10,000; for four times as many. The rate is that
of the images after the first one, so what the command does besides, while TensorFlow is loaded,
costs nothing. Further images have no such shelter. Memory is the peak of the command's process
tree as the sum of resident sets, so that pages shared by its processes count more than once.

The network has random weights, which takes the same time. The images are those of the arrays, again
and again where there are fewer, as JPEG files of quality 75.
"""

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks.common import Measured, child_environment, median, pairs, params, row, run_part, say
from benchmarks.preprocess import tree_memory
from detector.base.arrays import load_split
from detector.base.errors import ExpectedError
from detector.base.section import ClassCounts
from detector.deployment.familiarity import limits, statistics
from detector.deployment.model_archive import (
    DecisionRule,
    ModelDescription,
    ResultOnTest,
    Scores,
    TrainingData,
    Versions,
    write_model,
)
from detector.networks.runtime import start_keras

IMAGES, QUICK_IMAGES, MORE = 10_000, 600, 4  # MORE: times as many
START_BAR = 1.3  # of importing TensorFlow and loading the weights
RATE_BAR = 0.6  # of the rate of the network alone
MEMORY_BAR = 1.5 * 1024  # MiB
LOAD = """
import sys
import tensorflow
from detector.networks.model import load_trained
from detector.networks.settings import ModelParams
load_trained(sys.argv[1], ModelParams.model_validate_json(sys.argv[2]), int(sys.argv[3]))
"""
Run = tuple[float, float]  # seconds, peak MiB


def measure(options: argparse.Namespace) -> Measured:
    """Time the processes in turn, and the network alone beside them."""
    split = load_split(options.arrays / "train")
    count = QUICK_IMAGES if options.quick else IMAGES
    runs: dict[str, list[Run]] = {}
    rates = []
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        model, description = make_model(split.images, folder)
        write_images(split.images, folder / "images", count)
        write_images(split.images, folder / "more", MORE * count)
        for _ in range(options.repeats):
            for name, command in commands(folder, description).items():
                runs.setdefault(name, []).append(timed(command, folder))
            rates.append(rate_alone(model, split.images, options.seconds / 3))
            say("predict: " + ", ".join(f"{k} {v[-1][0]:.2f} s" for k, v in runs.items()))
    return figures(runs, rates, count)


def figures(runs: dict[str, list[Run]], rates: list[float], count: int) -> Measured:
    """Make figures and rows of the times."""
    seconds = {name: [run[0] for run in found] for name, found in runs.items()}
    start = pairs(seconds["one"], seconds["load"])
    many = [(count - 1) / (b - a) for a, b in zip(seconds["one"], seconds["images"], strict=True)]
    further = [
        (MORE - 1) * count / (b - a)
        for a, b in zip(seconds["images"], seconds["more"], strict=True)
    ]
    share, share_further = pairs(many, rates), pairs(further, rates)
    peaks = {name: max(peak for _, peak in found) for name, found in runs.items()}
    found = {
        "images": count,
        "seconds": seconds,
        "peak_mib": peaks,
        "network_alone_images_per_second": rates,
        "images_per_second": many,
        "further_images_per_second": further,
        "start": start,
        "share": share,
        "share_further": share_further,
    }
    return found, [
        row("import and weights alone", median(seconds["load"]), "s"),
        row("one image / that", start["median_ratio"], "ratio", at_most=START_BAR),
        row(f"{count:,} images, after the first", median(many), "images/s"),
        row(
            f"{count:,} images / network alone", share["median_ratio"], "ratio", at_least=RATE_BAR
        ),
        row("each further one / network alone", share_further["median_ratio"], "ratio"),
        row(f"peak memory, {count:,} images", peaks["images"], "MiB", at_most=MEMORY_BAR),
        row(f"peak memory, {MORE * count:,} images", peaks["more"], "MiB", at_most=MEMORY_BAR),
    ]  # fmt: skip


def make_model(images: np.ndarray, folder: Path) -> tuple[Any, ModelDescription]:
    """Write an archive of a cnn32 with random weights; give the network, too."""
    start_keras(1)
    from detector.networks.model import build_model, save_weights

    side = images.shape[1]
    settings = params("model=cnn32").model["cnn32"].settings()
    model = build_model(settings, side)
    save_weights(model, folder / "model.weights.h5")
    description = ModelDescription(
        format=1,
        name="cnn32",
        settings=settings,
        image_size=side,
        classes=("FAKE", "REAL"),
        decision=DecisionRule(
            temperature=1, goal="0.5", threshold=0.5, abstain=0, sure_error=0.01, n=1
        ),
        data=TrainingData(
            name="benchmark", archive_sha256="0" * 64, training_sha256="0" * 64,
            training_images=ClassCounts(REAL=1, FAKE=1),
        ),
        test=ResultOnTest.of(np.array([0, 1]), np.array([0, 1]), np.array(["FAKE", "REAL"])),
        scores=Scores.of(np.array([0, 1]), np.array([0.1, 0.9])),
        familiar=limits(statistics(images[:5000])),
        versions=Versions(keras="", backend="", backend_version="", numpy=""),
    )  # fmt: skip
    write_model(folder / "model.zip", description, folder / "model.weights.h5")
    return model, description


def write_images(images: np.ndarray, folder: Path, count: int) -> None:
    """Write `count` of uint8 N,S,S,3 as JPEG files."""
    folder.mkdir()
    for i in range(count):
        image = Image.fromarray(images[i % len(images)])
        image.save(folder / f"{i:06d}.jpg", quality=75, subsampling="4:2:0")


def commands(folder: Path, description: ModelDescription) -> dict[str, list[str]]:
    """Give what is timed."""
    predict = ["-m", "detector", "predict", "--json", "--model", str(folder / "model.zip")]
    settings, side = description.settings.model_dump_json(), str(description.image_size)
    return {
        "load": ["-c", LOAD, str(folder / "model.weights.h5"), settings, side],
        "one": [*predict, str(folder / "images/000000.jpg")],
        "images": [*predict, str(folder / "images")],
        "more": [*predict, str(folder / "more")],
    }


def timed(arguments: list[str], folder: Path) -> Run:
    """Run Python with these arguments; give seconds and the peak memory of its tree in MiB."""
    with open(folder / "answers.json", "w") as answers, tempfile.TemporaryFile("w+") as errors:
        start, peak = time.perf_counter(), 0
        process = subprocess.Popen(
            [sys.executable, *arguments], env=child_environment(), stdout=answers, stderr=errors
        )
        watched = psutil.Process(process.pid)
        while True:
            peak = max(peak, tree_memory(watched))
            try:
                process.wait(0.05)
                break
            except subprocess.TimeoutExpired:
                continue
        seconds = time.perf_counter() - start
        if process.returncode:
            errors.seek(0)
            last = " ".join(errors.read().splitlines()[-1:])
            raise ExpectedError(f"predict: a process failed: {last}")
    return seconds, peak / 2**20


def rate_alone(model: Any, images: np.ndarray, seconds: float) -> float:
    """Measure the images a second of the network on a resident batch."""
    from detector.diagnosis.cost import inference_rate

    batch = params("model=cnn32").evaluate.batch_size
    return inference_rate(model, images, batch, seconds)["inference_images_per_second"]


if __name__ == "__main__":
    run_part("predict", measure, __doc__)
