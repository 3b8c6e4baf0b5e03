"""What evaluate and robustness leave of one backbone is read together, or refused in a sentence."""

import json
import re

import numpy as np
import pandas as pd
import pytest

from detector.base.errors import ExpectedError
from detector.comparison.results import long_history, read_result
from detector.evaluation.decision import Decision, read_decision
from detector.evaluation.predictions import read_predictions
from tests.report_project import make_backbone


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("results")
    return folder, *make_backbone(folder, 1, 0.9, {})


def test_all_is_read(made):
    folder, test, decision = made
    found = read_result(folder)
    assert found.decision == decision
    pd.testing.assert_frame_equal(found.test.reset_index(drop=True), test)
    evaluation = json.loads((folder / "test/evaluation.json").read_text())
    kept = evaluation["test"]["intervals"] | {
        "validation_accuracy": evaluation["val"]["intervals"]["accuracy"]
    }
    assert found.metrics == evaluation["test"] | {
        "validation_accuracy": evaluation["val"]["accuracy"],
        "intervals": kept,
    }
    calibrated = decision.calibrate(test["probability"].to_numpy())
    np.testing.assert_array_equal(found.calibrated, calibrated)
    right = (calibrated >= decision.threshold) == (test["label"] == 1)
    np.testing.assert_array_equal(found.right, right)
    np.testing.assert_array_equal(found.corrupted_labels, test["label"])
    np.testing.assert_array_equal(found.corrupted_right[0], right)
    assert found.corrupted_right.shape == (2, 300)
    assert found.corrupted_right[1].mean() == pytest.approx(1 - right.mean(), abs=0.2)
    assert found.corrupted["level"].tolist() == ["clean", "75"]
    assert found.history.to_dict("records") == [
        {"epoch": 1, "split": "train", "accuracy": 0.7, "loss": 0.6},
        {"epoch": 1, "split": "validation", "accuracy": 0.8, "loss": 0.5},
    ]


@pytest.fixture
def broken(tmp_path):
    make_backbone(tmp_path / "net", 1, 0.9, {})
    return tmp_path / "net"


@pytest.mark.parametrize(
    ("path", "content", "reason"),
    [
        ("test/evaluation.json", None, r"\[Errno 2\] No such file or directory: '\S+json'"),
        ("test/evaluation.json", "[", r"Expecting value: line 1 column 2 \(char 1\)"),
        ("test/evaluation.json", "{}", "'val'"),
        ("test/evaluation.json", "[]", "list indices must be integers or slices, not str"),
        (
            "test/predictions.csv",
            "split,name,label,cifar_class,probability\nval,a,0,-1,1\n",
            "'test'",
        ),
        ("robustness/table.csv", "", "No columns to parse from file"),
        ("robustness/labels.npy", None, r"\[Errno 2\] No such file or directory: '\S+npy'"),
        ("robustness/probabilities.npy", "\x80x", ".* pickle.*"),
    ],
)
def test_results_that_cannot_be_read(broken, path, content, reason):
    (broken / path).unlink()
    if content is not None:
        (broken / path).write_text(content, encoding="latin-1")
    with pytest.raises(ExpectedError) as caught:
        read_result(broken)
    pattern = rf"{broken}: not the results of a backbone \({reason}\); run 'dvc repro'"
    assert re.fullmatch(pattern, str(caught.value)), caught.value


def test_pickles_are_not_opened(broken):
    """A file of the right form that would run code."""
    for name in ("labels", "probabilities"):
        path = broken / f"robustness/{name}.npy"
        kept = path.read_bytes()
        np.save(path, np.array([{}], object), allow_pickle=True)
        with pytest.raises(ExpectedError, match="Object arrays cannot be loaded"):
            read_result(broken)
        path.write_bytes(kept)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (None, r"\[Errno 2\] No such file or directory: '\S+'"),
        ("", "No columns to parse from file"),
        ("epoch,accuracy,loss,val_accuracy\n0,1,1,1\n", "'val_loss'"),
        ("epoch,accuracy,loss,val_loss,val_accuracy\nx,1,1,1,1\n", "can only concatenate.*"),
    ],
)
def test_a_history_that_cannot_be_read(tmp_path, content, reason):
    path = tmp_path / "history.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ExpectedError) as caught:
        long_history(path)
    pattern = rf"{path}: not the history of a training \({reason}\); run 'dvc repro'"
    assert re.fullmatch(pattern, str(caught.value)), caught.value


def test_a_history_of_two_epochs(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,accuracy,loss,val_accuracy,val_loss\n0,0.1,5,0.2,6\n1,0.3,3,0.4,4\n")
    assert long_history(path).index.tolist() == [0, 1, 2, 3]
    assert long_history(path).to_numpy().tolist() == [
        [1, "train", 0.1, 5], [2, "train", 0.3, 3],
        [1, "validation", 0.2, 6], [2, "validation", 0.4, 4],
    ]  # fmt: skip


def test_sentences_on_files_of_decisions_and_predictions(tmp_path):
    path = tmp_path / "decision.json"
    Decision(1.0, "0.5", 2.0, 0.0, 0.01, 5).write(path)
    with pytest.raises(ExpectedError) as caught:
        read_decision(path)
    assert str(caught.value) == (
        f"{path}: not a decision of the evaluate stage (threshold is 2.0, no number from 0 to 1); "
        "'dvc repro' makes it anew"
    )
    table = tmp_path / "predictions.csv"
    table.write_text("split,name,label\nx,y,1\n")
    with pytest.raises(ExpectedError) as caught:
        read_predictions(table)
    assert str(caught.value) == (
        f"{table}: lacks the columns ['cifar_class', 'probability']; run 'dvc repro'"
    )
    table.write_text("")
    with pytest.raises(ExpectedError) as caught:
        read_predictions(table)
    assert str(caught.value) == (
        f"{table}: not a table of predictions (No columns to parse from file); "
        "'dvc repro' makes it anew"
    )
