"""The networks: the paper's recipe at its real size, freezing, preprocessing, weights."""

import hashlib
import http.server
import threading
from collections import Counter

import numpy as np
import pytest
import yaml

from conf.compose import compose
from detector.errors import ExpectedError
from detector.networks.runtime import start_keras
from detector.params import validate

start_keras(seed=1)

import keras  # noqa: E402

from detector.data.arrays import Split  # noqa: E402
from detector.networks import backbones, model  # noqa: E402
from detector.networks.batches import TrainingBatches  # noqa: E402
from detector.networks.training import train  # noqa: E402

# Counts of the paper's network: keras.applications without top (23,587,712 and 21,802,784), plus
# Dense 2048 -> 1024 and 1024 -> 1 with biases.
HEAD = 2048 * 1024 + 1024 + 1024 + 1
PAPER = {
    "resnet50": {
        "total": 23_587_712 + HEAD,
        "trainable": 16_950_528 + HEAD,
        "boundary": ("conv4_block5_1_bn", "conv4_block5_1_relu"),
    },
    "inceptionv3": {
        "total": 21_802_784 + HEAD,
        "trainable": 7_173_312 + HEAD,
        "boundary": ("conv2d_82", "conv2d_83"),
    },
}


def params_of(tmp_path, *overrides):
    compose(tmp_path / "params.yaml", list(overrides))
    return validate(yaml.safe_load((tmp_path / "params.yaml").read_text()))


def images(n, seed=0):
    return np.random.default_rng(seed).integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)


def split_of(n, seed=0):
    labels = (np.arange(n) % 2).astype(np.uint8)
    return Split(images(n, seed), labels, np.full(n, -1, np.int8), np.array([b"x"] * n))


def base_of(network):
    (base,) = [layer for layer in network.layers if isinstance(layer, keras.Model)]
    return base


@pytest.fixture
def quick(tmp_path):
    return params_of(tmp_path).model["resnet50"]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["resnet50", "inceptionv3"])
def test_the_papers_network_is_exact_and_takes_a_step(tmp_path, name):
    keras.utils.clear_session()  # InceptionV3's layers are numbered through a session
    params = params_of(tmp_path, "train=paper", "train.model_defaults.weights=none")
    settings = params.model[name]
    network = model.build_model(settings, 32, params.train.augmentation, seed=1)
    base = base_of(network)
    assert base.input_shape == (None, 224, 224, 3)
    assert network.count_params() == PAPER[name]["total"]
    frozen, learning = base.layers[:-50], base.layers[-50:]
    assert all(not layer.trainable for layer in frozen)
    assert all(layer.trainable for layer in learning)
    assert (frozen[-1].name, learning[0].name) == PAPER[name]["boundary"]
    trainable = sum(int(np.prod(w.shape)) for w in network.trainable_weights)
    assert trainable == PAPER[name]["trainable"]
    kinds = [type(layer).__name__ for layer in network.layers if layer is not base]
    assert kinds == [
        "InputLayer", "Rescaling", "Resizing", "RandomFlip", "RandomZoom", "Rescaling",
        "GlobalAveragePooling2D", "Dense", "Dropout", "Dense",
    ]  # fmt: skip
    kernels = [x.kernel for part in (frozen, learning) for x in part if hasattr(x, "kernel")]
    first, last = kernels[0], kernels[-1]
    before = [kernel.numpy().copy() for kernel in (first, last)]
    recipe = params.train.model_copy(update={"epochs": 1, "steps_per_epoch": 1, "batch_size": 2})
    history = train(network, split_of(4), split_of(2), recipe, 1e-3, 1, [], verbose=0)
    assert np.isfinite(history["loss"]).all() and history["learning_rate"] == [pytest.approx(1e-3)]
    assert np.array_equal(before[0], first.numpy())
    assert not np.array_equal(before[1], last.numpy())


