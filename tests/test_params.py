"""A wrong params.yaml gives one sentence that names the key."""

import copy
import math

import numpy as np
import pytest
import yaml

from detector.base.errors import ExpectedError
from detector.base.params import read_tree
from detector.evaluation.selective import choose_threshold
from detector.params import validate
from tests.helpers import ROOT, composed_params

MISSING = object()


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    return composed_params(tmp_path_factory.mktemp("conf"))


def changed(tree, key, value):
    tree = copy.deepcopy(tree)
    *sections, last = key.split(".")
    place = tree
    for section in sections:
        place = place[section]
    if value is MISSING:
        del place[last]
    else:
        place[last] = value
    return tree


def complaint(tree) -> str:
    with pytest.raises(ExpectedError) as caught:
        validate(tree)
    sentence = str(caught.value)
    assert sentence.startswith("params.yaml: ")
    assert sentence.isprintable()  # hence one line
    # what pydantic says of its own workings helps nobody
    for word in ("constrained", "literal[", "Params", "dictionary", "Value error", "Input should"):
        assert word not in sentence
    return sentence.removeprefix("params.yaml: ").split(". Values are set")[0]


def test_the_committed_params_are_valid():
    params = validate(yaml.safe_load((ROOT / "params.yaml").read_text()))
    assert params.model["inceptionv3"].builder == "InceptionV3"


@pytest.mark.parametrize(
    ("key", "value", "reason"),
    [
        ("sead", 1, "is not a key that exists"),
        ("model.cnn32.pooling", "mean", "must be 'average', 'max' or 'flatten', not 'mean'"),
        ("train.augmentation.blur", {"probability": 0.5, "sigma": [1.0, 0.5]}, "[lowest, highest]"),
        ("train.augmentation.jpeg", {"probability": 2.0, "quality": [30, 90]}, "equal to 1"),
        ("corruption.max_images", 1, "greater than or equal to 2"),
        ("corruption.jpeg", [0], "greater than or equal to 1"),
        ("corruption.blur_then_jpeg", [[0.5, 101]], "pairs [sigma, quality]"),
        ("external.path", "", "at least 1 character"),
        ("model.resnet50.droput", 0.3, "is not a key that exists"),
        ("train.augmentation.rotate", 1, "is not a key that exists"),
        ("seed", MISSING, "is missing"),
        ("evaluate", MISSING, "is missing"),
        ("model.resnet50.dropout", MISSING, "is missing"),
        ("seed", "1", "must be a valid integer, not '1'"),
        ("seed", True, "must be a valid integer, not True"),
        ("seed", -1, "must be greater than or equal to 0, not -1"),
        ("seed", 2**31, f"must be less than {2**31}, not {2**31}"),
        ("data", None, "must hold keys and values, not None"),
        ("model", ["resnet50"], "must hold keys and values, not ['resnet50']"),
        ("model", {}, "must not be empty, not {}"),
        ("data.name", "a/b", "must match ^[A-Za-z0-9][A-Za-z0-9_-]*$, not 'a/b'"),
        ("data.name", "..", "must match ^[A-Za-z0-9][A-Za-z0-9_-]*$, not '..'"),
        ("data.name", "a\n", r"must match ^[A-Za-z0-9][A-Za-z0-9_-]*$, not 'a\n'"),
        ("data.name", "a" * 65, "must have at most 64 characters"),
        ("data.sha256", "ABC", "must match ^[0-9a-f]{64}$, not 'ABC'"),
        ("data.path", "", "at least 1 character"),
        ("data.path", "~/my.zip", "~ is not expanded; write /"),
        ("model.cnn32.weights", "~/w.h5", "~ is not expanded; write /"),
        ("external.path", "~", "~ is not expanded; write /"),
        ("external.path", "~nobody~/x", "~ is not expanded; write ./~nobody~/x"),
        ("data.kaggle", "owner/slug", "must match"),
        ("data.kaggle", "owner/slug/versions/0", "must match"),
        ("data.image_size", 7, "must be greater than or equal to 8, not 7"),
        ("preprocess.validation_fraction", 0, "must be greater than 0, not 0"),
        ("preprocess.validation_fraction", 1, "must be less than 1, not 1"),
        ("preprocess.validation_fraction", math.nan, "not nan"),
        ("preprocess.near_duplicate_rms", -0.1, "must be greater than or equal to 0, not -0.1"),
        ("preprocess.on_bad_image", "skip", "must be 'error' or 'drop', not 'skip'"),
        ("model.resnet50.input_size", 7, "must be greater than or equal to 8 or 'minimum', not 7"),
        ("model.inceptionv3.input_size", 1025, "must be less than or equal to 1024 or"),
        ("model.resnet50.input_size", "small", "must be a valid integer or 'minimum', not 'small'"),
        ("model.resnet50.builder", "os.system", "must match"),
        ("model.resnet50.builder", None, "must be a valid string, not None"),
        ("model.resnet50.trainable_layers", -1, "must be greater than or equal to 0 or 'all'"),
        ("model.resnet50.trainable_layers", 0.5, "must be a valid integer or 'all', not 0.5"),
        ("model.resnet50.dropout", 1, "must be less than 1, not 1"),
        ("model.resnet50.bn_momentum", 1.0, "must be less than 1, not 1.0"),
        ("model.resnet50.learning_rate", 0, "must be greater than 0, not 0"),
        ("model.resnet50.learning_rate", "1e-3", "must be a valid number, not '1e-3'"),
        ("train.epochs", 0, "must be greater than or equal to 1, not 0"),
        ("train.steps_per_epoch", 0, "must be greater than or equal to 1, not 0"),
        ("train.optimizer", "Adam", "must be 'adam', 'adamw' or 'sgd', not 'Adam'"),
        ("train.warmup", 1, "must be less than 1, not 1"),
        ("train.warmup", -0.1, "must be greater than or equal to 0, not -0.1"),
        ("train.head_epochs", 3, "must be less than the 3 epochs of the training, not 3"),
        ("train.head_epochs", -1, "must be greater than or equal to 0, not -1"),
        ("train.head_epochs", MISSING, "is missing"),
        ("train.backbone_rate", 0, "must be greater than 0, not 0"),
        ("train.backbone_rate", 1.5, "must be less than or equal to 1, not 1.5"),
        ("train.augmentation.zoom", 1, "must be less than 1, not 1"),
        ("evaluate.batch_size", 0, "must be greater than or equal to 1, not 0"),
        ("evaluate.threshold", "fpr=0.01", "fpr=X is written fpr_X now; must be 0.5, balanced or"),
        *(
            (
                "evaluate.threshold",
                value,
                f"must be 0.5, balanced or fpr_X, with X from 0 up to 1 "
                f"as in fpr_0.01, not {value!r}",
            )
            for value in (
                "fpr_.05",
                "fpr_.0",
                "fpr_0.99999999999999999999",
                "fpr_1",
                0.6,
                0,
                True,
                None,
                [0.5],
                {"fpr": 0.1},
                "fpr_0.1\n",
            )
        ),
    ],
)
def test_a_wrong_value_is_named(tree, key, value, reason):
    sentence = complaint(changed(tree, key, value))
    assert sentence.startswith(key)
    assert reason in sentence


