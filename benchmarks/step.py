"""Part step: a training step with the real input path against the step on a resident batch."""

import argparse
import itertools
import statistics
from typing import Any

from benchmarks.common import Measured, pairs, params_of, row, run_part, say
from detector.base.arrays import Split, load_split
from detector.networks.runtime import start_keras

SMALL, LARGE = 1.05, 1.01  # bars of cnn32 and of the backbones of keras.applications
# Seconds of a lap. What disturbs the machine for longer than that falls on both ways alike, and of
# many laps the median is steady.
LAP = 0.25


def measure(options: argparse.Namespace) -> Measured:
    """Time pairs for each network."""
    split = load_split(options.arrays / "train")
    names = ("cnn32",) if options.quick else ("cnn32", "resnet50", "inceptionv3")
    figures = {name: paired(name, split, options) for name in names}
    rows = []
    for name, found in figures.items():
        bar = SMALL if name == "cnn32" else LARGE
        what = f"{name}: step with input path / step on a resident batch"
        rows.append(row(what, found["median_ratio"], "ratio", at_most=bar))
    for name, found in figures.items():
        what = f"{name}: share of an epoch that making its batches alone takes"
        rows.append(row(what, 100 * found["input_share_of_epoch"], "%"))
    return figures, rows


def paired(name: str, split: Split, options: argparse.Namespace) -> dict[str, Any]:
    """Time laps of one `fit` and laps on a resident batch in turn, for --seconds --repeats times.

    Each lap of the `fit` is divided by the mean of the laps before and after it.
    """
    params = params_of(name, options)
    start_keras(params.seed, params.train.deterministic, params.train.precision)
    from benchmarks.stretches import Resident, Turns, compiled, delivered, fit_seconds, whole
    from detector.networks.batches import TrainingBatches  # imports Keras

    batch_size = min(params.train.batch_size, len(split))
    model = compiled(params, split.images.shape[1], params.seed)
    each = fit_seconds(model, split, batch_size, 10)
    lap = whole(model, max(1, round(LAP / each)))
    laps = max(3, round(options.seconds * options.repeats / (2 * lap * each)))
    turns = Turns(Resident(model, split, batch_size), lap)
    batches = TrainingBatches(split, batch_size, lap * (laps + 1), seed=1)
    model.fit(batches, shuffle=False, verbose=0, callbacks=[turns])
    around = [sum(both) / 2 for both in itertools.pairwise(turns.resident)]
    compared = pairs(turns.fitted, around)
    low, middle, high = statistics.quantiles(compared["ratios"])
    say(f"step: {name}: {middle:.4f} ({low:.3f} to {high:.3f}), {laps} laps of {lap} steps")
    rates = [delivered(split, batch_size, options.seconds / 5) for _ in range(options.repeats)]
    rate = statistics.median(rates)
    return {
        "batch_size": batch_size,
        "steps_per_execution": model.steps_per_execution,
        "steps_a_lap": lap,
        "seconds_per_step_with_input_path": turns.fitted,
        "seconds_per_step_on_resident_batch": turns.resident,
        **compared,
        "quartiles_of_ratios": [low, high],
        "batches_alone_images_per_second": rates,
        "input_share_of_epoch": batch_size / rate / statistics.median(turns.fitted),
    }


if __name__ == "__main__":
    run_part("step", measure, __doc__)
