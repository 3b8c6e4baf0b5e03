"""The other commands of `python -m detector`, and what commands say in words."""

import numpy as np
import pytest
from typer.testing import CliRunner

from detector.__main__ import app
from detector.base.errors import ExpectedError
from detector.base.program import printable
from detector.deployment.model_archive import read_description
from detector.evaluation.selective import verdicts
from detector.prediction.wording import meaning, model_path, percent, unsure_range
from tests.predicting import make_model, replace_network


@pytest.fixture(scope="module")
def archive(tmp_path_factory):
    return make_model(tmp_path_factory.mktemp("model"))


def decided(archive, **changes):
    model = read_description(archive)
    return model.model_copy(update={"decision": model.decision.model_copy(update=changes)})


@pytest.mark.parametrize(("threshold", "band"), [(0.4, 0.5), (0.001, 3.0), (0.999, 0.01)])
def test_the_range_of_unsure_is_that_of_the_verdicts(threshold, band):
    low, high = unsure_range(threshold, band)
    said = verdicts(
        np.array([low - 1e-6, low + 1e-6, threshold, high - 1e-6, high + 1e-6]), threshold, band
    )
    assert said.tolist() == ["FAKE", "UNSURE", "UNSURE", "UNSURE", "REAL"]


def test_unsure_is_explained_for_every_kind_of_band(archive):
    some, none, always = (meaning(decided(archive, abstain=band))[1] for band in (0.5, 0.0, None))
    # logit 0.4 = -0.405; sigmoid(-0.905) = 0.288, sigmoid(0.095) = 0.524
    assert some.startswith("UNSURE means that P(REAL) is within 28.8 % to 52.4 %")
    assert none.startswith("UNSURE is said of no image") and "at most 1 %" in none
    assert always.startswith("UNSURE is said of all")


def test_the_goal_of_the_threshold_is_explained(archive):
    said = [meaning(decided(archive, goal=goal))[0] for goal in ("0.5", "balanced", "fpr_0.01")]
    assert "for no images in particular" in said[0] and "for the best mean of" in said[1]
    assert "so that at most 1 % of the REAL ones are called FAKE" in said[2]
    assert "for the goal other" in meaning(decided(archive, goal="other"))[0]
    assert "at most 1 %" in meaning(decided(archive, goal="fpr=0.01"))[0]  # models made before


def test_probabilities_are_never_said_to_be_0_or_1():
    shown = [percent(p) for p in (0.0, 0.0004, 0.0006, 0.5, 0.9994, 0.9996, 1.0)]
    assert shown == ["<0.1 %", "<0.1 %", "0.1 %", "50.0 %", "99.9 %", ">99.9 %", ">99.9 %"]


def test_only_what_can_be_printed_is_printed():
    assert printable("käse 猫 'a' \\n") == "käse 猫 'a' \\n"
    assert printable("a\r\n\t\x00\x7f\x9b\u200e\u2028\udcff") == (
        "a\\r\\n\\t\\x00\\x7f\\x9b\\u200e\\u2028\\xff"
    )
    assert all(ord(printable(chr(i))[0]) in (ord("\\"), i) for i in range(0x3000))
    assert all(printable(chr(i)).isprintable() for i in range(0x3000))


def test_a_bare_name_is_a_model_in_models():
    assert model_path("cnn32") == "models/cnn32.zip"
    for path in ("cnn32.zip", "./cnn32", "a/b", "/a/b.zip", "../b.ZIP"):
        assert model_path(path) == path


def run(*arguments, code=0):
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == code, (done.output, done.exception)
    return done


def test_export_writes_the_network(archive, tmp_path, monkeypatch):
    loaded = replace_network(monkeypatch)

    def write(network, path):
        path.write_text(network.description.name)

    monkeypatch.setattr("detector.onnx.export.export", write)
    done = run("export", "--model", str(archive), str(tmp_path / "new/out.onnx"))
    assert (tmp_path / "new/out.onnx").read_text() == "cnn32" and loaded == [str(archive)]
    assert done.stdout.endswith("out.onnx written\n")
    (tmp_path / "new/file").mkdir()
    done = run("export", "--model", str(archive), str(tmp_path / "new"), code=2)
    assert "new: this is a folder" in done.stderr and (tmp_path / "new/file").is_dir()


def test_a_failed_export_leaves_nothing(archive, tmp_path, monkeypatch):
    replace_network(monkeypatch)

    def fail(_, path):
        path.write_text("half")
        raise ExpectedError("cnn32: cannot be written as ONNX")

    monkeypatch.setattr("detector.onnx.export.export", fail)
    done = run("export", "--model", str(archive), str(tmp_path / "out.onnx"), code=2)
    assert done.stderr == "error: cnn32: cannot be written as ONNX\n"
    assert list(tmp_path.iterdir()) == []


def test_the_page_is_served_until_it_is_interrupted(monkeypatch):
    asked = []

    def serve(models, port):
        asked.append(([str(path) for path in models], port))
        raise KeyboardInterrupt

    monkeypatch.setattr("detector.demo.server.serve", serve)
    run("demo")
    run("demo", "--model", "cnn32", "--model", "a/b.zip", "--port", "0")
    assert asked == [([], 8000), (["models/cnn32.zip", "a/b.zip"], 0)]

    def refuse(*_):
        raise ExpectedError("port 1 cannot be used")

    monkeypatch.setattr("detector.demo.server.serve", refuse)
    assert run("demo", "--port", "1", code=2).stderr == "error: port 1 cannot be used\n"


def test_help_lists_the_commands():
    text = run("--help").stdout
    assert all(name in text for name in ("predict", "export", "demo"))
    assert "Usage" in run(code=2).output  # of no command
