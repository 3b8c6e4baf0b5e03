"""Part input_path: images a second delivered without a model, the paper's way and ours."""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy import ndimage

from benchmarks.common import Measured, pairs, params_of, row, run_part, say
from detector.base.arrays import Split, load_split
from detector.base.layout import CLASSES
from detector.networks.runtime import start_keras

SIDE, BATCH, ZOOM = 224, 64, 0.2  # of the paper
FILES = 20_000  # as many as there are, at most; neither way's cost an image depends on it
FASTER = 20  # times


def measure(options: argparse.Namespace) -> Measured:
    """Time the ways in turn, on the same images."""
    split = load_split(options.arrays / "train")
    params = params_of("cnn32", options)
    start_keras(params.seed)
    from benchmarks.stretches import delivered

    with tempfile.TemporaryDirectory() as folder:
        files = unpack(split, Path(folder), 400 if options.quick else FILES)
        ways: dict[str, Callable[[], float]] = {
            "image_data_generator": lambda: rate(paper_batches(files), options.seconds),
            "image_dataset_from_directory": lambda: rate(keras_batches(folder), options.seconds),
            "ours": lambda: delivered(split, params.train.batch_size, options.seconds),
            "ours_with_the_paper_augmentation": lambda: augmented_rate(split, options.seconds),
        }
        raw: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(options.repeats):
            for name, way in ways.items():
                raw[name].append(way())
                say(f"input_path: {name}: {raw[name][-1]:.0f} images/s")
    ratios = {name: pairs(raw["ours"], raw[name]) for name in list(ways)[:2]}
    rows = [
        row(f"ours / {name}", found["median_ratio"], "times", at_least=FASTER)
        for name, found in ratios.items()
    ]
    rows += [row(name, statistics.median(found), "images/s") for name, found in raw.items()]
    return {
        "files": len(files),
        "batch_size": {"paper": BATCH, "ours": params.train.batch_size},
        "images_per_second": raw,
        "ours_over": ratios,
    }, rows


def unpack(split: Split, folder: Path, count: int) -> list[Path]:
    """Write images of a split as JPEG files of quality 75, a folder for each class."""
    rows = np.linspace(0, len(split) - 1, min(count, len(split))).astype(int)
    for name in CLASSES:
        (folder / name).mkdir()
    files = []
    for place in rows:
        files.append(folder / CLASSES[split.labels[place]] / f"{place}.jpg")
        Image.fromarray(split.images[place]).save(files[-1], quality=75)
    return files


def rate(batches: Iterator[Any], seconds: float) -> float:
    """Give the images a second of an endless iterator of batches, after its first one."""
    next(batches)
    images, start = 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        images += len(next(batches))
    return images / spent


def paper_batches(files: list[Path], seed: int = 1) -> Iterator[np.ndarray]:
    """Give batches as Keras' ImageDataGenerator does: one image after the other, in Python.

    Decoded, enlarged to 224 pixels (nearest, its default), zoomed by an affine map of each channel
    (order 1, nearest pixel at the edges), flipped, and scaled: what keras.src.legacy has of it.
    """
    rng = np.random.default_rng(seed)
    while True:
        order = rng.permutation(len(files))
        for first in range(0, len(order) - BATCH + 1, BATCH):
            batch = np.empty((BATCH, SIDE, SIDE, 3), np.float32)
            for place, file in enumerate(order[first : first + BATCH]):
                batch[place] = augmented(files[file], rng)
            yield batch


def augmented(file: Path, rng: np.random.Generator) -> np.ndarray:
    """Read and change one image. Gives float32 224,224,3 of 0 to 1."""
    with Image.open(file) as opened:
        resized = opened.convert("RGB").resize((SIDE, SIDE), Image.Resampling.NEAREST)
    image = np.asarray(resized, np.float32)
    factors = rng.uniform(1 - ZOOM, 1 + ZOOM, 2)
    centre = (SIDE - 1) / 2 * (1 - factors)
    matrix = np.diag(factors)
    channels = [
        ndimage.affine_transform(image[:, :, c], matrix, centre, order=1, mode="nearest")
        for c in range(3)
    ]
    image = np.stack(channels, axis=-1)
    if rng.random() < 0.5:
        image = image[:, ::-1]
    return image * np.float32(1 / 255)


def keras_batches(folder: str) -> Iterator[Any]:
    """Give batches of keras.utils.image_dataset_from_directory at 224 pixels, without changes."""
    import keras

    dataset = keras.utils.image_dataset_from_directory(
        folder,
        label_mode="binary",
        batch_size=BATCH,
        image_size=(SIDE, SIDE),
        seed=1,
        verbose=False,
    )
    for images, _ in dataset.repeat():
        yield images


def augmented_rate(split: Split, seconds: float) -> float:
    """Give the images a second of our batches behind our layers for what the paper does.

    They belong to the device's work, and are timed on the CPU here for a fair comparison: both
    ends of this pipeline are those of the paper's.
    """
    import keras
    import tensorflow as tf

    from detector.networks.batches import TrainingBatches

    layers = [
        keras.layers.Resizing(SIDE, SIDE, "bilinear"),
        keras.layers.RandomFlip("horizontal", seed=1),
        keras.layers.RandomZoom(ZOOM, ZOOM, fill_mode="nearest", seed=2),
        keras.layers.Rescaling(1 / 255),
    ]

    @tf.function(autograph=False)
    def change(images: Any) -> Any:
        images = tf.cast(images, tf.float32)
        for layer in layers:
            images = layer(images, training=True)
        return images

    batches = TrainingBatches(split, BATCH, 1_000_000, seed=1)
    return rate((change(batches[step][0]) for step in range(1_000_000)), seconds)


if __name__ == "__main__":
    run_part("input_path", measure, __doc__)
