"""Why a transferred ResNet learns and then answers by chance: a demonstration that fetches nothing.

    python -m benchmarks.collapse --arrays data [--steps 300] [--epochs 2] [--pretrain 3]

A small ResNet of the kind of ResNet-50 (keras' own builder, bottleneck blocks) is pretrained on the
CIFAR-10 class of the REAL training images, with the preprocessing of Keras' ImageNet ResNet-50 (BGR
less a mean, no scaling). From these weights it is transferred to REAL against FAKE in every way of
the grid: preprocessing, BatchNormalization trained or frozen, layers that learn, momentum of the
moving statistics. Everything else is the paper's recipe (train=paper), at 64 instead of 224 pixels.
After each way stand, on the same validation images, the accuracies by moving and by batch
statistics, activations at three depths, and the distance of the two statistics in every layer.

The arrays must be of an archive under CIFAKE's names, which tell the class. Writes
<out>/collapse.json, collapse.md and collapse.png.
"""

import argparse
import itertools
import json
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
from detector.data.arrays import Split, load_split
from detector.data.layout import CIFAR_CLASSES, cifar_class
from detector.errors import ExpectedError
from detector.files import replacing
from detector.networks.backbones import BACKBONES, Backbone
from detector.networks.runtime import start_keras
from detector.params import Params
from stages.common import run

NAME, SIZE = "resnet_small", 64
# As ResNet-50's last 50 of 175 layers: the last stage and the end of the one before it.
SHARE_OF_LAST_50 = 50 / 175
GRID = {
    "preprocessing": ("rescale", "imagenet"),
    "batchnorm": ("train", "frozen"),
    "trainable_layers": ("0", "last 2/7", "all"),
    "bn_momentum": (0.99, 0.9),
}
PAPER = ("rescale", "train", "last 2/7", 0.99)


class SmallResNet(Backbone):
    """ResNet-50's stem and four stages of two bottleneck blocks, a quarter as wide."""

    def build(self, input_pixels: int, weights: str | None) -> Any:
        """Give the network for float N,S,S,3; weights: a path, or None for random ones."""
        # Not public, but the builder of every ResNet of keras.applications.
        from keras.src.applications import resnet

        def stages(x: Any) -> Any:
            for i, width in enumerate((16, 32, 64, 128), start=2):
                stride = 1 if i == 2 else 2
                x = resnet.stack_residual_blocks_v1(x, width, 2, stride1=stride, name=f"conv{i}")
            return x

        network = resnet.ResNet(
            stages, preact=False, use_bias=True, include_top=False, weights=None,
            input_shape=(input_pixels, input_pixels, 3), name=NAME,
        )  # fmt: skip
        if weights is not None:
            network.load_weights(weights)
        return network


def main() -> None:
    """Pretrain, transfer in every way, write the results."""
    options = parse()
    splits = {name: load_split(options.arrays / name) for name in ("train", "val")}
    start_keras(options.seed)
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
    command.add_argument("--pretrain", type=int, default=3, help="epochs of the pretraining")
    command.add_argument("--judged", type=int, default=2048, help="validation images")
    command.add_argument("--seed", type=int, default=1)
    command.add_argument("--only-paper", action="store_true", help="the paper's way and its cure")
    return command.parse_args()


@contextmanager
def known_backbone() -> Iterator[None]:
    """Let `resnet_small` be a backbone like all others."""
    with mock.patch.dict(BACKBONES, {NAME: SmallResNet("ResNet", "resnet", minimum_size=32)}):
        yield


def ways(only_paper: bool) -> list[tuple[str, str, str, float]]:
    """Give the ways of the grid that differ.

    The momentum is of no effect without a BatchNormalization that learns, and there is none when no
    layer learns; such ways stand once, with 0.99.
    """
    if only_paper:
        return [PAPER, ("imagenet", "train", "all", 0.9)]
    return [
        way
        for way in itertools.product(*GRID.values())
        if (way[1] == "train" and way[2] != "0") or (way[1], way[3]) == ("frozen", 0.99)
    ]


