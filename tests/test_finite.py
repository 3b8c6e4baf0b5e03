"""Weights, answers, tables and JSON with a number that is not finite are refused."""

import ast
import json
import math
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pytest

from detector.networks.runtime import start_keras
from tests.helpers import ROOT, learnable_arrays

start_keras(seed=1)

import keras  # noqa: E402

from detector.base import program  # noqa: E402
from detector.base.arrays import load_split  # noqa: E402
from detector.base.errors import ExpectedError  # noqa: E402
from detector.base.files import parse_json, write_json  # noqa: E402
from detector.base.params import read_tree  # noqa: E402
from detector.comparison.results import long_history  # noqa: E402
from detector.deployment.model_archive import write_model  # noqa: E402
from detector.evaluation.predictions import read_predictions  # noqa: E402
from detector.networks import model as networks  # noqa: E402
from detector.params import validate  # noqa: E402
from detector.prediction.detector import Detector, load  # noqa: E402
from stages import evaluate, generalise, package, robustness, train  # noqa: E402
from tests.model_files import DECISION, described, make_project, settings  # noqa: E402


def sentence(call, *args, **kwargs) -> str:
    with pytest.raises(ExpectedError) as caught:
        call(*args, **kwargs)
    (line,) = str(caught.value).splitlines()
    return line


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Give a folder with all that the stages read, and the weights of a network in it."""
    make_project(tmp_path)
    learnable_arrays(tmp_path / "data", {"val": 8, "test": 8})
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["stage", "--model", "cnn32"])
    return Path("models/cnn32.weights.h5")


def refused(main) -> str:
    """Run a stage; give its one line on stderr after it left nothing half-written."""
    before = sorted(Path().rglob("*"))
    with pytest.raises(SystemExit) as caught:
        program.run(main)
    (line,) = str(caught.value.code).splitlines()
    left = [path for path in sorted(Path().rglob("*")) if ".work" not in path.parts]
    assert left == before
    return line


def change(path, value, name="bias"):
    """Put a value into one number of a file of weights; give what it was part of."""
    with h5py.File(path, "r+") as file:
        found = []
        file.visititems(lambda key, item: found.append(key) if hasattr(item, "shape") else None)
        file[found[-1]][(0,) * file[found[-1]].ndim] = value
    return found[-1]


@pytest.mark.slow
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_weights_of_a_file_are_refused_by_every_stage(project, value):
    package.main()
    archive = Path("models/cnn32.zip").read_bytes()
    changed = change(project, value)
    for main in (evaluate.main, package.main):
        line = refused(main)
        assert line.startswith(f"error: {project}: 1 of 94,"), line
        assert "numbers are not finite, the first in " in line and "diverged" in line
    assert changed in refused(package.main)
    entry = settings()
    for call in (
        lambda: networks.load_trained(str(project), entry, 32),
        lambda: robustness.predict("cnn32", validate(read_tree()), many(load_split("data/test"))),
        lambda: generalise.load("cnn32", validate(read_tree()), 32),
    ):
        assert "not finite" in sentence(call)
    assert Path("models/cnn32.zip").read_bytes() == archive
    write_model("spoilt.zip", described(), project)
    line = sentence(load, "spoilt.zip")
    assert line.startswith("spoilt.zip: not a model of this program (") and "not finite" in line
    network = networks.build_model(entry, 32)
    network.layers[-1].set_weights([np.full((128, 1), value), np.zeros(1)])
    assert "the weights of cnn32: 128 of 94,049 numbers" in sentence(
        networks.save_weights, network, "w.weights.h5"
    )
    assert not Path("w.weights.h5").exists()
    # Weights to start from.
    backbone = networks.load_backbone(entry)
    backbone.layers[1].set_weights([np.full((3, 3, 3, 32), value)])
    Path("models/start").mkdir()
    backbone.save_weights("models/start/b.weights.h5")
    tree = validate(read_tree())
    begun = tree.model["cnn32"].model_copy(update={"weights": "b.weights.h5"})
    tree = tree.model_copy(update={"model": {"cnn32": begun}})
    line = sentence(train.build, "cnn32", tree, load_split("data/train"), None)
    assert line.startswith("b.weights.h5: 864 of 94,049 numbers are not finite")


def many(split):
    """Give what has the attributes that robustness.predict reads."""
    return SimpleNamespace(images=split.images[None], levels=["clean"], split=lambda level: split)


@pytest.mark.slow
def test_answers_that_are_no_numbers_are_refused(project):
    """Finite weights can be so large that what they give is not."""
    network = networks.build_model(settings(), 32)
    (kernel, *_), last = network.layers[-1].get_weights(), network.layers[-1]
    signs = np.where(np.arange(len(kernel)) % 2, 3e38, -3e38)[:, None]
    last.set_weights([signs, np.zeros(1)])
    norm = keras.layers.BatchNormalization
    (*_, bn) = [layer for layer in network._flatten_layers() if isinstance(layer, norm)]
    gamma, beta, *rest = bn.get_weights()
    bn.set_weights([gamma, np.full_like(beta, 1e3), *rest])
    networks.save_weights(network, project)
    assert refused(evaluate.main).startswith(
        "error: the answers of cnn32: 8 of 8 numbers are not finite, the first in data/val"
    )
    test = load_split("data/test")
    params = validate(read_tree())
    assert "the answers of cnn32" in sentence(robustness.predict, "cnn32", params, many(test))
    assert "the answers of cnn32" in sentence(generalise.load("cnn32", params, 32), test)
    answering = Detector(described(), network, DECISION)
    assert "the answers of cnn32" in sentence(answering.predict, test.images)


def test_json_takes_no_number_that_is_none(tmp_path):
    path = tmp_path / ".partial.a.json"
    write_json(path, {"a": [1, 0.5, None, "nan", True]})
    assert json.loads(path.read_text()) == {"a": [1, 0.5, None, "nan", True]}
    assert path.read_text().startswith('{\n  "a": [\n') and path.read_text().endswith("\n}\n")
    for tree, key in (
        ({"a": {"b": [0, math.nan]}}, "a.b.1"), ([math.inf], "0"), (-math.inf, "its content"),
        ({"a": np.float64("nan")}, "a"),
    ):  # fmt: skip
        other = tmp_path / ".partial.b.json"
        assert sentence(write_json, other, tree).startswith(f"b.json: {key} would be ")
        assert not other.exists()
    assert parse_json('{"a": [1, 0.5, null, "NaN"]}') == {"a": [1, 0.5, None, "NaN"]}
    for text in ("NaN", "[Infinity]", '{"a": -Infinity}', "1e999", "-1e999"):
        with pytest.raises(ValueError, match="is no finite number"):
            parse_json(text)


def test_tables_with_such_numbers_are_not_read(tmp_path):
    predictions = tmp_path / "predictions.csv"
    head = "split,name,label,cifar_class,probability\ntest,a,0,-1,0.5\n"
    predictions.write_text(head)
    assert list(read_predictions(predictions)) == ["test"]
    for value in ("nan", "", "inf", "1.5"):
        predictions.write_text(f"{head}test,b,1,-1,{value}\n")
        assert "a probability is not a number from 0 to 1" in sentence(
            read_predictions, predictions
        )
    history = tmp_path / "history.csv"
    head = "epoch,accuracy,loss,val_accuracy,val_loss\n0,0.5,0.5,0.5,0.5\n"
    history.write_text(f"{head}1,0.5,,0.5,inf\n")
    assert "2 of 10 numbers are not finite, the first in loss" in sentence(long_history, history)


def test_all_json_of_the_package_is_written_so():
    """json.dumps writes NaN unless it is told not to."""
    calls = [
        (path.relative_to(ROOT).as_posix(), node)
        for folder in ("detector", "stages")
        for path in sorted((ROOT / folder).rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("json.dump", "json.dumps")
    ]
    assert calls
    for path, node in calls:
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        assert given.get("allow_nan") == "False", f"{path}:{node.lineno}"
