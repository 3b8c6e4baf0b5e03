"""Part accuracy: how long cnn32 and the networks of others take to an accuracy."""

import argparse
import math
import statistics
from collections.abc import Sequence
from typing import Any

from benchmarks.common import Measured, median, params_of, row, run_part, say
from detector.base.arrays import Split, load_split
from detector.networks.runtime import start_keras
from detector.networks.whitening import fit_first_layer

BIRD_EPOCHS = 5
FIFTH = 0.2  # of bird_lotfi's time for its epochs
GAIN = 2.0  # points over bird_lotfi
SAFETY = 0.95  # share of a budget that a run is planned for
ENDLESS = 10_000_000  # steps
# Of the three runs of cnn32.
BUDGETS = ("1/5 of bird_lotfi's time", "the given minutes", "bird_lotfi's time")

Run = dict[str, Any]


def measure(options: argparse.Namespace) -> Measured:
    """Train all networks with each seed, in turn, and compare their curves."""
    train, val = load_split(options.arrays / "train"), load_split(options.arrays / "val")
    start_keras(1)
    seeds = range(1, options.repeats + 1)
    runs = [run for seed in seeds for run in all_runs(train, val, seed, options)]
    compared, rows = compare(runs, options.cnn32_minutes)
    figures = {
        "bird_lotfi_epochs": 1 if options.quick else BIRD_EPOCHS,
        "reference_minutes": options.reference_minutes,
        "cnn32_minutes": options.cnn32_minutes,
        "validation_images": min(options.validation or len(val), len(val)),
        "clock": "includes input; excludes compilation (compile_seconds) and validation",
        "by_seed": compared,
        "runs": runs,
    }
    return figures, rows


