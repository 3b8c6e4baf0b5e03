"""Time training steps with and without the layers of train=robust, in turn in one process.

    python -m benchmarks.augmentation [--backbone resnet50] [--pairs 5] [--steps 10]

Prints one JSON object: for the backbone at its smallest input and for a small network, seconds of a
step with and without the layers, the ratio with / without of each pair and its median; and how many
images a second each layer changes by itself. Runs on the TensorFlow backend.
"""

import argparse
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from conf.compose import compose
from detector.networks.runtime import start_keras
from detector.params import Params, validate

IMAGE_SIZE = 32
OFF = {"blur": None, "noise": None, "jpeg": None}


def robust_params(backbone: str) -> Params:
    """Compose the parameters of the robust recipe for two CPU cores."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "params.yaml")
        compose(path, ["train=quick_robust", f"model={backbone}"])
        return validate(yaml.safe_load(path.read_text()))


def backbone_networks(params: Params) -> list[Any]:
    """Build the pipeline's network without and with the layers."""
    from detector.networks.model import build_model

    (settings,) = params.model.values()
    recipe = params.train.augmentation
    augmentations = [recipe.model_copy(update=OFF), recipe]
    return [build_model(settings, IMAGE_SIZE, each, params.seed) for each in augmentations]


def small_networks(params: Params) -> list[Any]:
    """Build a convolutional network of 0.3 M parameters without and with the layers."""
    import keras

    from detector.networks.augmentation import robust_layers

    networks = []
    for layers in ([], robust_layers(params.train.augmentation, params.seed)):
        images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3), dtype="uint8")
        x = keras.layers.Rescaling(1.0)(images)
        for layer in layers:
            x = layer(x)
        x = keras.layers.Rescaling(1 / 255)(x)
        for width in (32, 64, 128):
            for _ in range(2):
                x = keras.layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
                x = keras.layers.BatchNormalization()(x)
                x = keras.layers.ReLU()(x)
            x = keras.layers.MaxPooling2D()(x)
        x = keras.layers.GlobalAveragePooling2D()(x)
        networks.append(keras.Model(images, keras.layers.Dense(1, activation="sigmoid")(x)))
    return networks


def seconds(call: Callable[[], Any], times: int) -> float:
    """Give the mean seconds of a call."""
    start = time.perf_counter()
    for _ in range(times):
        call()
    return (time.perf_counter() - start) / times


def paired(networks: list[Any], batch_size: int, pairs: int, steps: int) -> dict[str, Any]:
    """Time training steps of both networks in turn, after warm-up."""
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (batch_size, IMAGE_SIZE, IMAGE_SIZE, 3), dtype=np.uint8)
    labels = rng.integers(0, 2, (batch_size, 1)).astype(np.float32)
    calls = []
    for network in networks:
        network.compile("adam", "binary_crossentropy", jit_compile=False)
        calls.append(lambda network=network: network.train_on_batch(images, labels))
    for call in calls:
        seconds(call, 3)
    without, with_layers = zip(
        *([seconds(call, steps) for call in calls] for _ in range(pairs)), strict=True
    )
    ratios = [b / a for a, b in zip(without, with_layers, strict=True)]
    return {
        "parameters": networks[0].count_params(),
        "batch_size": batch_size,
        "seconds_without": [round(s, 4) for s in without],
        "seconds_with": [round(s, 4) for s in with_layers],
        "ratios": [round(r, 3) for r in ratios],
        "median_ratio": round(statistics.median(ratios), 3),
    }


def layers_alone(params: Params, batch_size: int = 128) -> dict[str, int]:
    """Give the images a second of each layer, and of all in a row, as parts of a graph."""
    import tensorflow as tf

    from detector.networks.augmentation import robust_layers

    rng = np.random.default_rng(0)
    shape = (batch_size, IMAGE_SIZE, IMAGE_SIZE, 3)
    images = tf.constant(rng.integers(0, 256, shape), tf.float32)
    chain = robust_layers(params.train.augmentation, params.seed)
    speeds = {}
    for name, layers in [*((layer.name, [layer]) for layer in chain), ("all", chain)]:

        @tf.function(autograph=False)
        def graph(x: Any, layers: list[Any] = layers) -> Any:
            for layer in layers:
                x = layer(x, training=True)
            return x

        seconds(lambda graph=graph: graph(images), 5)
        runs = [seconds(lambda graph=graph: graph(images), 20) for _ in range(5)]
        speeds[name] = round(batch_size / statistics.median(runs))
    return speeds


def main() -> None:
    """Run the pairs and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--backbone", default="resnet50", help="a file of conf/model")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--steps", type=int, default=10)
    arguments = parser.parse_args()
    params = robust_params(arguments.backbone)
    start_keras(params.seed)
    counts = (arguments.pairs, arguments.steps)
    figures = {
        arguments.backbone: paired(backbone_networks(params), params.train.batch_size, *counts),
        "small_network": paired(small_networks(params), 128, *counts),
        "images_per_second": layers_alone(params),
        "cpu": platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "python": platform.python_version(),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
