"""Stage train: one backbone learns on data/train and is watched on data/val.

With train.strategy multiworker every worker runs it; worker 0, the chief, writes the outs.
"""

import argparse
import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import yaml

from detector import timings
from detector.base.arrays import Split, load_split
from detector.base.files import replacing
from detector.base.params import read_params
from detector.base.program import run
from detector.base.section import Seed, Threads
from detector.networks.runtime import start_keras
from detector.networks.settings import Models
from detector.training.settings import TrainParams

if TYPE_CHECKING:
    from detector.training.checkpoint import Fingerprint
    from detector.training.distribution import Distribution

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Write weights, history and DVCLive's log of the backbone `--model`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a key of `model` in params.yaml")
    name = parser.parse_args().model
    params = read_params(seed=Seed, threads=Threads, model=Models, train=TrainParams)
    splits = load_split("data/train"), load_split("data/val")

    start_keras(params.seed, params.train.deterministic, params.train.precision, params.threads)
    from detector.training.distribution import distribute, reporting_lost_workers

    distribution = distribute(params.train.strategy)
    mark = fingerprint_of(name, params)
    if distribution is None:
        train_and_write(name, params, splits, mark)
        return
    with reporting_lost_workers():
        distribution.require_equal(mark)
        distribution.require_rows(params.train.batch_size, len(splits[0]))
        if distribution.chief:
            train_and_write(name, params, splits, mark, distribution)
        else:
            help_to_train(name, params, splits, distribution)
        distribution.wait_for_all()


def fingerprint_of(name: str, params: Any) -> "Fingerprint":
    """Give the hashes of all that the weights depend on.

    The code is what dvc.yaml declares for this stage: some are imported late.
    """
    from detector.training.checkpoint import fingerprint

    settings = params.model[name]
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    deps = pipeline["stages"]["train"]["do"]["deps"]
    return fingerprint(
        [params.seed, params.threads, settings, params.train],
        ["data/train", "data/val", f"models/start/{settings.weights}"],
        [ROOT / dep for dep in deps if dep.startswith(("detector", "stages"))],
    )


def train_and_write(
    name: str,
    params: Any,
    splits: tuple[Split, Split],
    mark: "Fingerprint",
    distribution: "Distribution | None" = None,
) -> None:
    """Train, with a log and checkpoints, and write the outs."""
    from dvclive import Live
    from dvclive.keras import DVCLiveCallback

    from detector.networks.model import save_weights
    from detector.training.checkpoint import Checkpoint, tell_of_others
    from detector.training.clock import EpochClock
    from detector.training.fit import train

    settings, recipe = params.model[name], params.train
    model = build(name, params, splits[0], distribution)
    clock = EpochClock()
    kept = Path(f".work/checkpoints/{name}/{mark.digits}.npz")
    tell_of_others(kept)
    logs = Path(f".work/dvclive/{name}")
    shutil.rmtree(logs, ignore_errors=True)  # of a run that was killed
    # No dvc.yaml, experiment or report from DVCLive: the pipeline has its own.
    live = Live(str(logs), dvcyaml=False, save_dvc_exp=False, report=None)
    logger = DVCLiveCallback(live=live)
    print(
        f"{name}: {len(splits[0]):,} images, {recipe.epochs} epochs; compiling the first step "
        "takes up to a minute",
        flush=True,
    )
    with live:
        history = train(
            model,
            *splits,
            recipe,
            settings.learning_rate,
            params.seed,
            [logger, clock],
            verbose=1 if sys.stdout.isatty() else 2,
            checkpoint=Checkpoint(kept, clock, told=[logger]),
            distribution=distribution,
        )
    with (
        replacing(f"models/{name}.weights.h5") as weights,
        replacing(f"models/{name}.history.csv") as table,
        replacing(f"data/training/{name}") as logged,
    ):
        save_weights(model, weights)
        pd.DataFrame(history).rename_axis("epoch").to_csv(table)
        shutil.move(logs, logged)
    timings.keep(name, "training", clock.report(history, min(recipe.batch_size, len(splits[0]))))
    shutil.rmtree(kept.parent)  # those of other params, data and code too


def help_to_train(
    name: str, params: Any, splits: tuple[Split, Split], distribution: "Distribution"
) -> None:
    """Train with the chief, and write nothing."""
    from detector.training.fit import train

    model = build(name, params, splits[0], distribution)
    rate = params.model[name].learning_rate
    train(model, *splits, params.train, rate, params.seed, [], verbose=0, distribution=distribution)


def build(name: str, params: Any, train_split: Split, distribution: "Distribution | None") -> Any:
    """Build the network, on every replica."""
    from detector.base.finite import require_finite
    from detector.networks.model import build_model
    from detector.training.fit import scope_of

    with scope_of(distribution):
        model = build_model(
            params.model[name],
            train_split.images.shape[1],
            params.train.augmentation,
            params.seed,
            synchronized=distribution is not None,
        )
    require_finite(((v.path, v.numpy()) for v in model.weights), params.model[name].weights)
    return model


if __name__ == "__main__":
    run(main)
