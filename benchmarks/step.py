"""Part step: a training step with the real input path against the step on a resident batch."""

import argparse
import statistics
from typing import Any

from benchmarks.common import Measured, pairs, params_of, row, run_part, say
from detector.data.arrays import Split, load_split
from detector.networks.runtime import start_keras

SMALL, LARGE = 1.05, 1.01  # bars of cnn32 and of the backbones of keras.applications
# Pairs for each of --repeats, in as many seconds: what disturbs the machine for longer than a short
# stretch then falls on both ways alike.
PAIRS = 6


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
    """Time both ways in turn; which one comes first changes from pair to pair.

    There are PAIRS of them for each of --repeats.
    """
    params = params_of(name, options)
    start_keras(params.seed, params.train.deterministic, params.train.precision)
    from benchmarks.stretches import Resident, compiled, delivered, fit_seconds, steps_for

    batch_size = min(params.train.batch_size, len(split))
    model = compiled(params, split.images.shape[1], params.seed)
    fit_seconds(model, split, batch_size, 3)
    resident = Resident(model, split, batch_size)
    steps = steps_for(options.seconds / PAIRS, resident.seconds(5))
    with_input, without = [], []
    for turn in range(PAIRS * options.repeats):
        ways = [
            (with_input, lambda: fit_seconds(model, split, batch_size, steps)),
            (without, lambda: resident.seconds(steps)),
        ]
        for times, way in ways if turn % 2 else reversed(ways):
            times.append(way())
    say(f"step: {name}: {pairs(with_input, without)['median_ratio']:.4f}")
    rates = [delivered(split, batch_size, options.seconds / 5) for _ in range(options.repeats)]
    rate = statistics.median(rates)
    return {
        "batch_size": batch_size,
        "steps": steps,
        "seconds_per_step_with_input_path": with_input,
        "seconds_per_step_on_resident_batch": without,
        **pairs(with_input, without),
        "batches_alone_images_per_second": rates,
        "input_share_of_epoch": batch_size / rate / statistics.median(with_input),
    }


if __name__ == "__main__":
    run_part("step", measure, __doc__)
