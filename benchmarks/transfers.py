"""Why a transferred ResNet-50 fails or not: every way of transferring it, by DVC's queue.

    python -m benchmarks.transfers queue [-S data=cifake -S train=paper]  # puts in 14 experiments
    dvc exp run --run-all                                   # runs them, one at a time
    python -m benchmarks.transfers table [--out ablation/resnet50]         # of all of this commit

The ways: preprocessing rescale or imagenet; BatchNormalization trained or frozen; 0, 50 or all
layers of the backbone that learn; momentum .99 or .9 of the moving statistics. Each experiment
downloads, prepares, trains and evaluates one backbone. `table` reads `dvc exp show --json` and
writes <out>.md and <out>.png; `make ablation` does all three.
"""

import argparse
import json
import subprocess
import sys
from io import StringIO
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks.experiments import runs, shown
from benchmarks.transfer_report import GRID, Values, Way, figure, markdown, ways
from detector.base.errors import ExpectedError
from detector.base.files import replacing
from detector.base.program import run
from detector.figures import style


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


def results_at(revision: str, model: str) -> tuple[dict[str, Any], float] | None:
    """Return evaluation.json and the last training accuracy of a revision; None without them."""
    import dvc.api
    from dvc.exceptions import DvcException

    folder = f"data/results/{model}/test"
    try:
        evaluation = dvc.api.read(f"{folder}/evaluation.json", rev=revision)
        history = dvc.api.read(f"{folder}/history.csv", rev=revision)
    except (DvcException, OSError):
        return None
    return json.loads(evaluation), float(pd.read_csv(StringIO(history))["accuracy"].iloc[-1])


def collect(found: list[dict[str, Any]], model: str) -> dict[str, list[Way]]:
    """Return the ways that were tried, by what else the experiments have in common, as JSON.

    found: of experiments.shown. A way that was tried twice stands once, with what came last.
    """
    groups: dict[str, dict[Values, Way]] = {}
    for revision, params, _ in runs(found):
        settings = params["model"].get(model)
        if not settings or not (results := results_at(revision, model)):
            continue
        evaluation, training = results
        rest = {key: params[key] for key in ("data", "preprocess", "train", "seed")}
        rest["model"] = {key: value for key, value in settings.items() if key not in GRID}
        way = tuple(settings[key] for key in GRID)
        said = evaluation["normalization"]
        groups.setdefault(json.dumps(rest, sort_keys=True), {})[way] = Way(
            way[0],
            way[1],
            str(way[2]),
            way[3],
            training,
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
            "'make ablation' or 'python -m benchmarks.transfers queue' and 'dvc exp run --run-all'"
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
