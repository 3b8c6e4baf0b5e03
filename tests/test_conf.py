"""conf/ and params.yaml say the same, and every choice that conf/ offers is valid."""

import itertools
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from conf.compose import compose
from detector.base.errors import ExpectedError
from detector.params import validate

ROOT = Path(__file__).parent.parent
GROUPS = {
    group: sorted(path.stem for path in (ROOT / "conf" / group).glob("*.yaml"))
    for group in ("data", "model", "train")
}
GROUPS["model"] = [name for name in GROUPS["model"] if not name.startswith("_")]
OF_ONE = [name for name in GROUPS["model"] if name not in ("default", "paper", "all")]


def composed(tmp_path, *overrides):
    compose(tmp_path / "params.yaml", list(overrides))
    return yaml.safe_load((tmp_path / "params.yaml").read_text())


def test_the_committed_params_are_what_conf_composes(tmp_path):
    assert composed(tmp_path) == yaml.safe_load((ROOT / "params.yaml").read_text())


def test_the_groups_of_the_design_exist():
    assert {"sample", "cifake", "archive"} <= set(GROUPS["data"])
    assert {"default", "paper", "resnet50", "inceptionv3", "cnn32", "all"} <= set(GROUPS["model"])
    assert {"quick", "paper", "robust", "quick_robust", "tuned"} <= set(GROUPS["train"])


@pytest.mark.parametrize(("data", "model", "train"), list(itertools.product(*GROUPS.values())))
def test_every_choice_composes_and_validates(tmp_path, data, model, train):
    tree = composed(tmp_path, f"data={data}", f"model={model}", f"train={train}")
    params = validate(tree)
    if model not in ("default", "paper", "all"):
        assert list(params.model) == [model]
    for settings in params.model.values():  # the train group reaches the backbones of Keras
        assert settings.weights == ("none" if settings.own else tree["transfer"]["weights"])


def test_the_group_all_has_every_backbone(tmp_path):
    every = composed(tmp_path, "model=all")["model"]
    assert sorted(every) == OF_ONE


def test_a_file_says_only_what_differs():
    """A backbone of Keras is its builder; a recipe starts from another one."""
    for name in OF_ONE:
        text = (ROOT / f"conf/model/{name}.yaml").read_text()
        own = yaml.safe_load(text)
        assert own["defaults"] in ([f"_transfer@{name}"], [f"_scratch@{name}"])
        assert "builder" in own[name] and len(own[name]) <= 4
        assert text.startswith("# ") and "dvc exp run" in text.split("defaults")[0]
    for name in GROUPS["train"]:
        text = (ROOT / f"conf/train/{name}.yaml").read_text()
        assert "dvc exp run" in text.split("\ntrain:")[0], name
        assert (name == "quick") != ("defaults" in yaml.safe_load(text))


def test_the_papers_recipe_is_exact(tmp_path):
    """Values of the paper, as in shared knowledge of it: see the README."""
    tree = composed(tmp_path, "data=cifake", "model=paper", "train=paper")
    assert list(tree["model"]) == ["resnet50", "inceptionv3"]
    for settings in tree["model"].values():
        assert settings["input_size"] == 224
        assert settings["weights"] == "imagenet"
        assert settings["trainable_layers"] == 50
        assert settings["preprocessing"] == "rescale"
        assert settings["pooling"] == "average"
        assert (settings["dense_units"], settings["dropout"]) == (1024, 0.3)
    recipe = tree["train"]
    assert (recipe["epochs"], recipe["steps_per_epoch"], recipe["batch_size"]) == (5, 300, 64)
    assert (recipe["optimizer"], recipe["schedule"]) == ("adam", "constant")
    # one phase, one rate
    assert (recipe["warmup"], recipe["head_epochs"], recipe["backbone_rate"]) == (0, 0, 1)
    assert recipe["augmentation"] == {
        "horizontal_flip": True, "zoom": 0.2, "blur": None, "jpeg": None, "noise": None,
    }  # fmt: skip
    assert tree["preprocess"]["validation_fraction"] == 0.2


FAMILIES = ("resnet50v2", "densenet121", "efficientnetv2b0", "convnext_tiny", "mobilenetv3_large")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_tuned_recipe(tmp_path, name):
    params = validate(composed(tmp_path, "data=cifake", "train=tuned", f"model={name}"))
    recipe, settings = params.train, params.model[name]
    assert 0 < recipe.head_epochs < recipe.epochs and 0 < recipe.backbone_rate < 1
    assert (recipe.schedule, recipe.optimizer) == ("cosine", "adamw") and recipe.warmup > 0
    assert (settings.weights, settings.preprocessing) == ("imagenet", "imagenet")
    assert (settings.input_size, settings.trainable_layers) == (224, "all")
    assert settings.batchnorm == "train"


