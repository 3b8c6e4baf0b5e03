"""Experiments that differ by their seed alone become mean, deviation and interval."""

import json

import numpy as np
import pytest
from scipy import stats

from benchmarks.experiments import runs
from benchmarks.seeds import summarise


def run(seed, accuracy, *, epochs=3, models=("a",)):
    """One revision as `dvc exp show --json` gives it."""
    params = {"seed": seed, "train": {"epochs": epochs}, "model": {m: {"rate": 1} for m in models}}
    metrics = {f"metrics/{m}.json": {"data": {"accuracy": accuracy}} for m in models}
    return {
        "rev": f"{seed}",
        "data": {"params": {"params.yaml": {"data": params}}, "metrics": metrics},
    }


def shown(*experiments, commit=None):
    return [
        {**run(99, 0.0), "rev": "workspace", "experiments": None},
        {
            **(commit or {"data": None}),
            "rev": "abc",
            "experiments": [{"revs": [e]} for e in experiments],
        },
    ]


def test_mean_deviation_and_interval():
    values = [0.70, 0.72, 0.77]
    table = summarise(shown(*(run(i, v) for i, v in enumerate(values))), ("accuracy",))
    (row,) = table.to_dict("records")
    assert (row["model"], row["metric"], row["n"], row["seeds"]) == (
        "a",
        "accuracy",
        3,
        "0 1 2",
    )
    assert row["mean"] == pytest.approx(0.73)
    assert row["sd"] == pytest.approx(np.std(values, ddof=1))
    low, high = stats.t.interval(0.95, 2, loc=0.73, scale=stats.sem(values))
    assert (row["low"], row["high"]) == pytest.approx((low, high))


def test_the_commit_itself_counts_and_the_workspace_does_not():
    table = summarise(shown(run(2, 0.8), run(3, 0.7), commit=run(1, 0.6)), ("accuracy",))
    assert table["mean"].tolist() == [pytest.approx(0.7)]


def test_other_params_make_another_configuration():
    table = summarise(
        shown(*(run(s, 0.5 + s / 10 + e / 10, epochs=e) for e in (1, 2) for s in (0, 1, 2))),
        ("accuracy",),
    )
    assert table["configuration"].tolist() == [1, 2]
    assert table["mean"].tolist() == pytest.approx([0.7, 0.8])


def test_a_run_with_both_models_joins_runs_of_one():
    tried = run(1, 0.5), run(2, 0.7, models=("a", "b")), run(3, 0.6)
    table = summarise(shown(*tried), ("accuracy",))
    assert table[["model", "n"]].to_numpy().tolist() == [["a", 3]]


def test_one_seed_twice_is_one_seed():
    assert summarise(shown(*(run(s, 0.5 + s) for s in (0, 1, 1, 0))), ("accuracy",)).empty


def test_of_two_seeds_nothing_is_said():
    """Student's t of 0.98 and 0.99 goes from 0.92 to 1.05."""
    assert summarise(shown(run(1, 0.98), run(2, 0.99)), ("accuracy",)).empty


@pytest.mark.parametrize("name", ["accuracy", "precision", "roc_auc"])
def test_the_interval_of_a_share_is_within_0_to_1(name):
    def found(values):
        tried = shown(*(run(i, v) for i, v in enumerate(values)))
        text = json.dumps(tried).replace('"accuracy"', f'"{name}"')
        return summarise(json.loads(text), (name,))

    low, high = found((0, 0.01, 0.1)), found((1, 0.99, 0.9))
    assert (low["low"].item(), high["high"].item()) == (0, 1)
    assert low["high"].item() == pytest.approx(1 - high["low"].item()) and low["high"].item() < 1


def test_equal_seeds_have_no_interval():
    (row,) = summarise(shown(*(run(i, 1.0) for i in range(3))), ("accuracy",)).to_dict("records")
    assert (row["mean"], row["sd"]) == (1, 0)
    assert np.isnan(row["low"]) and np.isnan(row["high"])


def test_failed_and_queued_runs_are_left_out():
    queued = {"data": {"params": {"params.yaml": {"data": {"seed": 3}}}, "metrics": {}}}
    failed = {"error": {"msg": "x"}, "data": None}
    assert len(list(runs(shown(queued, failed, run(1, 0.5))))) == 1
    tried = run(1, 0.5), run(2, 0.5), run(3, 0.5)
    table = summarise(shown(*tried), ("accuracy", "nothing.such"))
    assert table["metric"].tolist() == ["accuracy"]
