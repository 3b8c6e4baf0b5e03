"""Why a transferred ResNet learns and then answers by chance: a demonstration that fetches nothing.

    python -m benchmarks.collapse --arrays data [--steps 300] [--epochs 2] [--pretrain 20]

A small ResNet of the kind of ResNet-50 (keras' own builder, bottleneck blocks) is pretrained to
tell by how many quarter turns REAL training images were rotated, with the preprocessing of Keras'
ImageNet ResNet-50 (BGR less a mean, no scaling). From these weights it is transferred to REAL
against FAKE in every way of the grid: preprocessing, BatchNormalization trained or frozen, layers
that learn, momentum of the moving statistics. Everything else is the paper's recipe (train=paper),
at 64 instead of 224 pixels. After each way stand, on the same validation images, the accuracies by
moving and by batch statistics, activations at three depths, and the distance of the two statistics
in every layer.

Writes <out>/collapse.json, collapse.md and collapse.png.
"""

import argparse
import json
import logging
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

from benchmarks import machine
from benchmarks.common import params, rounded, say
from benchmarks.transfer_report import GRID, Way, figure, markdown
from benchmarks.transfer_report import ways as ways_to_transfer
from detector.base.arrays import Split, load_split
from detector.base.files import replacing
from detector.base.program import run
from detector.figures import style
from detector.networks.runtime import start_keras
from detector.params import Params

NAME, SIZE = "ResNetSmall", 64
# As ResNet-50's last 50 of 175 layers: the last stage and the end of the one before it.
SHARE_OF_LAST_50 = 50 / 175
LAYERS = {0: "0", 50: "last 2/7", "all": "all"}  # of the ablation: of this network
# The paper's way but for the layers that learn: the last 2/7 of this small network learn nothing
# from pixels of 0 to 1 in so few steps.
PAPER, CURE = ("rescale", "train", "all", 0.99), ("imagenet", "train", "all", 0.9)
TURNS = 4  # of 90 degrees


def resnet_small(include_top: bool, weights: str | None, input_shape: tuple) -> Any:
    """Build ResNet-50's stem and four stages of two bottleneck blocks, a quarter as wide."""
    # Not public, but the builder of every ResNet of keras.applications.
    from keras.src.applications import resnet

    def stages(x: Any) -> Any:
        for i, width in enumerate((16, 32, 64, 128), start=2):
            stride = 1 if i == 2 else 2
            x = resnet.stack_residual_blocks_v1(x, width, 2, stride1=stride, name=f"conv{i}")
        return x

    network = resnet.ResNet(
        stages, preact=False, use_bias=True, include_top=include_top, weights=None,
        input_shape=input_shape, name="resnet_small",
    )  # fmt: skip
    if weights is not None:
        network.load_weights(weights)
    return network


def main() -> None:
    """Pretrain, transfer in every way, write the results."""
    options, start = parse(), time.perf_counter()
    splits = {name: load_split(options.arrays / name) for name in ("train", "val")}
    start_keras(options.seed)
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # new functions are traced for each way
    with tempfile.TemporaryDirectory() as folder, known_backbone():
        weights = Path(folder) / "pretrained.weights.h5"
        pretrained = pretrain(splits, weights, options)
        runs = [transfer(way, splits, weights, options) for way in ways(options.only_paper)]
    result = {
        "images": {name: len(split) for name, split in splits.items()},
        "seed": options.seed,
        "steps": options.steps,
        "epochs": options.epochs,
        "pretraining": pretrained,
        "runs": runs,
        "seconds": time.perf_counter() - start,
        "machine": machine.describe(),
    }
    write(result, options.out)


def parse() -> argparse.Namespace:
    """Read the command line."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--arrays", type=Path, required=True, help="folder with train/ and val/")
    command.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder")
    command.add_argument("--steps", type=int, default=300, help="of 64 images, an epoch")
    command.add_argument("--epochs", type=int, default=2, help="of the transfer; the paper's are 5")
    command.add_argument("--pretrain", type=int, default=20, help="epochs of the pretraining")
    command.add_argument("--judged", type=int, default=2048, help="validation images")
    command.add_argument("--seed", type=int, default=1)
    command.add_argument(
        "--only-paper", action="store_true", help="one way that fails, and its cure"
    )
    return command.parse_args()


@contextmanager
def known_backbone() -> Iterator[None]:
    """Let the small ResNet be a builder like Keras' own, with the preprocessing of ResNet-50."""
    import keras

    from detector.networks import builders

    with (
        mock.patch.object(resnet_small, "__module__", keras.applications.ResNet50.__module__),
        mock.patch.dict(builders.BUILDERS, {NAME: resnet_small}),
    ):
        yield


def ways(only_paper: bool) -> list[tuple[str, str, str, float]]:
    """Give the ways of the ablation, with this network's layers."""
    if only_paper:
        return [PAPER, CURE]
    return [
        (preprocessing, batchnorm, LAYERS[count], momentum)
        for preprocessing, batchnorm, count, momentum in ways_to_transfer()
    ]


