"""The real pipeline by its literal commands, in a clone, on a small archive with short training.

One clone serves the whole file: the tests go through a user's session from top to bottom.
"""

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from tests.clone import small_clone
from tests.helpers import coded, make_archive, random_pixels

ROOT = Path(__file__).parent.parent
pytestmark = pytest.mark.slow
BACKBONES = ("resnet50", "cnn32")  # of the default run in the clone


def changed(clone):
    """Give what differs from the last commit."""
    return clone("git status --porcelain").splitlines()


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    run = small_clone(tmp_path_factory.mktemp("clone") / "repository")
    run("dvc repro")
    run.commit()
    return run


def test_every_declared_output_exists_and_git_has_what_it_should(clone):
    assert clone("dvc status").strip() == "Data and pipelines are up to date."
    lock = yaml.safe_load(clone.path("dvc.lock").read_text())["stages"]
    for_each = ("train", "evaluate", "package", "robustness", "generalise")
    assert set(lock) == {
        "download", "preprocess", "corrupt", "external", "compare", "report",
        *(f"{stage}@{name}" for stage in for_each for name in BACKBONES),
    }  # fmt: skip
    for stage in lock.values():
        for out in stage["outs"]:
            assert clone.path(out["path"]).exists(), out["path"]
    tracked = clone("git ls-files").split()
    assert {"dvc.lock", "metrics/cnn32.json", "plots/compare/compare.json"} <= set(tracked)
    kept = re.compile(r"(data|models)/(\.gitignore|README\.md|sample/|external/|start/)")
    made = [name for name in tracked if name.startswith(("data/", "models/", ".work/"))]
    assert [name for name in made if not kept.match(name)] == []
    assert changed(clone) == []
    assert not list(clone.folder.rglob(".partial.*"))


def test_declared_metrics_and_plots_are_there(clone):
    pipeline = yaml.safe_load(clone.path("dvc.yaml").read_text())
    for plot in pipeline["plots"]:
        if isinstance(plot, str):
            assert clone.path(plot).exists(), plot
        else:
            (settings,) = plot.values()
            ((path, column),) = settings["y"].items()
            table = pd.read_csv(clone.path(path))
            assert {column, settings["x"], "backbone"} <= set(table.columns)
            assert set(table["backbone"]) == set(BACKBONES)
            assert clone.path(f".dvc/plots/{settings['template']}.json").exists()
    shown = clone("dvc metrics show").splitlines()
    assert max(map(len, shown)) <= 160
    rows = {row.split()[0]: row.split()[1:] for row in shown[1:]}
    assert set(rows) == {f"metrics/{name}.json" for name in BACKBONES}
    for name in BACKBONES:
        headline = clone.json(f"metrics/{name}.json")
        assert next(iter(headline)) == "accuracy" and len(headline) <= 12
        assert all(round(value, 5) == value for value in headline.values())


def test_numbers_agree_with_the_predictions(clone):
    table = pd.read_csv(clone.path("data/results/resnet50/test/predictions.csv"))
    assert table["split"].value_counts().to_dict() == {"test": 40, "val": 8}
    test = table[table["split"] == "test"]
    labels = np.load(clone.path("data/test/labels.npy"))
    assert np.array_equal(test["label"], labels)
    right = (test["probability"] >= 0.5) == (test["label"] == 1)
    evaluation = clone.json("data/results/resnet50/test/evaluation.json")
    assert evaluation["test"]["accuracy"] == pytest.approx(right.mean(), abs=1e-6)
    assert (
        clone.json("plots/compare/compare.json")["resnet50"]["here"]["accuracy"]
        == (evaluation["test"]["accuracy"])
    )
    training = clone.json("data/training/resnet50/metrics.json")
    curve = pd.read_csv(
        clone.path("data/training/resnet50/plots/metrics/eval/accuracy.tsv"), sep="\t"
    )
    assert len(curve) == 2
    assert training["eval"]["accuracy"] == pytest.approx(curve["accuracy"].iloc[-1])
    assert "not CIFAKE" in clone.path("plots/compare/compare.md").read_text()


ANSWER = """
import numpy as np
from detector import load
detector = load("models/{name}.zip")
np.save("{out}", detector.predict(np.load("data/test/images.npy")).raw, allow_pickle=False)
"""