@pytest.mark.parametrize("goal", [0.5, "0.5", "balanced", "fpr_0", "fpr_0.01", "fpr_0.999999999"])
def test_what_the_threshold_may_be_ends_in_no_fault_of_evaluate(tree, goal):
    params = validate(changed(tree, "evaluate.threshold", goal))
    assert params.evaluate.threshold == str(goal)
    labels, probabilities = np.array([0, 1, 0, 1]), np.array([0.1, 0.4, 0.6, 0.9])
    assert 0 <= choose_threshold(labels, probabilities, params.evaluate.threshold) <= 1


@pytest.mark.parametrize("schedule", ["constant", "onecycle"])
def test_warm_up_is_of_the_cosine_schedule(tree, schedule):
    tree = changed(tree, "train.schedule", schedule)
    assert validate(tree).train.warmup == 0
    words = complaint(changed(tree, "train.warmup", 0.1))
    assert words == f"train.warmup: must be 0 with schedule {schedule}, not 0.1"


def test_several_devices_take_no_xla_and_no_float16(tree):
    half = changed(tree, "train.precision", "mixed_float16")
    assert validate(half).train.strategy == "none"
    words = complaint(changed(half, "train.strategy", "mirrored"))
    assert words == "train.strategy: mirrored needs another precision, such as mixed_bfloat16"
    xla = changed(changed(tree, "train.deterministic", False), "train.xla", True)
    words = complaint(changed(xla, "train.strategy", "multiworker"))
    assert words == "train.strategy: multiworker needs xla: auto or false"


def test_every_wrong_key_is_named(tree):
    tree = changed(changed(tree, "seed", -1), "train.epochs", "many")
    assert complaint(tree) == (
        "seed: must be greater than or equal to 0, not -1; "
        "train.epochs: must be a valid integer, not 'many'"
    )


def test_one_wrong_key_is_named_once(tree):
    assert complaint(changed(tree, "model.resnet50.builder", 7)).count("model.") == 1
    assert complaint(changed(tree, "model.resnet50.input_size", "x")).count("model.") == 1


@pytest.mark.parametrize("name", ["a b", "a-b", "../x", "", "_x", "a.b"])
def test_names_of_models_are_plain(tree, name):
    settings = tree["model"]["resnet50"]
    sentence = complaint({**tree, "model": {name: settings}})
    assert sentence == f"model: {name!r} is not made of letters, digits and _"


def test_a_number_as_the_name_of_a_model(tree):
    sentence = complaint({**tree, "model": {50: tree["model"]["resnet50"]}})
    assert sentence == "model.50: must be a valid string, not 50"


def test_variants_of_a_backbone_are_models_of_their_own(tree):
    settings = tree["model"]["resnet50"]
    params = validate({**tree, "model": {"a": settings, "int": {**settings, "dropout": 0.0}}})
    assert list(params.model) == ["a", "int"]


def test_a_number_too_long_to_write(tree):
    sentence = complaint(changed(tree, "seed", 16**5000))
    assert sentence == f"seed: must be less than {2**31}, not a number that is too long to show"
    complaint(changed(tree, "model.cnn32.input_size", 16**5000))


def test_keys_that_are_no_names(tree):
    assert complaint({**tree, "a\n\x1b": 1}) == r"'a\n\x1b': is not a key that exists"
    assert complaint({**tree, 7: 1}) == "7: must be text, not 7"


@pytest.mark.parametrize(
    "text",
    [
        "seed: 2024-02-30",
        "a: !!bool x",
        "a: !!timestamp x",
        "a: !!int x",
        "a: [" * 3000,
        "a: " + "9" * 5000,
    ],
)
def test_yaml_that_the_parser_fails_on(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text(text)
    with pytest.raises(ExpectedError, match=r"^params\.yaml: cannot be read \(.*git checkout"):
        read_tree()


@pytest.mark.parametrize("content", [None, [], "text", 3])
def test_a_file_that_is_no_mapping(content):
    assert complaint(content).startswith("the file: must hold keys and values, not ")


def test_a_long_wrong_value_is_shortened(tree):
    assert len(complaint(changed(tree, "train.optimizer", "x" * 10_000))) < 200