def pretrain(splits: dict[str, Split], path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train the backbone to tell how REAL images were turned; write its weights to `path`."""
    import keras

    start = time.perf_counter()
    pixels, turns = turned(splits["train"])
    backbone = resnet_small(False, None, (SIZE, SIZE, 3))
    layers = keras.layers
    images = keras.Input((pixels.shape[1], pixels.shape[1], 3), dtype="uint8")
    x = layers.Resizing(SIZE, SIZE)(layers.Rescaling(1.0)(images))
    x = layers.RandomFlip("horizontal", seed=options.seed)(x)
    from detector.networks.model import ImageNetPreprocessing

    x = backbone(ImageNetPreprocessing(NAME)(x))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, layers.Dense(TURNS, activation="softmax")(x))
    steps = options.pretrain * (len(pixels) // 64)
    rate = keras.optimizers.schedules.CosineDecay(1e-3, max(1, steps))
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    history = model.fit(
        pixels, turns, batch_size=64, epochs=options.pretrain, verbose=0,
        validation_data=turned(splits["val"]),
    ).history  # fmt: skip
    backbone.save_weights(path)
    said = {
        "images": len(pixels),
        "epochs": options.pretrain,
        "seconds": time.perf_counter() - start,
    }
    said |= {name: history[name][-1] for name in ("accuracy", "val_accuracy")}
    say(f"pretrained: {said['val_accuracy']:.1%} of four turns, {said['seconds']:.0f} s")
    return said


def turned(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Give the REAL images turned 0 to 3 times by 90 degrees, uint8 4N,S,S,3, and how often."""
    images = split.images[split.labels == 1]
    every = np.concatenate([np.rot90(images, turns, axes=(1, 2)) for turns in range(TURNS)])
    return every, np.repeat(np.arange(TURNS, dtype=np.int32), len(images))


def settings_of(way: tuple[str, str, str, float], weights: Path, layers: int) -> Params:
    """Give the paper's recipe with one way of the grid."""
    preprocessing, batchnorm, learning, momentum = way
    count = {"0": 0, "last 2/7": round(SHARE_OF_LAST_50 * layers), "all": "all"}[learning]
    base = params("model=resnet50", "train=paper")
    chosen = base.model["resnet50"].model_copy(
        update={
            "builder": NAME, "weights": str(weights), "input_size": SIZE,
            "preprocessing": preprocessing, "batchnorm": batchnorm, "trainable_layers": count,
            "bn_momentum": momentum,
        }
    )  # fmt: skip
    return base.model_copy(update={"model": {NAME: chosen}})


def transfer(
    way: tuple[str, str, str, float],
    splits: dict[str, Split],
    weights: Path,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Train REAL against FAKE in one way. Returns its accuracies and its diagnosis."""
    import keras

    from detector.diagnosis.normalization import diagnosis
    from detector.networks.model import build_model
    from detector.training.fit import train

    keras.utils.clear_session()
    keras.utils.set_random_seed(options.seed)
    base = settings_of(way, weights, len(resnet_small(False, None, (SIZE, SIZE, 3)).layers))
    recipe = base.train.model_copy(
        update={"epochs": options.epochs, "steps_per_epoch": options.steps}
    )
    side = splits["train"].images.shape[1]
    model = build_model(base.model[NAME], side, recipe.augmentation, options.seed)
    val = some(splits["val"], options.judged, options.seed)
    start = time.perf_counter()
    rate = base.model[NAME].learning_rate
    history = train(model, splits["train"], val, recipe, rate, options.seed, [], verbose=0)
    found = diagnosis(model, val.images, val.labels, recipe.batch_size)
    said = {
        **dict(zip(GRID, way, strict=True)),
        "training_accuracy": history["accuracy"],
        "validation_accuracy": history["val_accuracy"],
        "seconds": time.perf_counter() - start,
        **found,
    }
    say(
        f"{', '.join(map(str, way))}: training {history['accuracy'][-1]:.1%}, validation "
        f"{history['val_accuracy'][-1]:.1%}, by batch statistics {found['accuracy']['batch']:.1%}"
    )
    return said


def some(split: Split, count: int, seed: int) -> Split:
    """Give so many images of a split, mixed."""
    rows = np.random.default_rng(seed).permutation(len(split))[:count]
    return Split(*(getattr(split, name)[rows] for name in ("images", "labels", "classes", "names")))


def way_of(run: dict[str, Any]) -> Way:
    """Give what the table and the figure show of a run."""
    from detector.diagnosis.normalization import summary

    found = summary(run)
    return Way(
        *(run[key] for key in GRID),
        run["training_accuracy"][-1],
        *(found["accuracy"][name] for name in ("moving", "batch")),
        found["mean_apart"],
        found["variance_apart"],
        found["activations_of_real"]["end"]["spread"],
    )


def made_of(result: dict[str, Any]) -> str:
    """Say what the figures are of."""
    pre, machine = result["pretraining"], result["machine"]
    versions = ", ".join(f"{name} {value}" for name, value in machine["versions"].items())
    return (
        f"Backbone pretrained on {pre['images']:,} turned REAL images in {pre['epochs']} epochs "
        f"({100 * pre['val_accuracy']:.1f} % of four turns); each way {result['epochs']} epochs of "
        f"{result['steps']} steps of 64 of {result['images']['train']:,} images, seed "
        f"{result['seed']}; {result['seconds'] / 60:.0f} minutes in all. {machine['cpu']}, "
        f"{machine['cores']} cores, Python {machine['python']}, {versions}."
    )


def write(result: dict[str, Any], folder: Path) -> None:
    """Write collapse.json, collapse.md and collapse.png."""
    folder.mkdir(parents=True, exist_ok=True)
    ways = [way_of(run) for run in result["runs"]]
    text = markdown(ways, made_of(result))
    with (
        replacing(folder / "collapse.json") as data,
        replacing(folder / "collapse.md") as table,
        replacing(folder / "collapse.png") as picture,
    ):
        data.write_text(json.dumps(rounded(result), indent=1) + "\n", encoding="utf-8")
        table.write_text(text, encoding="utf-8")
        style.save(figure(ways), picture)
    print(text)


if __name__ == "__main__":
    run(main)