def test_one_value_of_one_backbone_can_be_set(tmp_path):
    tree = composed(tmp_path, "model=resnet50", "model.resnet50.learning_rate=3e-4")
    assert list(tree["model"]) == ["resnet50"]
    assert validate(tree).model["resnet50"].learning_rate == 3e-4


@pytest.mark.parametrize("goal", ["0.5", "balanced", "fpr_0", "fpr_0.01"])
def test_the_goal_of_the_threshold_needs_no_quotes(tmp_path, goal):
    """As -S gives it to Hydra, for which the = of fpr=0.01 was an error."""
    tree = composed(tmp_path, f"evaluate.threshold={goal}")
    assert validate(tree).evaluate.threshold == goal


def test_a_wrong_choice_lists_the_right_ones(tmp_path):
    with pytest.raises(ExpectedError, match=r"model/resnet.*inceptionv3.*resnet50"):
        composed(tmp_path, "model=resnet")
    with pytest.raises(ExpectedError, match="epoch"):
        composed(tmp_path, "train.epoch=3")


SAMPLE = (ROOT / "conf/data/sample.yaml").read_bytes()
LAST = SAMPLE.count(b"\n") + 1


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (SAMPLE + b"name: again\n", f", line {LAST}: cannot be read as YAML (found duplicate key"),
        (SAMPLE + b"\tname: x\n", f", line {LAST}: cannot be read as YAML (found character '\\t'"),
        (SAMPLE + "# für\n".encode("latin-1"), f", line {LAST}: cannot be read as YAML ('utf-8'"),
        (SAMPLE.decode().encode("utf-16"), ", line 1: cannot be read as YAML ('utf-8' codec"),
        (b"name: [1\n", ", line 2: cannot be read as YAML (expected ',' or ']'"),
        (b"name: *other\n", ", line 1: cannot be read as YAML (found undefined alias"),
        (b"name: !!python/name:os.getcwd\n", ", line 1: cannot be read as YAML (could not"),
        (b"name: \0\n", ": cannot be read as YAML (unacceptable character"),
        (b"name: " + 5000 * b"[", ": cannot be read as YAML (maximum recursion"),
        (b"name: &a [*a]\n", ": cannot be read as YAML (maximum recursion"),
        (b"image_size: " + 5000 * b"9" + b"\n", ": cannot be read as YAML (Exceeds the limit"),
        (b"name: ${a\n", None),
    ],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path, monkeypatch, content, words):
    shutil.copytree(ROOT / "conf", tmp_path / "conf")
    monkeypatch.setattr("conf.compose.CONF", tmp_path / "conf")
    (tmp_path / "conf/data/sample.yaml").write_bytes(content)
    (tmp_path / "params.yaml").write_text("as it was")
    with pytest.raises(ExpectedError) as caught:
        composed(tmp_path)
    sentence = str(caught.value)
    assert sentence.startswith(
        f"conf/data/sample.yaml{words}" if words else "conf: no viable alternative"
    )
    assert sentence.isprintable() and len(sentence) < 250
    assert (tmp_path / "params.yaml").read_text() == "as it was"
    assert {path.name for path in tmp_path.iterdir()} == {"conf", "params.yaml"}


def test_a_place_that_cannot_be_written_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ExpectedError, match=r"file: cannot be written \(Not a directory\)|exists"):
        compose(tmp_path / "file/params.yaml", [])


@pytest.mark.parametrize("kind", ["a key given twice", "a read-only folder"])
def test_make_params_ends_with_one_line(tmp_path, kind):
    command = [sys.executable, "-m", "conf.compose"]
    if kind == "a read-only folder":
        if not shutil.which("setpriv"):
            pytest.skip("root may write everywhere, and there is no setpriv to give that up")
        command = ["setpriv", "--bounding-set=-dac_override,-dac_read_search", *command]
    for package in ("conf", "detector", "stages"):
        shutil.copytree(ROOT / package, tmp_path / package)
    if kind == "a key given twice":
        with (tmp_path / "conf/config.yaml").open("a") as file:
            file.write("seed: 2\n")
    else:
        tmp_path.chmod(0o555)
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    tmp_path.chmod(0o755)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (1, "", 1)
    place = "conf/config.yaml, line" if kind == "a key given twice" else "params.yaml: cannot"
    assert done.stderr.startswith(f"error: {place}")
    assert not (tmp_path / "params.yaml").exists()


def test_every_value_in_conf_is_commented():
    """A comment stands on the line of a value or in the lines above it."""
    for path in sorted((ROOT / "conf").rglob("*.yaml")):
        if path.stem in ("paper", "all") and path.parent.name == "model":
            continue
        above = ""
        for line in path.read_text().splitlines():
            above = line if line.strip().startswith("#") else above
            if re.match(r"\s*[a-z_0-9]+:\s*\S", line) and not line.lstrip().startswith("- "):
                assert "#" in line or above, f"{path.name}: {line}"
