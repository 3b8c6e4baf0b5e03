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
from detector.data.arrays import Split, load_split
from detector.files import replacing
from detector.networks.runtime import start_keras
from stages.common import read_params, run

if TYPE_CHECKING:
    from detector.networks.checkpoint import Fingerprint
    from detector.networks.distribution import Distribution

ROOT = Path(__file__).resolve().parent.parent


def main() -> None:
    """Write weights, history, learning curves and last metrics of the backbone `--model`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a key of `model` in params.yaml")
    name = parser.parse_args().model
    params = read_params()
    splits = load_split("data/train"), load_split("data/val")

    start_keras(params.seed, params.train.deterministic, params.train.precision, params.threads)
    from detector.networks.distribution import distribute, reporting_lost_workers

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

    The modules are those that dvc.yaml declares for this stage: some are imported late.
    """
    from detector.networks.checkpoint import fingerprint

    settings = params.model[name]
    # Under DVC only the declared part of the recipe is there: workers start with and without it.
    recipe = {key: value for key, value in vars(params.train).items() if key != "model_defaults"}
    pipeline = yaml.safe_load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))
    deps = pipeline["stages"]["train"]["do"]["deps"]
    return fingerprint(
        [params.seed, params.threads, settings, recipe],
        ["data/train", "data/val", settings.watch],
        [ROOT / dep for dep in deps if dep.endswith(".py")],
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

    from detector.networks.checkpoint import Checkpoint, tell_of_others
    from detector.networks.clock import EpochClock
    from detector.networks.model import save_weights
    from detector.networks.training import train

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
        replacing(f"plots/{name}/training") as curves,
        replacing(f"metrics/{name}/training.json") as last,
    ):
        save_weights(model, weights)
        pd.DataFrame(history).rename_axis("epoch").to_csv(table)
        Path(logs, "plots", "metrics").rename(curves)
        Path(logs, "metrics.json").rename(last)
    timings.keep(name, "training", clock.report(history, min(recipe.batch_size, len(splits[0]))))
    shutil.rmtree(logs)
    shutil.rmtree(kept.parent)  # those of other params, data and code too


def help_to_train(
    name: str, params: Any, splits: tuple[Split, Split], distribution: "Distribution"
) -> None:
    """Train with the chief, and write nothing."""
    from detector.networks.training import train

    model = build(name, params, splits[0], distribution)
    rate = params.model[name].learning_rate
    train(model, *splits, params.train, rate, params.seed, [], verbose=0, distribution=distribution)


def build(name: str, params: Any, train_split: Split, distribution: "Distribution | None") -> Any:
    """Build the network, on every replica."""
    from detector.networks.finite import require_finite
    from detector.networks.model import build_model
    from detector.networks.training import scope_of

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
