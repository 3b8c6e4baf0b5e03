"""Collect experiments that differ by nothing but their seed: mean, deviation, interval.

    dvc exp run --queue -S seed=1,2,3 && dvc queue start
    python -m tools.seeds [--metric test.accuracy --metric test.roc_auc]

Reads `dvc exp show --json`: the experiments of the current commit and the commit itself.
"""

import argparse
import json
import sys
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from tools.experiments import runs, shown

HEADLINE = ("test.accuracy", "test.roc_auc", "test_at_threshold.accuracy", "calibration.after.ece")


def summarise(found: list[dict[str, Any]], wanted: tuple[str, ...]) -> pd.DataFrame:
    """Give mean, deviation and 95 % interval over seeds, a row a configuration, model and metric.

    found: of experiments.shown. wanted: dotted names of metrics. Runs belong together when all
    params but seed are equal; a seed that occurs twice counts once. The interval is Student's t,
    for the mean; it and the deviation (n - 1) need two seeds, and configurations with one seed are
    left out.
    """
    values: dict[tuple[str, str, str], dict[int, float]] = {}
    for params, metrics in runs(found):
        rest = json.dumps({k: v for k, v in params.items() if k != "seed"}, sort_keys=True)
        for path, content in metrics.items():
            if not path.endswith("/evaluation.json"):
                continue
            model = path.split("/")[1]
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
    table = summarise(shown(), wanted)
    if table.empty:
        sys.exit(
            "error: no two experiments of this commit differ by their seed alone; make some with "
            "dvc exp run --queue -S seed=1,2,3 && dvc queue start"
        )
    print(table.to_markdown(index=False, floatfmt=".4f"))


if __name__ == "__main__":
    main()
