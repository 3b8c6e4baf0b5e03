"""Networks start from the weights that are named, or say in a sentence why they cannot."""

import hashlib
import http.server
import threading

import numpy as np
import pytest

from detector.base.errors import ExpectedError
from detector.networks.runtime import start_keras

start_keras(seed=1)

import keras  # noqa: E402

from detector.networks import builders, model  # noqa: E402
from tests.model_files import (  # noqa: E402
    base_of,
    images,
    params_of,
    spread,
)
from tests.model_files import settings as shipped  # noqa: E402

# Counts of the paper's network: keras.applications without top (23,587,712 and 21,802,784), plus
# Dense 2048 -> 1024 and 1024 -> 1 with biases.


@pytest.fixture
def quick(tmp_path):
    return params_of(tmp_path).model["resnet50"]


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
    with pytest.raises(ExpectedError, match="not the weights of InceptionV3"):
        model.load_trained(str(path), settings.model_copy(update={"builder": "InceptionV3"}), 32)
    path.write_bytes(path.read_bytes()[:100_000])
    with pytest.raises(ExpectedError, match=r"x\.weights\.h5"):
        model.load_trained(str(path), settings, 32)


@pytest.mark.slow
def test_weights_from_a_path_are_loaded(quick, tmp_path):
    base = builders.build(shipped("resnet50"), None)
    path = tmp_path / "base.weights.h5"
    base.save_weights(path)
    loaded = base_of(model.build_model(quick.model_copy(update={"weights": str(path)}), 32))
    for a, b in zip(base.weights, loaded.weights, strict=True):
        assert np.array_equal(a.numpy(), b.numpy())
    with pytest.raises(ExpectedError, match="no such file"):
        model.build_model(quick.model_copy(update={"weights": "nowhere.weights.h5"}), 32)
    path.write_bytes(b"not weights")
    with pytest.raises(ExpectedError, match="does not fit ResNet50"):
        model.build_model(quick.model_copy(update={"weights": str(path)}), 32)


def start_from(path, backbone="cnn32", **changes):
    chosen = shipped(backbone).model_copy(update={"weights": str(path), **changes})
    return model.build_model(chosen, 32)


@pytest.mark.parametrize("name", ["cnn32", pytest.param("resnet50", marks=pytest.mark.slow)])
def test_a_trained_network_is_a_start_head_and_all(tmp_path, name):
    trained = model.build_model(shipped(name), 32)
    spread(trained, images(4))
    model.save_weights(trained, path := tmp_path / "copy.weights.h5")
    begun = start_from(path, name)
    assert [w.path for w in begun.weights] == [w.path for w in trained.weights]
    for a, b in zip(trained.weights, begun.weights, strict=True):
        assert np.array_equal(a.numpy(), b.numpy())
    base_of(trained).save_weights(path)
    head = start_from(path, name)
    assert np.array_equal(base_of(head).get_weights()[0], base_of(trained).get_weights()[0])
    assert not np.array_equal(head.layers[-1].kernel, trained.layers[-1].kernel)


@pytest.mark.parametrize("whole", [True, False])
def test_weights_of_another_network_are_no_start(tmp_path, whole):
    path = tmp_path / "x.weights.h5"
    other = model.build_model(shipped("bird_lotfi"), 32)
    model.save_weights(other, path) if whole else base_of(other).save_weights(path)
    with pytest.raises(
        ExpectedError, match=r"x\.weights\.h5: does not fit cnn32 .*pooling"
    ) as caught:
        start_from(path)
    assert "\n" not in str(caught.value)
    if whole:
        with pytest.raises(ExpectedError, match="does not fit bird_lotfi"):
            start_from(path, "bird_lotfi", dense_units=0)
    else:
        start_from(path, "bird_lotfi", dense_units=0)


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
    base = builders.build(shipped("resnet50"), None)
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