def all_runs(train: Split, val: Split, seed: int, options: argparse.Namespace) -> list[Run]:
    """Train bird_lotfi, cnn32 for its three budgets, and the reference network."""
    from benchmarks.contestants import Contestant, reference
    from benchmarks.stretches import compiled

    bird = params_of("bird_lotfi", options)
    # As its authors did: Keras' Adam as it is, and no augmentation.
    plain = bird.train.augmentation.model_copy(update={"horizontal_flip": False})
    recipe = bird.train.model_copy(
        update={
            "optimizer": "adam",
            "schedule": "constant",
            "batch_size": 32,
            "augmentation": plain,
        }
    )
    bird = bird.model_copy(update={"train": recipe})
    size = train.images.shape[1]
    contestant = Contestant(compiled(bird, size, seed), train, 32, seed)
    epochs = 1 if options.quick else BIRD_EPOCHS
    steps = epochs * (len(train) // contestant.batch_size)
    runs = [one_run("bird_lotfi", contestant, steps, math.inf, val, seed, options)]
    whole = runs[0]["curve"][-1]["seconds"]
    budgets = (FIFTH * whole, 60 * options.cnn32_minutes, whole)
    lengths = cnn32_steps(budgets, train, seed, options)
    cnn32 = params_of("cnn32", options)
    for budget, name, steps in zip(budgets, BUDGETS, lengths, strict=True):
        model = compiled(cnn32, size, seed, steps)
        fit_first_layer(model, train.images)
        contestant = Contestant(model, train, cnn32.train.batch_size, seed)
        run = one_run(f"cnn32 in {name}", contestant, steps, math.inf, val, seed, options)
        runs.append(run | {"budget": budget})
    contestant = Contestant(reference(size, seed), train, 128, seed)
    limit = 60 * options.reference_minutes
    runs.append(one_run("reference", contestant, ENDLESS, limit, val, seed, options))
    return runs


def cnn32_steps(
    budgets: Sequence[float], train: Split, seed: int, options: argparse.Namespace
) -> list[int]:
    """Give how many steps of cnn32 fit into each budget of seconds, by a trial.

    Its schedule needs to know its length. With --cnn32-epochs the lengths are those.
    """
    from benchmarks.stretches import compiled, fit_seconds, steps_for

    params = params_of("cnn32", options)
    batch_size = min(params.train.batch_size, len(train))
    if options.cnn32_epochs:
        epochs = options.cnn32_epochs
        return [max(1, round(count * len(train) / batch_size)) for count in epochs]
    trial = compiled(params, train.images.shape[1], seed)
    fit_seconds(trial, train, batch_size, 3)
    steps = steps_for(options.seconds, fit_seconds(trial, train, batch_size, 10))
    each = fit_seconds(trial, train, batch_size, steps)
    return [max(1, math.floor(SAFETY * budget / each)) for budget in budgets]


def one_run(
    name: str,
    contestant: Any,
    steps: int,
    limit: float,
    val: Split,
    seed: int,
    options: argparse.Namespace,
) -> Run:
    """Compile, train and judge one network."""
    from benchmarks.contestants import Judge

    judge = Judge(val, options.validation, contestant.batch_size, limit)
    compile_seconds = contestant.compile_now(judge)
    curve = contestant.train(steps, judge)
    last = curve[-1]
    say(f"accuracy: {name}, seed {seed}: {last['accuracy']:.4f} in {last['seconds']:.1f} s")
    return {
        "name": name,
        "seed": seed,
        "batch_size": contestant.batch_size,
        "trainable_parameters": sum(
            math.prod(v.shape) for v in contestant.model.trainable_variables
        ),
        "compile_seconds": compile_seconds,
        "curve": curve,
    }


def time_to(runs: list[Run], accuracy: float) -> float | None:
    """Give the seconds of the first point of any run that has the accuracy; None without one."""
    points = [point for run in runs for point in run["curve"] if point["accuracy"] >= accuracy]
    return min((point["seconds"] for point in points), default=None)


def compare(runs: list[Run], minutes: float) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Compare the runs of each seed. Returns the comparisons and the rows of their medians."""
    compared = []
    for seed in sorted({run["seed"] for run in runs}):
        mine = {run["name"]: run for run in runs if run["seed"] == seed}
        cnn32 = [run for name, run in mine.items() if name.startswith("cnn32")]
        bird, other = (mine[name]["curve"][-1] for name in ("bird_lotfi", "reference"))
        ends = {budget: mine[f"cnn32 in {budget}"]["curve"][-1] for budget in BUDGETS}
        to_bird = time_to(cnn32, bird["accuracy"])
        compared.append(
            {
                "seed": seed,
                "bird_lotfi_accuracy": bird["accuracy"],
                "bird_lotfi_seconds": bird["seconds"],
                "cnn32_seconds_to_bird_lotfi": to_bird,
                "ratio_to_bird_lotfi": to_bird and to_bird / bird["seconds"],
                "reference_accuracy": other["accuracy"],
                "reference_seconds": other["seconds"],
                "cnn32_seconds_to_reference": time_to(cnn32, other["accuracy"]),
                "cnn32_accuracy": {budget: end["accuracy"] for budget, end in ends.items()},
                "cnn32_seconds": {budget: end["seconds"] for budget, end in ends.items()},
                "points_over_bird_lotfi": 100 * (ends[BUDGETS[-1]]["accuracy"] - bird["accuracy"]),
            }
        )
    return compared, table_rows(compared, minutes)


def table_rows(compared: list[dict[str, Any]], minutes: float) -> list[dict[str, Any]]:
    """Give the rows: medians over the seeds."""

    def middle(key: str) -> float | None:
        return median([entry[key] for entry in compared])

    def percent(key: str) -> float:
        return 100 * statistics.median(entry[key] for entry in compared)

    rows = [
        row("bird_lotfi: accuracy at its end", percent("bird_lotfi_accuracy"), "%"),
        row("bird_lotfi: seconds", middle("bird_lotfi_seconds"), "s"),
        row(
            "cnn32: time to that accuracy / bird_lotfi's time",
            middle("ratio_to_bird_lotfi"), "ratio", at_most=FIFTH,
        ),
        row("reference network: accuracy at its end", percent("reference_accuracy"), "%"),
        row("reference network: seconds", middle("reference_seconds"), "s"),
        row(
            "cnn32: seconds to that accuracy",
            middle("cnn32_seconds_to_reference"), "s", at_most=60 * minutes,
        ),
        row(
            "cnn32: points over bird_lotfi, in the same time",
            middle("points_over_bird_lotfi"), "points", at_least=GAIN,
        ),
    ]  # fmt: skip
    for budget in BUDGETS:
        accuracies = [entry["cnn32_accuracy"][budget] for entry in compared]
        what = f"cnn32: accuracy in {budget}"
        rows.append(row(what, 100 * statistics.median(accuracies), "%"))
    return rows


if __name__ == "__main__":
    run_part("accuracy", measure, __doc__)
