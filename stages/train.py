"""Stage train: one backbone learns on data/train and is watched on data/val."""

import argparse
import json
import shutil
import sys
from pathlib import Path

import pandas as pd

from detector.data.arrays import load_split
from detector.files import replacing
from detector.networks.runtime import start_keras
from stages.common import read_params, run


def main() -> None:
    """Write weights, history, learning curves and last metrics of the backbone `--model`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a key of `model` in params.yaml")
    name = parser.parse_args().model
    params = read_params()
    train_split, val_split = load_split("data/train"), load_split("data/val")

    start_keras(params.seed, params.train.deterministic, params.train.precision)
    from dvclive import Live
    from dvclive.keras import DVCLiveCallback

    from detector.networks.checkpoint import Checkpoint, fingerprint, tell_of_others
    from detector.networks.clock import EpochClock
    from detector.networks.model import build_model, save_weights
    from detector.networks.training import train

    settings, recipe = params.model[name], params.train
    model = build_model(settings, train_split.images.shape[1], recipe.augmentation, params.seed)
    clock = EpochClock()
    mark = fingerprint([params.seed, settings, recipe], ["data/train", "data/val"])
    kept = Path(f".work/checkpoints/{name}/{mark}.npz")
    tell_of_others(kept)
    logs = Path(f".work/dvclive/{name}")
    shutil.rmtree(logs, ignore_errors=True)  # of a run that was killed
    # No dvc.yaml, experiment or report from DVCLive: the pipeline has its own.
    live = Live(str(logs), dvcyaml=False, save_dvc_exp=False, report=None)
    logger = DVCLiveCallback(live=live)
    with live:
        history = train(
            model,
            train_split,
            val_split,
            recipe,
            settings.learning_rate,
            params.seed,
            [logger, clock],
            verbose=1 if sys.stdout.isatty() else 2,
            checkpoint=Checkpoint(kept, clock, told=[logger]),
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
    # Not an out of the stage: it differs from run to run.
    with replacing(f"metrics/cost/{name}/training.json") as timing:
        spent = clock.report(history, min(recipe.batch_size, len(train_split)))
        timing.write_text(json.dumps(spent, indent=2) + "\n", encoding="utf-8")
    shutil.rmtree(logs)
    shutil.rmtree(kept.parent)  # those of other params, data and code too


if __name__ == "__main__":
    run(main)
