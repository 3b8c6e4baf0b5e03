"""Collect experiments that differ by nothing but their seed: mean, standard deviation, interval.

    dvc exp run --queue -S seed=1,2,3 && dvc queue start
    python -m benchmarks.seeds [--metric accuracy --metric roc_auc]

Reads `dvc exp show --json`: the experiments of the current commit and the commit itself. Of fewer
than three seeds nothing is said: the interval of two is some thirteen times as wide as their
distance.
"""

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from benchmarks.experiments import runs, shown

LEAST = 3  # seeds
HEADLINE = ("accuracy", "roc_auc", "corrupted_accuracy")


def summarise(found: list[dict[str, Any]], wanted: tuple[str, ...]) -> pd.DataFrame:
    """Return mean, standard deviation and 95 % interval over seeds.

    A row a configuration, model and metric. found: of experiments.shown. wanted: names of metrics,
    all of them shares. Runs belong together when all params but seed are equal; a seed that occurs
    twice counts once. Configurations with fewer than
    LEAST seeds are left out. The interval is Student's t, for the mean, as far as it lies from 0
    to 1: what can be a mean keeps its coverage (Mandelkern, Statistical Science 17,
    2002, section 2). It is NaN where all seeds agree, of which t would make a point.
    """
    values: dict[tuple[str, str, str], dict[int, float]] = {}
    for _, params, metrics in runs(found):
        rest = json.dumps({k: v for k, v in params.items() if k != "seed"}, sort_keys=True)
        for path, content in metrics.items():
            model = Path(path).stem
            # another model's settings do not change this one's numbers
            own = json.loads(rest)
            own["model"] = own["model"].get(model)
            for metric in wanted:
                if metric in content:
                    key = (json.dumps(own, sort_keys=True), model, metric)
                    values.setdefault(key, {})[params["seed"]] = content[metric]
    rows, configurations = [], {}
    for (configuration, model, metric), by_seed in values.items():
        if len(by_seed) < LEAST:
            continue
        number = configurations.setdefault(configuration, len(configurations) + 1)
        sample = np.array(list(by_seed.values()))
        mean, deviation = sample.mean(), sample.std(ddof=1)
        low, high = _mean_interval(sample) if deviation else (np.nan, np.nan)
        seeds = " ".join(str(seed) for seed in sorted(by_seed))
        rows.append((number, model, metric, len(sample), mean, deviation, low, high, seeds))
    columns = ["configuration", "model", "metric", "n", "mean", "sd", "low", "high", "seeds"]
    return pd.DataFrame(rows, columns=columns)


def _mean_interval(sample: np.ndarray) -> np.ndarray:
    half = stats.t.ppf(0.975, len(sample) - 1) * stats.sem(sample)
    ends = sample.mean() - half, sample.mean() + half
    return np.clip(ends, 0, 1)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--metric", action="append", help="its name; may be repeated")
    wanted = tuple(parser.parse_args().metric or HEADLINE)
    table = summarise(shown(), wanted)
    if table.empty:
        sys.exit(
            f"error: no {LEAST} experiments of this commit differ by their seed alone; make some "
            "with dvc exp run --queue -S seed=1,2,3 && dvc queue start"
        )
    print(table.to_markdown(index=False, floatfmt=".4f"))


if __name__ == "__main__":
    main()
