"""The embedded sample: made by its script, alike in everything but the generator's artefacts."""

import hashlib
import importlib
import io
import re
import sys
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

SAMPLE = Path(__file__).resolve().parents[1] / "data/sample"
# The script is started by its path, so that its folder is where it finds its module.
sys.path.insert(0, str(SAMPLE))
generator = importlib.import_module("generator")
make_sample = importlib.import_module("make_sample")

SPLITS, LABELS = ("train", "test"), ("REAL", "FAKE")


@pytest.fixture(scope="module")
def members():
    """Name -> JPEG bytes of the committed archive."""
    with zipfile.ZipFile(SAMPLE / "sample.zip") as archive:
        return {name: archive.read(name) for name in archive.namelist()}


@pytest.fixture(scope="module")
def weights():
    return generator.load_weights(SAMPLE / "generator.npz")


def decode(data):
    return np.asarray(Image.open(io.BytesIO(data)))


def pixels(members, split, label):
    """All images of one class, in the order of their names: (n, 32, 32, 3) uint8."""
    prefix = f"{split}/{label}/"
    return np.stack([decode(members[n]) for n in sorted(members) if n.startswith(prefix)])


def difference(made, committed):
    """The first few differences of two sets of members; empty if bytes and pixels are equal."""
    wrong = list(made.keys() ^ committed.keys())
    for name in made.keys() & committed.keys():
        if made[name] != committed[name]:
            same = np.array_equal(decode(made[name]), decode(committed[name]))
            wrong.append(f"{name}: bytes differ, pixels {'equal' if same else 'differ'}")
    return sorted(wrong)[:5]


@pytest.mark.parametrize("split", [pytest.param("train", marks=pytest.mark.slow), "test"])
def test_script_reproduces_the_committed_members(split, members, weights):
    committed = {name: data for name, data in members.items() if name.startswith(split)}
    assert difference(make_sample.make_split(split, weights), committed) == []


def test_archive_bytes_depend_on_the_members_only(members, tmp_path):
    path = tmp_path / "again.zip"
    make_sample.write_archive(dict(reversed(members.items())), path)
    assert path.read_bytes() == (SAMPLE / "sample.zip").read_bytes()


def test_checksum_and_size():
    data = (SAMPLE / "sample.zip").read_bytes()
    recorded = (SAMPLE / "sample.zip.sha256").read_text()
    assert recorded == f"{hashlib.sha256(data).hexdigest()}  sample.zip\n"
    assert 2e6 < len(data) < 4.9e6


def test_layout(members):
    assert list(members) == sorted(members)
    pattern = re.compile(r"(train|test)/(REAL|FAKE)/\d{4}\.jpg")
    assert [name for name in members if not pattern.fullmatch(name)] == []
    counts = Counter(name.rsplit("/", 1)[0] for name in members)
    assert counts == {
        f"{split}/{label}": make_sample.PAIRS[split] for split in SPLITS for label in LABELS
    }


def test_both_classes_went_through_the_same_coder(members):
    def traits(data):
        image = Image.open(io.BytesIO(data))
        tables = tuple(tuple(table) for _, table in sorted(image.quantization.items()))
        return image.format, image.mode, image.size, image.layer, tables, sorted(image.info)

    found = {label: [] for label in LABELS}
    for name, data in members.items():
        found[name.split("/")[1]].append(traits(data))
    first = found["REAL"][0]
    assert first[:3] == ("JPEG", "RGB", (32, 32))
    assert all(trait == first for label in LABELS for trait in found[label])


def test_no_photograph_feeds_both_splits():
    def pictures(split):
        # The two views of a stereo pair are one photograph.
        return {
            re.sub(r"_(left|right)$", "", Path(name).stem)
            for name in make_sample.PHOTOGRAPHS[split]
        }

    assert pictures("train") & pictures("test") == set()


def test_no_image_is_in_both_splits(members):
    sets = {
        split: {image.tobytes() for label in LABELS for image in pixels(members, split, label)}
        for split in SPLITS
    }
    assert sets["train"] & sets["test"] == set()


@pytest.mark.parametrize("split", SPLITS)
def test_classes_have_the_same_mean_colour(split, members):
    real, fake = (pixels(members, split, label).mean((0, 1, 2)) for label in LABELS)
    # Not equal: where a channel is near 0 or 255, the generator's pattern is clipped.
    np.testing.assert_allclose(fake, real, atol=3.0)


@pytest.mark.parametrize("split", SPLITS)
def test_mean_image_has_no_grid(split, members):
    """The phase of the artefacts is random: a mean over FAKE images shows no fixed pattern."""
    real, fake = (pixels(members, split, label).mean((0, 3)) for label in LABELS)
    assert (fake - real).std() < 3.0


def logistic_regression_accuracy(members, strength):
    """Test accuracy of logistic regression on standardised raw pixels."""
    sets = {}
    for split in SPLITS:
        images = [pixels(members, split, label) for label in LABELS]
        x = np.concatenate(images).reshape(sum(map(len, images)), -1)
        sets[split] = x, np.repeat([1, 0], [len(part) for part in images])
    scaler = StandardScaler().fit(sets["train"][0])
    model = LogisticRegression(C=strength, solver="lbfgs", max_iter=100)
    model.fit(scaler.transform(sets["train"][0]), sets["train"][1])
    return model.score(scaler.transform(sets["test"][0]), sets["test"][1])


@pytest.mark.filterwarnings("ignore:lbfgs failed to converge")
@pytest.mark.parametrize(
    "strength", [1e-4, *(pytest.param(c, marks=pytest.mark.slow) for c in (1e-6, 1e-2, 1.0))]
)
def test_raw_pixels_do_not_give_the_class_away(strength, members):
    assert logistic_regression_accuracy(members, strength) <= 0.65


@pytest.mark.slow
def test_synthesis_agrees_with_keras(weights, monkeypatch):
    """The NumPy forward pass computes what the trained Keras model computes."""
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras

    x = np.random.default_rng(0).random((4, 24, 24, 1))
    model = generator.build(keras, x.shape[1:])
    for number, layer in enumerate(model.layers):
        layer.set_weights([weights[f"kernel_{number}"], weights[f"bias_{number}"]])
    np.testing.assert_allclose(generator.forward(x, weights), model(x), atol=1e-5)
