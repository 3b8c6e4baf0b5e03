"""The ablation by DVC's queue: what is put into it, and what is made of its experiments."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks import transfers
from benchmarks.transfers import GRID, collect, ways
from detector.base.errors import ExpectedError
from tests.helpers import ROOT, composed_params


@pytest.fixture(scope="module")
def params(tmp_path_factory):
    return composed_params(tmp_path_factory.mktemp("params"), "model=resnet50")


RESULTS = []  # of the revision with that number


@pytest.fixture(autouse=True)
def results(monkeypatch):
    """Nothing is in a cache: what `dvc.api` would read."""
    monkeypatch.setattr(transfers, "results_at", lambda revision, model: RESULTS[int(revision)])


def experiment(params, way, moving=0.5, training=0.9, **changes):
    """One revision as `dvc exp show --json` gives it."""
    settings = params["model"]["resnet50"] | dict(zip(GRID, way, strict=True))
    normalization = {
        "accuracy": {"moving": moving, "batch": 0.8}, "mean_apart": 3.0, "variance_apart": None,
        "activations_of_real": {"end": {"spread": 0.5}},
    }  # fmt: skip
    evaluation = {"val": {"accuracy": moving}, "normalization": normalization}
    RESULTS.append((evaluation, training))
    data = params | {"model": {"resnet50": settings}} | changes
    return {
        "data": {
            "params": {"params.yaml": {"data": data}},
            "metrics": {"metrics/cnn32.json": {"data": {"accuracy": 1.0}}},  # the commit's
        },
        "rev": str(len(RESULTS) - 1),
    }


def shown(*experiments):
    return [{"rev": "abc", "data": None, "experiments": [{"revs": [e]} for e in experiments]}]


PAPER, CURE = ("rescale", "train", 50, 0.99), ("imagenet", "frozen", "all", 0.99)


def test_each_way_that_differs_stands_once():
    found = ways()
    assert len(found) == len(set(found)) == 14 and {PAPER, CURE} < set(found)


def test_ways_come_in_the_order_of_the_grid(params):
    found = collect(
        shown(experiment(params, CURE, 0.95), experiment(params, PAPER, 0.51)), "resnet50"
    )
    (ways_found,) = found.values()
    assert [way.name for way in ways_found] == ["rescale, train, 0.99, 50", "imagenet, frozen, all"]
    paper = ways_found[0]
    assert (paper.training, paper.moving, paper.batch) == (0.9, 0.51, 0.8)
    assert (paper.mean_apart, paper.variance_apart, paper.spread) == (3.0, None, 0.5)


def test_other_seeds_and_backbones_are_apart(params):
    other = params | {"seed": 2}
    found = collect(shown(experiment(params, PAPER), experiment(other, PAPER)), "resnet50")
    assert sorted(json.loads(rest)["seed"] for rest in found) == [1, 2]
    assert collect(shown(experiment(params, PAPER)), "inceptionv3") == {}
    other = params | {"preprocess": params["preprocess"] | {"validation_fraction": 0.5}}
    assert len(collect(shown(experiment(params, PAPER), experiment(other, PAPER)), "resnet50")) == 2


def test_the_table_and_the_picture(params, tmp_path, monkeypatch, capsys):
    tried = [experiment(params, PAPER, 0.51), experiment(params, CURE, 0.95)]
    other = experiment(params | {"seed": 2}, PAPER)
    monkeypatch.setattr(transfers, "shown", lambda: shown(*tried, other))
    transfers.table("resnet50", tmp_path / "new/ablation")
    text = (tmp_path / "new/ablation.md").read_text()
    assert "| rescale         | train       | 50 " in text and "51.0 %" in text
    assert "2 of 14 ways" in text and "data sample, 3 epochs, seed 1" in text
    assert (tmp_path / "new/ablation.png").read_bytes().startswith(b"\x89PNG")
    assert text in capsys.readouterr().out
    monkeypatch.setattr(transfers, "shown", lambda: shown(*tried[:1], other))
    with pytest.raises(ExpectedError, match="no two experiments"):
        transfers.table("resnet50", tmp_path / "none")


RECORD = """#!/bin/bash
printf '%s\\n' "$*" >> "$LOG"
if [[ "$*" == *=nonsense* ]]; then echo "no such thing"; exit 1; fi
"""


def queue(tmp_path, *options):
    """Run the command beside a `dvc` that writes down what it is called with."""
    (tmp_path / "dvc").write_text(RECORD)
    (tmp_path / "dvc").chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    return subprocess.run(
        [sys.executable, "-m", "benchmarks.transfers", "queue", *options], cwd=ROOT, text=True,
        capture_output=True, env={**os.environ, "PATH": path, "LOG": str(tmp_path / "log")},
    )  # fmt: skip


def test_every_way_is_queued_with_the_changes(tmp_path):
    done = queue(tmp_path, "-S", "data=cifake", "-S", "train=paper")
    assert done.returncode == 0, done.stderr
    calls = (tmp_path / "log").read_text().splitlines()
    assert len(calls) == 14 == len(done.stdout.splitlines())
    begin = "exp run --queue evaluate@resnet50 -S model=resnet50 -S data=cifake -S train=paper "
    assert all(call.startswith(begin) for call in calls)
    assert calls[0].removeprefix(begin) == (
        "-S model.resnet50.preprocessing=rescale -S model.resnet50.batchnorm=train "
        "-S model.resnet50.trainable_layers=50 -S model.resnet50.bn_momentum=0.99"
    )


def test_what_dvc_refuses_ends_it_with_its_words(tmp_path):
    done = queue(tmp_path, "-S", "data=nonsense")
    assert done.returncode == 1 and "Traceback" not in done.stderr
    assert done.stderr.startswith("error: 'dvc exp run --queue") and "no such thing" in done.stderr
    assert len((tmp_path / "log").read_text().splitlines()) == 1
