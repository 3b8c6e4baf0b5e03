"""Why a transferred ResNet-50 fails or not: every way of transferring it, by DVC's queue.

    python -m tools.transfers queue [-S data=cifake -S train=paper]   # puts 14 experiments into it
    dvc exp run --run-all                                   # runs them, one at a time
    python -m tools.transfers table [--out ablation/resnet50]         # of all of this commit

The ways: preprocessing rescale or imagenet; BatchNormalization trained or frozen; 0, 50 or all
layers of the backbone that learn; momentum .99 or .9 of the moving statistics. Each experiment
downloads, prepares, trains and evaluates one backbone. `table` reads `dvc exp show --json` and
writes <out>.md and <out>.png; `make ablation` does all three.
"""

import argparse
import itertools
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from detector.errors import ExpectedError
from detector.figures import style
from detector.files import replacing
from stages.common import run
from tools.experiments import runs, shown
from tools.transfer_report import Way, figure, markdown

GRID = {
    "preprocessing": ("rescale", "imagenet"),
    "batchnorm": ("train", "frozen"),
    "trainable_layers": (0, 50, "all"),
    "bn_momentum": (0.99, 0.9),
}
Values = tuple[Any, ...]


def ways() -> list[Values]:
    """Give the ways of the grid that differ.

    The momentum is of no effect without a BatchNormalization that learns, and there is none when no
    layer learns; such ways stand once, with 0.99.
    """
    return [
        way
        for way in itertools.product(*GRID.values())
        if (way[1] == "train" and way[2] != 0) or (way[1], way[3]) == ("frozen", 0.99)
    ]


def queue(model: str, changes: list[str]) -> None:
    """Put an experiment for each way into DVC's queue."""
    for way in ways():
        own = [f"model.{model}.{key}={value}" for key, value in zip(GRID, way, strict=True)]
        options = [part for change in [f"model={model}", *changes, *own] for part in ("-S", change)]
        command = ["dvc", "exp", "run", "--queue", f"evaluate@{model}", *options]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        if done.returncode:
            raise ExpectedError(f"'{' '.join(command)}' failed: {done.stdout.strip()}")
        print("queued:", ", ".join(map(str, way)), flush=True)


def collect(found: list[dict[str, Any]], model: str) -> dict[str, list[Way]]:
    """Give the ways that were tried, by what else the experiments have in common, as JSON.

    found: of experiments.shown. A way that was tried twice stands once, with what came last.
    """
    groups: dict[str, dict[Values, Way]] = {}
    for params, metrics in runs(found):
        settings = params["model"].get(model)
        evaluation = metrics.get(f"metrics/{model}/evaluation.json")
        training = metrics.get(f"metrics/{model}/training.json")
        if not (settings and evaluation and training):
            continue
        rest = {key: params[key] for key in ("data", "preprocess", "train", "seed")}
        rest["model"] = {key: value for key, value in settings.items() if key not in GRID}
        way = tuple(settings[key] for key in GRID)
        said = evaluation["normalization"]
        groups.setdefault(json.dumps(rest, sort_keys=True), {})[way] = Way(
            way[0],
            way[1],
            str(way[2]),
            way[3],
            training["train"]["accuracy"],
            evaluation["val"]["accuracy"],
            said["accuracy"]["batch"],
            said["mean_apart"],
            said["variance_apart"],
            said["activations_of_real"]["end"]["spread"],
        )
    return {
        rest: [by_way[way] for way in sorted(by_way, key=_place)] for rest, by_way in groups.items()
    }


def _place(way: Values) -> tuple[int, ...]:
    """Give the order of the table: that of the grid, then what is not of it."""
    return tuple(
        values.index(value) if value in values else len(values)
        for value, values in zip(way, GRID.values(), strict=True)
    )


def table(model: str, out: Path) -> None:
    """Write the table and the figure of the largest group; say so if there are others."""
    groups = collect(shown(), model)
    tried = {rest: found for rest, found in groups.items() if len(found) > 1}
    if not tried:
        raise ExpectedError(
            f"no two experiments of this commit transfer {model} in different ways; make some with "
            "'make ablation' or 'python -m tools.transfers queue' and 'dvc exp run --run-all'"
        )
    rest = max(tried, key=lambda each: len(tried[each]))
    common, found = json.loads(rest), tried[rest]
    if len(tried) > 1:
        sizes = sorted((len(each) for each in tried.values()), reverse=True)
        print(f"note: {len(tried)} groups of experiments ({sizes}); the largest is shown")
    made_of = (
        f"{model} with weights {common['model']['weights']} at {common['model']['input_size']} "
        f"pixels, data {common['data']['name']}, {common['train']['epochs']} epochs, seed "
        f"{common['seed']}; {len(found)} of {len(ways())} ways. `By batch statistics` is of at "
        "most 1,024 of the validation images."
    )
    text = markdown(found, made_of)
    with replacing(out.with_suffix(".md")) as said, replacing(out.with_suffix(".png")) as picture:
        said.write_text(text, encoding="utf-8")
        style.save(figure(found), picture)
    print(text)


def main() -> None:
    """Queue the experiments, or show what came of them."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["queue", "table"])
    parser.add_argument("--model", default="resnet50", help="a backbone of conf/model")
    parser.add_argument("-S", action="append", default=[], dest="changes", metavar="KEY=VALUE")
    parser.add_argument("--out", type=Path, help="of table, no suffix")
    options = parser.parse_args()
    if options.what == "queue":
        queue(options.model, options.changes)
    else:
        table(options.model, options.out or Path("ablation", options.model))


if __name__ == "__main__":
    sys.exit(run(main))