@pytest.mark.parametrize("name", ["resnet50", "cnn32"])
def test_a_packed_model_answers_as_the_pipeline_did(clone, tmp_path, name):
    code = ANSWER.format(name=name, out=tmp_path / "raw.npy")
    assert clone(f"python -c '{code}'") == "", "nothing is said on the way"
    table = pd.read_csv(clone.path(f"data/results/{name}/test/predictions.csv"))
    wanted = table.loc[table["split"] == "test", "probability"]
    assert np.load(tmp_path / "raw.npy") == pytest.approx(wanted.to_numpy(), abs=1e-6)


def test_a_run_is_published_without_an_image(clone):
    clone("python -m benchmarks.publish small")
    folder = clone.path("results/sample/small")
    kept = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    shown = ("gradcam.png", "samples.png", "corruptions.png", "images.npy")
    assert [name for name in kept if name.endswith(shown)] == []
    assert {"params.yaml", "dvc.lock", "cost.json", "plots/compare/roc.csv"} <= kept
    report = (folder / "docs/report/index.md").read_text()
    pictures = re.findall(r"!\[.*?\]\((.*?)\)", report)
    assert pictures and all((folder / "docs/report" / path).is_file() for path in pictures)
    assert "<img" not in report
    table = pd.read_csv(clone.path("data/results/cnn32/test/predictions.csv"))
    test = table[table["split"] == "test"].set_index("name").sort_index()
    raw = np.load(folder / "data/results/cnn32/test/test_probabilities.npy")
    assert raw == pytest.approx(test["probability"].to_numpy(), abs=1e-8)
    cost = json.loads((folder / "cost.json").read_text())
    assert set(cost["backbones"]) == set(BACKBONES) and cost["machine"]["cores"] >= 1
    right = 100 * ((raw >= 0.5) == (test["label"] == 1)).mean()
    (row,) = [
        line
        for line in clone.path("results/sample/README.md").read_text().splitlines()
        if line.startswith("| small, cnn32") and f"| {right:.2f} (" in line
    ]
    assert row.count("|") == 9
    before = clone.path("results/sample/README.md").read_bytes()
    clone("python -m benchmarks.publish")
    assert clone.path("results/sample/README.md").read_bytes() == before
    clone.path(".work/cost/cnn32/training.json").unlink()
    said = clone("python -m benchmarks.publish again", fails=True)
    assert "error: cnn32: its training was not timed in this workspace" in said
    assert not clone.path("results/sample/again").exists()
    shutil.rmtree(clone.path("results"))


def test_a_second_repro_does_nothing(clone):
    out = clone("dvc repro")
    assert "Running stage" not in out
    assert "up to date" in out


def test_training_twice_gives_the_same_bytes(clone):
    kept = clone.path("dvc.lock").read_text()
    out = clone("dvc repro --force --single-item train@cnn32")
    assert "Running stage 'train@cnn32'" in out
    assert clone.path("dvc.lock").read_text() == kept
    assert changed(clone) == []


def test_start_up_is_quiet(clone):
    out = clone("python -m stages.evaluate --model resnet50")
    said = (
        r"resnet50: prediction [\d,]+ images/s in batches of 40\n"
        r"resnet50: accuracy [\d.]+ % \(95 % interval .* AUC .*, n = 40 test images\n"
    )
    assert re.fullmatch(f"(warning: .*\\n)*{said}", out), (
        "TensorFlow's start-up log should not reach the user"
    )


def test_one_backbone_and_back_again(clone):
    kept = clone.path("dvc.lock").read_text()
    out = clone("dvc exp run --name one -S model=resnet50")
    for stage in ("download", "preprocess", "train@resnet50", "evaluate@resnet50"):
        assert f"Stage '{stage}' didn't change, skipping" in out
    assert "@cnn32" not in out
    assert list(clone.json("plots/compare/compare.json")) == ["resnet50"]
    assert clone("dvc status").strip() == "Data and pipelines are up to date."

    diff = clone("dvc metrics diff")
    assert len(diff.splitlines()) <= 40
    gone = [line for line in diff.splitlines() if line.startswith("metrics/cnn32.json")]
    assert len(gone) == 9 and "metrics/resnet50.json" not in diff
    shown = clone("dvc plots show")
    page = clone.path("dvc_plots/index.html").read_text()
    assert "index.html" in shown
    for word in (
        "Metrics with 95 % intervals", "Accuracy by epoch", "Confusion at the frozen threshold",
        "resnet50", "gradcam.png",
    ):  # fmt: skip
        assert word in page

    clone("git checkout -- params.yaml")
    out = clone("dvc repro")
    assert "> python -m stages.train" not in out, "the other backbone came back from the cache"
    assert clone.path("dvc.lock").read_text() == kept
    assert changed(clone) == []