@pytest.mark.parametrize("name", sorted(backbones.BACKBONES))
def test_smallest_inputs_build(tmp_path, name):
    settings = params_of(tmp_path, f"model={name}").model[name]
    network = model.build_model(settings, 32)
    assert base_of(network).input_shape[1] == settings.input_pixels
    assert network.predict(images(2), verbose=0).shape == (2, 1)
    if backbones.BACKBONES[name].module is None:
        return  # made for one size, but not bound to it
    smaller = settings.input_pixels - 1
    with pytest.raises(ValueError, match="at least"):
        backbones.BACKBONES[name].build(smaller, None)


def test_the_network_of_the_cifake_paper(tmp_path):
    """Counted by hand: two convolutions of 32 filters, 6x6x32 features, 64 units, 1."""
    settings = params_of(tmp_path, "model=bird_lotfi").model["bird_lotfi"]
    network = model.build_model(settings, 32)
    convolutions = (3 * 9 + 1) * 32 + (32 * 9 + 1) * 32
    assert network.count_params() == convolutions + (6 * 6 * 32 + 1) * 64 + 64 + 1 == 84_001


def test_cnn32_is_small(tmp_path):
    settings = params_of(tmp_path, "model=cnn32").model["cnn32"]
    assert model.build_model(settings, 32).count_params() < 1_000_000


def test_batchnorm_frozen_and_momentum(quick):
    def batchnorms(**update):
        base = model.BACKBONES["resnet50"].build(32, None)
        model.choose_trainable(base, quick.model_copy(update=update))
        return [x for x in base.layers if isinstance(x, keras.layers.BatchNormalization)]

    assert len(batchnorms()) == 53
    assert not any(b.trainable for b in batchnorms(batchnorm="frozen"))
    assert all(b.trainable for b in batchnorms(batchnorm="train", trainable_layers="all"))
    assert sum(b.trainable for b in batchnorms(batchnorm="train", trainable_layers=50)) == 15
    assert {b.momentum for b in batchnorms(bn_momentum=0.7)} == {0.7}


def test_more_trainable_layers_than_there_are_is_refused(quick):
    with pytest.raises(ExpectedError, match="trainable_layers 9999 is more than the 175"):
        model.build_model(quick.model_copy(update={"trainable_layers": 9999}), 32)


def test_preprocessing_is_the_librarys():
    pixels = np.array([[[[10.0, 20.0, 30.0]]]], np.float32)
    caffe = model.ImageNetPreprocessing("resnet50")(pixels.copy())
    assert np.allclose(caffe, [[[[30 - 103.939, 20 - 116.779, 10 - 123.68]]]], atol=1e-4)
    scaled = model.ImageNetPreprocessing("inceptionv3")(pixels.copy())
    assert np.allclose(scaled, pixels / 127.5 - 1, atol=1e-6)


@pytest.mark.slow
def test_weights_come_back_and_are_without_the_optimizer(quick, tmp_path):
    settings = quick.model_copy(update={"trainable_layers": 0})
    network = model.build_model(settings, 32)
    network.compile("adam", "binary_crossentropy")
    path = tmp_path / "x.weights.h5"
    model.save_weights(network, path)
    assert path.stat().st_size < 4.3 * network.count_params()
    again = model.load_trained(str(path), settings, 32)
    x = images(3)
    assert np.array_equal(network.predict(x, verbose=0), again.predict(x, verbose=0))
    with pytest.raises(ExpectedError, match="not the weights of inceptionv3"):
        model.load_trained(str(path), settings.model_copy(update={"backbone": "inceptionv3"}), 32)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ExpectedError, match=r"x\.weights\.h5"):
        model.load_trained(str(path), settings, 32)


@pytest.mark.slow
def test_weights_from_a_path_are_loaded(quick, tmp_path):
    base = backbones.BACKBONES["resnet50"].build(32, None)
    path = tmp_path / "base.weights.h5"
    base.save_weights(path)
    loaded = base_of(model.build_model(quick.model_copy(update={"weights": str(path)}), 32))
    for a, b in zip(base.weights, loaded.weights, strict=True):
        assert np.array_equal(a.numpy(), b.numpy())
    with pytest.raises(ExpectedError, match="no such file"):
        model.build_model(quick.model_copy(update={"weights": "nowhere.weights.h5"}), 32)
    path.write_bytes(b"not weights")
    with pytest.raises(ExpectedError, match="does not fit resnet50"):
        model.build_model(quick.model_copy(update={"weights": str(path)}), 32)


