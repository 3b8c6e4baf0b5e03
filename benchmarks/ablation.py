"""What each choice in cnn32 and its recipe is worth: accuracy after the same number of images.

    python -m benchmarks.ablation --arrays data [--images 48000] [--seeds 1 2] [--only "GELU"]

Each variation changes one thing of cnn32 (conf/model/cnn32.yaml) or of the recipe train=fast, and
is trained from each seed. Writes <out>/ablation.json and <out>/ablation.md (default folder
benchmarks/results): accuracy on the whole validation set, parameters, operations for an image. No
seconds, so that it may run beside other work. What these files hold of the same number of images
and the same seeds stays: with --only, a part can be measured later.
"""

import argparse
import json
import logging
import statistics
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from tabulate import tabulate

from benchmarks import machine
from benchmarks.common import params, rounded, say
from benchmarks.variations import VARIATIONS, Variation
from detector.base.arrays import Split, load_split
from detector.base.files import replacing
from detector.base.program import run
from detector.networks.runtime import start_keras
from detector.params import Params

BASE = next(iter(VARIATIONS))


def trained(
    variation: Variation, settings: Params, splits: dict[str, Split], images: int, seed: int
) -> dict[str, Any]:
    """Train cnn32 with one variation from one seed. Returns accuracy, parameters, operations."""
    start_keras(seed)
    import keras

    from detector.diagnosis.cost import size
    from detector.networks import model as networks
    from detector.training import fit as training

    chosen = settings.model["cnn32"].model_copy(update=variation.model)
    changes = dict(variation.recipe)
    augmentation = settings.train.augmentation.model_copy(update=changes.pop("augmentation", {}))
    recipe = settings.train.model_copy(update={**changes, "augmentation": augmentation})
    steps = max(1, images // recipe.batch_size)
    recipe = recipe.model_copy(update={"epochs": 1, "steps_per_epoch": steps})
    keras.utils.clear_session()
    train, val = splits["train"], splits["val"]
    with ExitStack() as patches:
        if variation.network:
            patches.enter_context(mock.patch.object(networks.small, "cnn32", variation.network))
        model = networks.build_model(chosen, train.images.shape[1], augmentation, seed)
        callbacks = _change_training(variation, model, training, patches)
        rate = chosen.learning_rate
        training.train(model, train, val, recipe, rate, seed, callbacks, verbose=0)
    return {"accuracy": accuracy(model, val, variation.flip_at_test), **size(model)}


def _change_training(
    variation: Variation, model: Any, training: Any, patches: ExitStack
) -> list[Any]:
    """Put label smoothing and averaging into `training.train`. Returns callbacks for it."""
    import keras

    compile_model, make = model.compile, training.make_optimizer

    def compile_smoothed(optimizer: Any, loss: str, **others: Any) -> None:
        smoothed = keras.losses.BinaryCrossentropy(label_smoothing=variation.label_smoothing)
        compile_model(optimizer, loss=smoothed, **others)

    def make_averaging(*arguments: Any) -> Any:
        optimizer = make(*arguments)
        optimizer.use_ema, optimizer.ema_momentum = True, variation.average
        return optimizer

    if variation.label_smoothing:
        patches.enter_context(mock.patch.object(model, "compile", compile_smoothed))
    if variation.average:
        patches.enter_context(mock.patch.object(training, "make_optimizer", make_averaging))
    return []  # at the end of fit Keras puts the averages into the weights


def accuracy(model: Any, split: Split, flip: bool) -> float:
    """Give the share of the images predicted by their label, 0 to 1.

    flip: by the mean probability of the image and its mirror image.
    """
    real = model.predict(split.images, batch_size=500, verbose=0)[:, 0]
    if flip:
        mirrored = np.ascontiguousarray(split.images[:, :, ::-1])
        real = (real + model.predict(mirrored, batch_size=500, verbose=0)[:, 0]) / 2
    return float(((real > 0.5) == split.labels).mean())


def table(found: dict[str, dict[str, Any]], images: int, n: int) -> str:
    """Give the table in Markdown: differences are of means, over the same seeds."""
    base = found[BASE]["mean"] if BASE in found else None
    rows = [
        [
            name,
            f"{100 * each['mean']:.2f}",
            "" if base is None or name == BASE else f"{100 * (each['mean'] - base):+.2f}",
            " ".join(f"{100 * value:.2f}" for value in each["accuracies"]),
            f"{each['parameters']:,}",
            f"{each['flops_per_image'] / 1e6:.1f}",
        ]
        for name, each in found.items()
    ]
    heads = ["variation", "accuracy, %", "difference", "by seed", "parameters", "MFLOP an image"]
    made = tabulate(rows, heads, tablefmt="github", disable_numparse=True,
                    colalign=("left", "right", "right", "right", "right", "right"))  # fmt: skip
    return (
        f"{made}\n\nAfter training on {images:,} presentations; n = {n:,} validation images. The "
        "standard error of an accuracy of 95 % by chance of the images alone is "
        f"{100 * (0.95 * 0.05 / n) ** 0.5:.2f} points.\n"
    )


def earlier(path: Path, head: dict[str, Any]) -> dict[str, Any]:
    """Give the variations that a file has of the same images and seeds; none without a file."""
    if not path.exists():
        return {}
    result = json.loads(path.read_text(encoding="utf-8"))
    return result["variations"] if {key: result[key] for key in head} == head else {}


def main() -> None:
    """Run the variations and write the result after each."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arrays", required=True, type=Path, help="folder with train/ and val/")
    parser.add_argument("--images", type=int, default=48_000, help="presentations in training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", choices=VARIATIONS, default=list(VARIATIONS))
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder")
    options = parser.parse_args()
    # A new network for each run is no retracing to be warned of.
    logging.getLogger("tensorflow").setLevel(logging.ERROR)
    splits = {name: load_split(options.arrays / name) for name in ("train", "val")}
    settings = params("model=cnn32", "train=fast")
    head = {
        "images": options.images,
        "seeds": options.seeds,
        "validation_images": len(splits["val"]),
    }
    found = earlier(options.out / "ablation.json", head)
    for name in options.only:
        runs = [
            trained(VARIATIONS[name], settings, splits, options.images, seed)
            for seed in options.seeds
        ]
        accuracies = [each.pop("accuracy") for each in runs]
        found[name] = {"mean": statistics.mean(accuracies), "accuracies": accuracies, **runs[0]}
        say(f"{name}: {100 * found[name]['mean']:.2f} %")
        ordered = {key: found[key] for key in VARIATIONS if key in found}
        result = {**head, "variations": ordered, "machine": machine.describe()}
        with replacing(options.out / "ablation.json") as path:
            path.write_text(json.dumps(rounded(result), indent=2) + "\n", encoding="utf-8")
        with replacing(options.out / "ablation.md") as path:
            path.write_text(table(ordered, options.images, len(splits["val"])), encoding="utf-8")


if __name__ == "__main__":
    run(main)
