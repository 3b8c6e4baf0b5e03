"""Part execution: what other ways of running the same training step of cnn32 take."""

import argparse
import statistics
from collections.abc import Callable
from typing import Any

from benchmarks.common import Measured, pairs, params_of, row, run_part, say
from detector.base.arrays import Split, load_split
from detector.networks.runtime import start_keras
from detector.params import Params

TF_DATA = "input by tf.data, shuffled in memory"
# name: changes of the recipe
WAYS: dict[str, dict[str, Any]] = {
    "steps_per_execution 8": {"steps_per_execution": 8},
    "precision mixed_bfloat16": {"precision": "mixed_bfloat16"},
    "XLA": {"xla": True},
    TF_DATA: {},
}


def measure(options: argparse.Namespace) -> Measured:
    """Time each way in turn with the recipe's own."""
    split = load_split(options.arrays / "train")
    params = params_of("cnn32", options)
    # TensorFlow has no XLA where operations must be deterministic.
    start_keras(params.seed, deterministic=False)
    own = {"precision": "float32", "xla": False, "steps_per_execution": 1}
    default = way(params, own, split)
    figures = {}
    for name, changes in WAYS.items():
        other = way(params, own | changes, split, tf_data=name == TF_DATA)
        figures[name] = compared(name, other, default, options)
    rows = [
        row(f"cnn32: step, {name} / by default", found["median_ratio"], "ratio")
        for name, found in figures.items()
    ]
    return figures, rows


def way(
    params: Params, changes: dict[str, Any], split: Split, tf_data: bool = False
) -> Callable[[float], float]:
    """Compile cnn32 with a changed recipe. Returns what gives the seconds of a step of `fit`.

    That takes about how many seconds to measure for. tf_data: with the input path that most others
    have, `from_tensor_slices` with `shuffle`, `batch` and `prefetch`, in the place of
    TrainingBatches.
    """
    import keras

    from benchmarks.stretches import compiled, fit_seconds, steps_for, tf_data_seconds

    recipe = params.train.model_copy(update=changes)
    keras.config.set_dtype_policy(recipe.precision)
    changed = params.model_copy(update={"train": recipe})
    model = compiled(changed, split.images.shape[1], params.seed)
    keras.config.set_dtype_policy("float32")
    batch_size = min(recipe.batch_size, len(split))
    fit = tf_data_seconds if tf_data else fit_seconds
    fit(model, split, batch_size, 3)
    trial = fit(model, split, batch_size, 10 * recipe.steps_per_execution)
    return lambda seconds: fit(model, split, batch_size, steps_for(seconds, trial))


def compared(
    name: str,
    other: Callable[[float], float],
    default: Callable[[float], float],
    options: argparse.Namespace,
) -> dict[str, Any]:
    """Time two ways in turn; which one comes first changes from pair to pair."""
    others: list[float] = []
    defaults: list[float] = []
    ways = [(others, other), (defaults, default)]
    for turn in range(options.repeats):
        for times, timed in ways if turn % 2 else reversed(ways):
            times.append(timed(options.seconds / 2))
    found = pairs(others, defaults)
    say(f"execution: {name}: {found['median_ratio']:.3f}")
    return {
        "seconds_per_step": statistics.median(others),
        "seconds_per_step_by_default": statistics.median(defaults),
        **found,
    }


if __name__ == "__main__":
    run_part("execution", measure, __doc__)