def test_metrics_diff_shows_what_a_parameter_changed(clone):
    change = "-S model=cnn32 -S model.cnn32.learning_rate=0.01"
    out = clone(f"dvc exp run {change}")
    assert "Running stage 'train@cnn32'" in out
    assert "Stage 'preprocess' didn't change" in out
    diff = json.loads(clone("dvc metrics diff --json"))["metrics/cnn32.json"]
    assert set(diff) <= set(clone.json("metrics/cnn32.json")) and "train_accuracy" in diff
    params = json.loads(clone("dvc params diff --json"))["params.yaml"]
    assert params["model.cnn32.learning_rate"]["new"] == 0.01
    clone("git checkout -- . && dvc checkout --force")
    said = clone("python -m stages.report")
    assert re.search(r"resnet50: training [\d,]+ images/s", said)
    assert "cnn32: training not timed in this workspace" in said, "the weights of before are back"


def test_wrong_choices_say_what_is_right(clone):
    assert "inceptionv3" in clone("dvc exp run -S model=resnet", fails=True)
    assert "epochz" in clone("dvc exp run -S train.epochz=3", fails=True)
    out = clone("dvc exp run -S train.epochs=0 -S model=resnet50", fails=True)
    assert "error: params.yaml: train.epochs" in out and "Traceback" not in out
    out = clone("dvc exp run -S data=archive", fails=True)
    assert "give it with -S data.path=my.zip" in out
    clone("git checkout -- params.yaml dvc.lock")


def test_an_archive_of_ones_own_and_a_change_of_it(clone, tmp_path):
    mine = tmp_path / "archive (1).zip"
    make_archive(mine, each=12)
    command = f"""dvc exp run -S data=archive -S "data.path='{mine}'" preprocess"""
    clone(command)
    assert clone.json("data/audit.json")["archive"]["name"] == "archive"
    assert clone.json("data/audit.json")["images"]["test"] == {"FAKE": 12, "REAL": 12}
    out = clone(command)
    assert "Running stage" not in out
    make_archive(mine, each=14)
    assert "Running stage 'download'" in clone(command)
    assert clone.json("data/audit.json")["images"]["test"] == {"FAKE": 14, "REAL": 14}


def test_an_external_set_is_judged_and_nothing_else_runs_again(clone):
    clone("git checkout -- . && dvc checkout --force && dvc repro")
    for i in range(6):
        kind = "FAKE" if i % 2 else "REAL"
        path = clone.path(f"data/external/other/{kind}/{i}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(coded(random_pixels(i, 40 + i), "PNG"))
    out = clone("dvc repro")
    ran = {line.split("'")[1] for line in out.splitlines() if line.startswith("Running stage")}
    assert ran == {
        "external", "compare", "report",
        *(f"{stage}@{name}" for stage in ("generalise", "package") for name in BACKBONES),
    }  # fmt: skip
    judged = clone.json("data/results/resnet50/external/external.json")["other"]
    assert (judged["n_fake"], judged["n_real"]) == (3, 3)
    assert "other" in clone.path("docs/report/index.md").read_text()
    assert "other" in clone.path("docs/report/index.html").read_text()
    assert clone("git status --porcelain data") == "", "the images are not for Git"


def test_an_experiment_applied_over_other_results_is_whole(clone):
    """Cards, metrics and plots of the other backbones are not those of the last commit by now."""
    shutil.rmtree(clone.path("data/external/other"))
    clone("dvc exp apply one")
    assert clone("dvc status").strip() == "Data and pipelines are up to date."
