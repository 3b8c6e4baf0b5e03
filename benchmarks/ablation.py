"""What each choice in cnn32 and its recipe is worth: accuracy after the same number of images.

    python -m benchmarks.ablation --arrays data [--images 48000] [--seeds 1 2] [--only base no_flip]

Each variation changes one thing of cnn32 (conf/model/cnn32.yaml) or of the recipe train=fast, and
is trained from each seed. Prints a line of JSON for each: validation accuracy by seed, their mean,
parameters, operations for an image, and seconds of training (compilation included), which say
little where other work runs beside.
"""

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import yaml

from conf.compose import compose
from detector.data.arrays import Split, load_split
from detector.networks.runtime import start_keras
from detector.params import validate

Network = Callable[[int], Any]


def variant(
    widths: tuple[int, ...] = (24, 48, 96),
    activation: str = "relu",
    kernel: int = 3,
    extra: int = 0,
) -> Network:
    """Give a builder like detector.networks.small.cnn32, with other widths, activation or depth.

    kernel: of the first layer. extra: convolutions added at the coarsest resolution.
    """

    def build(size: int) -> Any:
        import keras

        layers = keras.layers
        images = keras.Input((size, size, 3))
        x = images
        for i, width in enumerate([*widths, *[widths[-1]] * extra]):
            if 0 < i < len(widths):
                x = layers.MaxPooling2D()(x)
            side = 3 if i else kernel
            x = layers.Conv2D(width, side, padding="same", use_bias=False)(x)
            x = layers.Activation(activation)(layers.BatchNormalization()(x))
        return keras.Model(images, x)

    return build


# name: network or None, changes of the model's settings, changes of the recipe
VARIATIONS: dict[str, tuple[Network | None, dict[str, Any], dict[str, Any]]] = {
    "base": (None, {}, {}),
    "narrower_16_32_64": (variant((16, 32, 64)), {}, {}),
    "wider_32_64_128": (variant((32, 64, 128)), {}, {}),
    "one_more_convolution": (variant(extra=1), {}, {}),
    "four_resolutions": (variant((24, 48, 96, 192)), {}, {}),
    "first_kernel_5": (variant(kernel=5), {}, {}),
    "gelu": (variant(activation="gelu"), {}, {}),
    "max_pooling_at_the_end": (None, {"pooling": "max"}, {}),
    "hidden_layer_of_64": (None, {"dense_units": 64}, {}),
    "rate_0.001": (None, {"learning_rate": 0.001}, {}),
    "rate_0.01": (None, {"learning_rate": 0.01}, {}),
    "batch_32": (None, {}, {"batch_size": 32}),
    "batch_128": (None, {"learning_rate": 0.006}, {"batch_size": 128}),
    "constant_rate_0.001": (None, {"learning_rate": 0.001}, {"schedule": "constant"}),
    "cosine": (None, {}, {"schedule": "cosine"}),
    "nesterov_rate_0.1": (None, {"learning_rate": 0.1}, {"optimizer": "sgd"}),
    "adamw": (None, {}, {"optimizer": "adamw"}),
    "no_flip": (None, {}, {"augmentation": {"horizontal_flip": False}}),
}


def run(name: str, params: Any, splits: dict[str, Split], images: int, seed: int) -> dict[str, Any]:
    """Train one variation from one seed and judge it on the whole validation set."""
    start_keras(seed)
    import keras

    from detector.networks import model as networks
    from detector.networks.cost import size
    from detector.networks.training import train

    network, of_model, of_recipe = VARIATIONS[name]
    settings = params.model["cnn32"].model_copy(update=of_model)
    augmentation = params.train.augmentation.model_copy(update=of_recipe.get("augmentation", {}))
    recipe = params.train.model_copy(update=of_recipe | {"augmentation": augmentation, "epochs": 1})
    recipe = recipe.model_copy(update={"steps_per_epoch": images // recipe.batch_size})
    keras.utils.clear_session()
    with mock.patch.object(networks.small, "cnn32", network or networks.small.cnn32):
        model = networks.build_model(settings, 32, augmentation, seed)
    start = time.perf_counter()
    rate = settings.learning_rate
    history = train(model, splits["train"], splits["val"], recipe, rate, seed, [], verbose=0)
    spent = time.perf_counter() - start
    return {"accuracy": history["val_accuracy"][-1], "seconds": spent, **size(model)}


def main() -> None:
    """Run the variations and print a line for each."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--arrays", required=True, help="folder with train/ and val/ of preprocess")
    parser.add_argument("--images", type=int, default=48_000, help="presentations in training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--only", nargs="+", choices=VARIATIONS, default=list(VARIATIONS))
    arguments = parser.parse_args()
    splits = {name: load_split(Path(arguments.arrays, name)) for name in ("train", "val")}
    with tempfile.TemporaryDirectory() as folder:
        compose(Path(folder, "params.yaml"), ["model=cnn32", "train=fast"])
        params = validate(yaml.safe_load(Path(folder, "params.yaml").read_text()))
    for name in arguments.only:
        runs = [run(name, params, splits, arguments.images, seed) for seed in arguments.seeds]
        accuracies = [round(each["accuracy"], 4) for each in runs]
        line = {
            "variation": name,
            "mean": round(statistics.mean(accuracies), 4),
            "accuracies": accuracies,
            "seconds": [round(each["seconds"], 1) for each in runs],
            "parameters": runs[0]["parameters"],
            "flops_per_image": runs[0]["flops_per_image"],
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
