"""Collect experiments that differ by nothing but their seed: mean, deviation, interval.

    dvc exp run --queue -S seed=1,2,3 && dvc queue start
    python -m tools.seeds [--metric test.accuracy --metric test.roc_auc]

Reads `dvc exp show --json`: the experiments of the current commit and the commit itself.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

HEADLINE = ("test.accuracy", "test.roc_auc", "test_at_threshold.accuracy", "calibration.after.ece")


def runs(shown: list[dict[str, Any]]) -> Iterator[tuple[dict, dict]]:
    """Give params and metrics of each run in the output of `dvc exp show --json`, each run once.

    Metrics are those of metrics/<model>/evaluation.json, by model. Runs that failed or are still
    queued have none and are left out; so is the workspace, which repeats another one.
    """
    for commit in shown:
        if commit.get("rev") == "workspace":
            continue
        revisions = [commit] + [e["revs"][0] for e in commit.get("experiments") or [] if e["revs"]]
        for revision in revisions:
            data = revision.get("data") or {}
            params = (data.get("params") or {}).get("params.yaml", {}).get("data")
            metrics = {
                path.split("/")[1]: content["data"]
                for path, content in (data.get("metrics") or {}).items()
                if path.endswith("/evaluation.json") and content.get("data")
            }
            if params and metrics:
                yield params, metrics


def summarise(shown: list[dict[str, Any]], wanted: tuple[str, ...]) -> pd.DataFrame:
    """Give mean, deviation and 95 % interval over seeds, a row a configuration, model and metric.

    wanted: dotted names of metrics. Runs belong together when all params but seed are equal; a seed
    that occurs twice counts once. The interval is Student's t, for the mean; it and the deviation
    (n - 1) need two seeds, and configurations with one seed are left out.
    """
    values: dict[tuple[str, str, str], dict[int, float]] = {}
    for params, metrics in runs(shown):
        rest = json.dumps({k: v for k, v in params.items() if k != "seed"}, sort_keys=True)
        for model, content in metrics.items():
            # another model's settings do not change this one's numbers
            own = json.loads(rest)
            own["model"] = own["model"].get(model)
            for metric in wanted:
                value = _lookup(content, metric)
                if value is not None:
                    key = (json.dumps(own, sort_keys=True), model, metric)
                    values.setdefault(key, {})[params["seed"]] = value
    rows, configurations = [], {}
    for (configuration, model, metric), by_seed in values.items():
        if len(by_seed) < 2:
            continue
        number = configurations.setdefault(configuration, len(configurations) + 1)
        sample = np.array(list(by_seed.values()))
        mean, deviation = sample.mean(), sample.std(ddof=1)
        half = stats.t.ppf(0.975, len(sample) - 1) * deviation / np.sqrt(len(sample))
        seeds = " ".join(str(seed) for seed in sorted(by_seed))
        row = (number, model, metric, len(sample), mean, deviation, mean - half, mean + half, seeds)
        rows.append(row)
    columns = ["configuration", "model", "metric", "n", "mean", "sd", "low", "high", "seeds"]
    return pd.DataFrame(rows, columns=columns)


def _lookup(content: dict[str, Any], dotted: str) -> float | None:
    for key in dotted.split("."):
        if not isinstance(content, dict) or key not in content:
            return None
        content = content[key]
    return content if isinstance(content, int | float) else None


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--metric", action="append", help="dotted name; may be repeated")
    wanted = tuple(parser.parse_args().metric or HEADLINE)
    shown = subprocess.run(["dvc", "exp", "show", "--json"], stdout=subprocess.PIPE, text=True)
    if shown.returncode:
        sys.exit("error: 'dvc exp show --json' failed; run this at the top of the repository")
    table = summarise(json.loads(shown.stdout), wanted)
    if table.empty:
        sys.exit(
            "error: no two experiments of this commit differ by their seed alone; make some with "
            "dvc exp run --queue -S seed=1,2,3 && dvc queue start"
        )
    print(table.to_markdown(index=False, floatfmt=".4f"))


if __name__ == "__main__":
    main()
