"""Train networks on the arrays with any Keras backend, without TensorFlow, DVC and DVCLive.

    KERAS_BACKEND=jax python -m benchmarks.runner --arrays data \
        --networks cnn32,resnet50,inceptionv3 --size 224 --epochs 1 --precision mixed_bfloat16

Prints for each network, as JSON: images a second (median of laps of training), seconds
and validation accuracy by epoch, and the share of the device's measured matrix-multiply peak in
that precision. --out keeps it in a file. Needs numpy, pandas, pydantic, pillow, scipy, PyYAML and
Keras with its backend; reads params.yaml, whose `model` must have the networks.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path
from typing import Any

import yaml

from benchmarks import machine
from detector.base.arrays import Split, load_split
from detector.base.errors import ExpectedError
from detector.networks.runtime import start_keras
from detector.params import Params, validate

UNWANTED = ("tensorflow", "dvc", "dvclive")
TRAINING = 3  # a backward pass takes two products for each one of the forward pass


def main() -> None:
    """Train each network and print what it took."""
    options = _arguments()
    params = validate(yaml.safe_load(options.params.read_text(encoding="utf-8")))
    names = options.networks.split(",")
    if unknown := set(names) - set(params.model):
        raise ExpectedError(
            f"{options.params}: model has no {', '.join(sorted(unknown))}; "
            "'python -m conf.compose model=all' brings all backbones"
        )
    train, val = load_split(options.arrays / "train"), load_split(options.arrays / "val")
    start_keras(params.seed, deterministic=False, precision=options.precision)
    import keras

    compute = keras.config.dtype_policy().compute_dtype
    peak = machine.matmul_peak(compute)
    report = {
        "machine": machine.describe(),
        "precision": keras.config.dtype_policy().name,
        "matmul_peak_flops_per_second": peak,
        "networks": {name: trained(name, params, train, val, peak, options) for name in names},
    }
    if keras.backend.backend() != "tensorflow":
        report["imported_of_tensorflow_dvc_dvclive"] = imported()
    text = json.dumps(report, indent=2)
    print(text)
    if options.out:
        options.out.write_text(text + "\n", encoding="utf-8")
    if report.get("imported_of_tensorflow_dvc_dvclive"):
        raise ExpectedError("the training core imported what it must do without, see above")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--arrays", required=True, type=Path, help="folder with train/ and val/")
    parser.add_argument("--params", type=Path, default=Path("params.yaml"))
    parser.add_argument("--networks", default="cnn32,resnet50,inceptionv3")
    parser.add_argument("--size", type=int, help="input of those of keras.applications, pixels")
    parser.add_argument("--epochs", type=int, default=1)
    parser.add_argument("--steps", type=int, help="of an epoch; else the whole training set")
    parser.add_argument("--batch", type=int, help="images; else params.yaml's")
    parser.add_argument("--learning-rate", type=float, help="else params.yaml's")
    parser.add_argument("--validation", type=int, help="only so many images")
    parser.add_argument("--precision", default="float32", help="auto or a Keras dtype policy")
    parser.add_argument("--lap", type=int, default=20, help="steps timed together")
    parser.add_argument("--out", type=Path, help="JSON file")
    return parser.parse_args()


def trained(
    name: str, params: Params, train: Split, val: Split, peak: float, options: argparse.Namespace
) -> dict[str, Any]:
    """Train one network. Returns its speed, and seconds and accuracy by epoch."""
    import keras

    from benchmarks.stretches import Laps
    from detector.diagnosis import cost
    from detector.networks.model import build_model
    from detector.training import fit as training
    from detector.training.clock import EpochClock

    settings, recipe = params.model[name], params.train
    if options.size and not settings.own:
        settings = settings.model_copy(update={"input_size": options.size})
    changes = {"deterministic": False, "epochs": options.epochs, "batch_size": options.batch}
    changes |= {"steps_per_epoch": options.steps or recipe.steps_per_epoch}
    recipe = recipe.model_copy(update={k: v for k, v in changes.items() if v is not None})
    keras.utils.set_random_seed(params.seed)
    model = build_model(settings, train.images.shape[1], recipe.augmentation, params.seed)
    size, clock = cost.size(model), EpochClock()
    batch_size = min(recipe.batch_size, len(train))
    laps = Laps(options.lap)
    rate = options.learning_rate or settings.learning_rate
    validation = some(val, options.validation)
    callbacks = [laps, clock]
    history = training.train(
        model, train, validation, recipe, rate, params.seed, callbacks, verbose=0
    )
    speed = batch_size / statistics.median(laps.seconds) if laps.seconds else None
    share = speed and TRAINING * size["flops_per_image"] * speed / peak
    print(f"{name}: {speed and round(speed)} images/s", file=sys.stderr, flush=True)
    return {
        "input_pixels": size["input_pixels"],
        "batch_size": batch_size,
        "xla": training.use_xla(recipe),
        "parameters": size["parameters"],
        "trainable_parameters": size["trainable_parameters"],
        "flops_per_image": size["flops_per_image"],
        "images_per_second": speed,
        "share_of_peak": share,
        "laps": len(laps.seconds),
        "epochs": [
            {"seconds": epoch.ended, "training_seconds": epoch.training, "val_accuracy": accuracy}
            for epoch, accuracy in zip(clock.epochs, history["val_accuracy"], strict=True)
        ],
    }


def some(split: Split, count: int | None) -> Split:
    """Give `count` images of a split, evenly spread; all without a count."""
    if count is None or count >= len(split):
        return split
    step = len(split) // count
    taken = slice(0, step * count, step)
    return Split(split.images[taken], split.labels[taken], split.classes[taken], split.names[taken])


def imported() -> list[str]:
    """Name the packages that this process has imported although training must do without."""
    return [name for name in UNWANTED if name in sys.modules]


if __name__ == "__main__":
    try:
        main()
    except ExpectedError as error:
        sys.exit(f"error: {error}")