def pretrain(splits: dict[str, Split], path: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Train the backbone to tell CIFAR-10's classes of REAL images; write its weights to `path`."""
    import keras

    start = time.perf_counter()
    pixels, classes = real_images(splits["train"])
    val_pixels, val_classes = real_images(splits["val"])
    backbone = BACKBONES[NAME].build(SIZE, None)
    layers = keras.layers
    images = keras.Input((pixels.shape[1], pixels.shape[1], 3), dtype="uint8")
    x = layers.Resizing(SIZE, SIZE)(layers.Rescaling(1.0)(images))
    x = layers.RandomFlip("horizontal", seed=options.seed)(x)
    from detector.networks.model import ImageNetPreprocessing

    x = backbone(ImageNetPreprocessing(NAME)(x))
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, layers.Dense(len(CIFAR_CLASSES), activation="softmax")(x))
    steps = options.pretrain * (len(pixels) // 64)
    rate = keras.optimizers.schedules.CosineDecay(1e-3, max(1, steps))
    model.compile(
        keras.optimizers.Adam(rate), "sparse_categorical_crossentropy", metrics=["accuracy"]
    )
    history = model.fit(
        pixels, classes, batch_size=64, epochs=options.pretrain, verbose=0,
        validation_data=(val_pixels, val_classes),
    ).history  # fmt: skip
    backbone.save_weights(path)
    said = {
        "images": len(pixels),
        "epochs": options.pretrain,
        "seconds": time.perf_counter() - start,
    }
    said |= {name: history[name][-1] for name in ("accuracy", "val_accuracy")}
    say(f"pretrained: {said['val_accuracy']:.1%} of ten classes, {said['seconds']:.0f} s")
    return said


def real_images(split: Split) -> tuple[np.ndarray, np.ndarray]:
    """Give the REAL images, uint8 N,S,S,3, and their classes, int N."""
    rows = np.flatnonzero(split.labels == 1)
    classes = [cifar_class(split.names[row].decode()) for row in rows]
    if None in classes:
        raise ExpectedError(
            f"{split.names[rows[classes.index(None)]].decode()}: the name tells no class of "
            "CIFAR-10; this needs an archive under CIFAKE's names"
        )
    return split.images[rows], np.array(classes, np.int32)


def settings_of(way: tuple[str, str, str, float], weights: Path, layers: int) -> Params:
    """Give the paper's recipe with one way of the grid."""
    preprocessing, batchnorm, learning, momentum = way
    count = {"0": 0, "last 2/7": round(SHARE_OF_LAST_50 * layers), "all": "all"}[learning]
    base = params("model=resnet50", "train=paper")
    chosen = base.model["resnet50"].model_copy(
        update={
            "backbone": NAME, "weights": str(weights), "input_size": SIZE,
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

    from detector.networks.model import build_model
    from detector.networks.normalization import diagnosis
    from detector.networks.training import train

    keras.utils.clear_session()
    keras.utils.set_random_seed(options.seed)
    base = settings_of(way, weights, len(BACKBONES[NAME].build(SIZE, None).layers))
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


def write(result: dict[str, Any], folder: Path) -> None:
    """Write collapse.json, collapse.md and collapse.png."""
    from benchmarks.collapse_report import figure, markdown
    from detector.figures import style

    folder.mkdir(parents=True, exist_ok=True)
    text = markdown(result)
    with (
        replacing(folder / "collapse.json") as data,
        replacing(folder / "collapse.md") as table,
        replacing(folder / "collapse.png") as picture,
    ):
        data.write_text(json.dumps(rounded(result), indent=1) + "\n", encoding="utf-8")
        table.write_text(text, encoding="utf-8")
        style.save(figure(result), picture)
    print(text)


if __name__ == "__main__":
    run(main)
