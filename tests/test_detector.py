"""What a packaged model answers, against the network and the decision that it was made from."""

import hashlib
import json
import random
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from detector.networks.runtime import start_keras

start_keras(seed=1)

import keras  # noqa: E402

from detector import load  # noqa: E402
from detector.base.arrays import load_split  # noqa: E402
from detector.base.errors import ExpectedError  # noqa: E402
from detector.deployment.familiarity import limits, statistics  # noqa: E402
from detector.deployment.model_archive import read_description, write_model  # noqa: E402
from detector.diagnosis.gradcam import grad_cam  # noqa: E402
from detector.evaluation.calibration import logit  # noqa: E402
from detector.evaluation.headline import OF_TEST  # noqa: E402
from detector.networks.model import build_model, load_trained, save_weights  # noqa: E402
from stages import package  # noqa: E402
from tests.helpers import ROOT  # noqa: E402
from tests.model_files import (  # noqa: E402
    ARCHIVE,
    DECISION,
    RESULTS,
    described,
    make_project,
    noisy_images,
    settings,
)


def run_stage(folder: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(sys, "argv", ["package", "--model", "cnn32"])
        package.main()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """Give folder, images of test and their predictions."""
    folder = tmp_path_factory.mktemp("project")
    images = make_project(folder)
    run_stage(folder)
    table = pd.read_csv(folder / "data/results/cnn32/test/predictions.csv")
    return folder, images, table[table["split"] == "test"]


@pytest.fixture(scope="module")
def detector(project):
    return load(project[0] / "models/cnn32.zip")


def test_the_stage_gathers_what_is_known(project, detector):
    folder, _, table = project
    found = detector.description
    assert found == read_description(folder / "models/cnn32.zip")
    sized = settings().model_copy(update={"input_size": 32})
    assert (found.name, found.image_size, found.settings) == ("cnn32", 32, sized)
    assert found.decision.model_dump() == vars(DECISION)
    assert (found.data.name, found.data.archive_sha256) == (ARCHIVE["name"], ARCHIVE["sha256"])
    arrays = [(folder / f"data/train/{name}.npy").read_bytes() for name in ("images", "labels")]
    assert found.data.training_sha256 == hashlib.sha256(b"".join(arrays)).hexdigest()
    assert found.data.training_images.model_dump() == {"REAL": 333, "FAKE": 666}
    values = statistics(load_split(folder / "data/train").images)
    assert found.familiar == limits(values, {"PNG": 713, "BMP": 220, "WEBP": 66})
    assert found.familiar.ranges and found.familiar.codecs == ("PNG", "BMP", "WEBP")
    assert found.versions.backend == "tensorflow"

    called = DECISION.calibrate(table["probability"].to_numpy()) >= DECISION.threshold
    actual = table["label"] == 1
    test = found.test
    assert (test.n, test.accuracy) == (40, (called == actual).mean())
    assert test.fake_predicted_real == (called & ~actual).sum()
    assert test.real_predicted_fake == (~called & actual).sum()
    assert sum(found.scores.fake) == sum(found.scores.real) == 20


def test_the_stage_writes_the_headline(project):
    made = json.loads((project[0] / "metrics/cnn32.json").read_text())
    assert made == dict.fromkeys(OF_TEST, 0.12346) | {
        "val_accuracy": 0.75, "train_accuracy": 0.625, "corrupted_accuracy": 0.6,
        "a_accuracy": 0.1, "b_accuracy": 0.2, "c_accuracy": 0.3,
    }  # fmt: skip


@pytest.mark.parametrize("name", RESULTS)
def test_results_that_are_not_whole_are_refused(project, tmp_path, name):
    folder = tmp_path / "project"
    shutil.copytree(project[0], folder)
    (folder / "data/results/cnn32" / name).write_text("[]")
    (folder / "metrics/cnn32.json").unlink()
    with pytest.raises(ExpectedError, match=r"not the results of a backbone .* run 'dvc repro'"):
        run_stage(folder)
    assert not (folder / "metrics/cnn32.json").exists()


def test_equal_dependencies_make_an_equal_file(project):
    path = project[0] / "models/cnn32.zip"
    before = path.read_bytes()
    run_stage(project[0])
    assert path.read_bytes() == before


def test_the_stage_refuses_metrics_without_the_archive(project, tmp_path):
    shutil.copytree(project[0], tmp_path / "copy")
    for content in ({}, {"archive": ARCHIVE}, {"archive": ARCHIVE, "codecs": {}}, {"archive": {}}):
        (tmp_path / "copy/data/audit.json").write_text(json.dumps(content))
        with pytest.raises(ExpectedError, match=r"data/audit\.json: does not name the archive"):
            run_stage(tmp_path / "copy")


def test_answers_are_the_predictions_of_the_evaluation(project, detector):
    _, images, table = project
    found = detector.predict(images)
    said = table["probability"].to_numpy()
    assert len(set(said.round(3))) > 30
    assert np.abs(found.raw - said).max() <= 1e-6
    assert np.abs(found.probability - DECISION.calibrate(said)).max() <= 1e-6
    assert (found.verdict == DECISION.verdicts(found.probability)).all()
    assert {"REAL", "FAKE"} <= set(found.verdict) <= {"REAL", "FAKE", "UNSURE"}
    assert (found.raw.dtype, found.probability.dtype) == (np.float64, np.float64)


@pytest.mark.parametrize("batch_size", [1, 3, 13, 40, 1000])
def test_the_batch_changes_answers_by_rounding_alone(project, detector, batch_size):
    images = project[1]
    found, together = detector.predict(images, batch_size), detector.predict(images)
    assert found.raw == pytest.approx(together.raw, abs=1e-6)
    assert logit(found.raw) == pytest.approx(logit(together.raw), abs=1e-5)
    distance = np.abs(logit(together.probability) - logit(DECISION.threshold))
    far = np.abs(distance - DECISION.abstain) > 1e-5
    assert far.sum() > 30
    assert found.verdict[far].tolist() == together.verdict[far].tolist()


def test_a_batch_of_nothing_is_refused(project, detector):
    for size in (0, -1):
        with pytest.raises(ValueError, match="at least one image"):
            detector.predict(project[1], size)


def test_no_image_a_view_and_a_memory_map(project, detector):
    folder, images, _ = project
    none = detector.predict(images[:0])
    assert [len(column) for column in none] == [0, 0, 0]
    backwards = detector.predict(images[::-1]).raw[::-1]
    assert backwards == pytest.approx(detector.predict(images).raw, abs=1e-6)
    mapped = np.load(folder / "data/train/images.npy", mmap_mode="r")
    assert detector.predict(mapped[:2]).raw.shape == (2,)


@pytest.mark.parametrize(
    "images",
    [
        np.zeros((1, 32, 32, 3), np.float32),
        np.zeros((32, 32, 3), np.uint8),
        np.zeros((1, 31, 32, 3), np.uint8),
        np.zeros((1, 32, 32, 4), np.uint8),
        [[0]],
    ],
)
def test_other_arrays_are_refused(detector, images):
    for answer in (detector.predict, detector.unfamiliar, lambda x: detector.explain(x, [0])):
        with pytest.raises(ValueError, match="images are uint8 N,32,32,3, not"):
            answer(images)


def test_heat_is_that_of_grad_cam(project, detector):
    folder, images, _ = project
    called = np.array([0, 1, 1])
    model = load_trained(str(folder / "models/cnn32.weights.h5"), settings(), 32)
    heat = detector.explain(images[:3], called)
    assert (heat.dtype, heat.shape) == (np.float32, (3, 32, 32))
    assert heat == pytest.approx(grad_cam(model, images[:3], predicted=called), abs=1e-5)
    for wrong in ([0, 1], [0, 1, 2], 1):
        with pytest.raises(ValueError, match="predicted is 0 or 1 for each of 3 images"):
            detector.explain(images[:3], wrong)


def test_of_100_counts_test_images_with_such_a_score(project, detector):
    _, _, table = project
    calibrated = DECISION.calibrate(table["probability"].to_numpy())
    same = (calibrated >= 0.5) & (calibrated < 0.75)
    assert same.sum() > 2
    fakes = (table["label"].to_numpy()[same] == 0).mean()
    assert detector.of_100(0.6) == (round(100 * fakes), same.sum())


def test_of_100_says_so_where_no_test_image_was(detector, monkeypatch):
    monkeypatch.setattr(detector, "description", described())
    assert detector.of_100(0.2) == (67, 3)
    assert detector.of_100(0.8) == (0, 0)
    with pytest.raises(ValueError, match="from 0 to 1"):
        detector.of_100(1.5)


def test_unlike_images_are_told(project, detector):
    images = noisy_images(2)
    images[1] = 255
    usual, white = detector.unfamiliar(images)
    assert usual == ()
    assert "brighter than 99.9 % of the training images" in white
    coded = detector.unfamiliar(images[:1], ["JPEG quality 90 4:2:0"])
    assert coded == [("coded as JPEG quality 90 4:2:0, the training images as PNG, BMP, WEBP",)]


def test_random_numbers_of_the_caller_go_on(project):
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.random()
    random.seed(3)
    np.random.seed(3)
    load(project[0] / "models/cnn32.zip")
    assert (random.random(), np.random.random()) == expected


def test_the_dtype_policy_of_the_caller_stays_and_is_not_the_networks(project, detector):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        other = load(project[0] / "models/cnn32.zip")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
        assert {layer.compute_dtype for layer in other.network._flatten_layers()} == {"float32"}
        images = project[1][:3]
        assert other.predict(images).raw.tolist() == detector.predict(images).raw.tolist()
        heat = other.explain(images, [0, 1, 1])
        with pytest.raises(ExpectedError):
            load(project[0] / "params.yaml")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert np.array_equal(heat, detector.explain(images, [0, 1, 1]))


@pytest.mark.parametrize("weights", ["other", "garbage"])
def test_weights_that_do_not_fit_are_refused_in_one_sentence(tmp_path, weights):
    file = tmp_path / "w.weights.h5"
    if weights == "other":
        save_weights(build_model(settings("bird_lotfi"), 32), file)
    else:
        file.write_bytes(b"no weights" * 100)
    write_model(tmp_path / "cnn32.zip", described(), file)
    with pytest.raises(ExpectedError) as raised:
        load(tmp_path / "cnn32.zip")
    text = str(raised.value)
    assert text.startswith(f"{tmp_path}/cnn32.zip: ") and "\n" not in text
    assert "weights.h5 does not fit model.json" in text and "detector-" not in text


def test_it_works_anywhere_and_imports_keras_only_to_load(project, tmp_path):
    folder, images, table = project
    shutil.copy(folder / "models/cnn32.zip", tmp_path)
    np.save(tmp_path / "images.npy", images)
    program = """
import json, sys
from detector import load
early = [n for n in ("keras", "tensorflow", "pandas", "sklearn", "scipy") if n in sys.modules]
import numpy as np
found = load("cnn32.zip").predict(np.load("images.npy"))
print(json.dumps([early, found.raw.tolist(), found.verdict.tolist()]))
"""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, text=True, capture_output=True,
        env={"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    early, raw, verdicts = json.loads(done.stdout)
    assert early == []
    assert raw == pytest.approx(table["probability"].to_numpy(), abs=1e-6)
    assert verdicts == DECISION.verdicts(DECISION.calibrate(np.array(raw))).tolist()


def test_the_package_gives_nothing_else():
    import detector as package_of_all

    with pytest.raises(AttributeError, match="no attribute 'lead'"):
        _ = package_of_all.lead