class WeightServer:
    """A file server on loopback, in the place of the one that has Keras' ImageNet weights."""

    def __init__(self, folder):
        def handler(*args):
            return http.server.SimpleHTTPRequestHandler(*args, directory=str(folder))

        http.server.SimpleHTTPRequestHandler.log_message = lambda *_: None
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}/"


@pytest.fixture
def imagenet(tmp_path, monkeypatch):
    """Keras' own loader, its server replaced by one on loopback; gives folder, base network."""
    from keras.src.applications import resnet
    from keras.src.legacy.saving import legacy_h5_format

    folder = tmp_path / "server"
    folder.mkdir()
    server = WeightServer(folder)
    monkeypatch.setattr(resnet, "BASE_WEIGHTS_PATH", server.url)
    monkeypatch.setattr(keras.src.backend.config, "_KERAS_DIR", str(tmp_path / "home"))
    name = "resnet50_weights_tf_dim_ordering_tf_kernels_notop.h5"
    base = backbones.BACKBONES["resnet50"].build(32, None)
    import h5py

    with h5py.File(folder / name, "w") as file:
        legacy_h5_format.save_weights_to_hdf5_group(file, base)
    digest = hashlib.md5((folder / name).read_bytes()).hexdigest()
    monkeypatch.setitem(resnet.WEIGHTS_HASHES, "resnet50", (digest, digest))
    yield folder / name, base, digest
    server.server.shutdown()


@pytest.mark.slow
def test_imagenet_weights_come_through_keras_loader(quick, imagenet):
    _, base, _ = imagenet
    settings = quick.model_copy(update={"weights": "imagenet"})
    loaded = base_of(model.build_model(settings, 32))
    for a, b in zip(base.weights, loaded.weights, strict=True):
        assert np.array_equal(a.numpy(), b.numpy())


@pytest.mark.slow
@pytest.mark.parametrize("trouble", ["missing", "other bytes"])
def test_a_failed_fetch_says_which_file_hash_and_place(quick, imagenet, trouble):
    path, _, digest = imagenet
    path.unlink() if trouble == "missing" else path.write_bytes(b"<html>")
    with pytest.raises(ExpectedError) as caught:
        model.build_model(quick.model_copy(update={"weights": "imagenet"}), 32)
    message = str(caught.value)
    assert path.name in message and digest in message and "models" in message
    assert "\n" not in message


def test_batches_go_through_every_image_and_depend_on_seed_and_place_only():
    data = split_of(10)
    batches = TrainingBatches(data, batch_size=4, steps=5, seed=3)
    first = [batches[i] for i in range(5)]
    seen = Counter(image.tobytes() for x, _ in first for image in x)
    assert len(seen) == 10 and set(seen.values()) == {2}  # 20 places are two whole passes
    assert all(y.dtype == np.float32 and y.shape == (4, 1) for _, y in first)
    again = TrainingBatches(data, batch_size=4, steps=5, seed=3)
    assert all(np.array_equal(again[i][0], first[i][0]) for i in (4, 0, 2))
    batches.on_epoch_end()
    assert not np.array_equal(batches[0][0], first[0][0])
    other = TrainingBatches(data, batch_size=4, steps=5, seed=4)
    assert not np.array_equal(other[0][0], first[0][0])


def test_labels_stay_with_their_images():
    data = split_of(64)
    known = {image.tobytes(): label for image, label in zip(data.images, data.labels, strict=True)}
    x, y = TrainingBatches(data, batch_size=32, steps=1, seed=0)[0]
    assert [known[image.tobytes()] for image in x] == list(y[:, 0])
