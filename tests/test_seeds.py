"""Experiments that differ by their seed alone become mean, deviation and interval."""

import numpy as np
import pytest
from scipy import stats

from tools.experiments import runs
from tools.seeds import summarise


def run(seed, accuracy, *, epochs=3, models=("a",)):
    """One revision as `dvc exp show --json` gives it."""
    params = {"seed": seed, "train": {"epochs": epochs}, "model": {m: {"rate": 1} for m in models}}
    metrics = {
        f"metrics/{m}/evaluation.json": {"data": {"test": {"accuracy": accuracy}}} for m in models
    }
    metrics["metrics/data.json"] = {"data": {"images": 1}}
    return {"data": {"params": {"params.yaml": {"data": params}}, "metrics": metrics}}


def shown(*experiments, commit=None):
    return [
        {"rev": "workspace", **run(99, 0.0), "experiments": None},
        {
            "rev": "abc",
            **(commit or {"data": None}),
            "experiments": [{"revs": [e]} for e in experiments],
        },
    ]


def test_mean_deviation_and_interval():
    values = [0.90, 0.92, 0.97]
    table = summarise(shown(*(run(i, v) for i, v in enumerate(values))), ("test.accuracy",))
    (row,) = table.to_dict("records")
    assert (row["model"], row["metric"], row["n"], row["seeds"]) == (
        "a",
        "test.accuracy",
        3,
        "0 1 2",
    )
    assert row["mean"] == pytest.approx(0.93)
    assert row["sd"] == pytest.approx(np.std(values, ddof=1))
    low, high = stats.t.interval(0.95, 2, loc=0.93, scale=stats.sem(values))
    assert (row["low"], row["high"]) == pytest.approx((low, high))


def test_the_commit_itself_counts_and_the_workspace_does_not():
    table = summarise(shown(run(2, 0.8), commit=run(1, 0.6)), ("test.accuracy",))
    assert table["mean"].tolist() == [pytest.approx(0.7)]


def test_other_params_make_another_configuration():
    table = summarise(
        shown(run(1, 0.5), run(2, 0.7), run(1, 0.8, epochs=9), run(2, 0.9, epochs=9)),
        ("test.accuracy",),
    )
    assert table["configuration"].tolist() == [1, 2]
    assert table["mean"].tolist() == pytest.approx([0.6, 0.85])


def test_a_run_with_both_models_joins_runs_of_one():
    table = summarise(shown(run(1, 0.5), run(2, 0.7, models=("a", "b"))), ("test.accuracy",))
    assert table[["model", "n"]].to_numpy().tolist() == [["a", 2]]


def test_one_seed_twice_is_one_seed():
    assert summarise(shown(run(1, 0.5), run(1, 0.5)), ("test.accuracy",)).empty


def test_failed_and_queued_runs_are_left_out():
    queued = {"data": {"params": {"params.yaml": {"data": {"seed": 3}}}, "metrics": {}}}
    failed = {"error": {"msg": "x"}, "data": None}
    assert len(list(runs(shown(queued, failed, run(1, 0.5))))) == 1
    table = summarise(shown(run(1, 0.5), run(2, 0.5)), ("test.accuracy", "nothing.such"))
    assert table["metric"].tolist() == ["test.accuracy"]
