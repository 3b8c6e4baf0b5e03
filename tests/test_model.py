"""The networks: the paper's recipe at its real size, freezing, preprocessing, weights."""

import hashlib
import http.server
import threading
from collections import Counter

import numpy as np
import pytest
import yaml

from conf.compose import compose
from detector.base.errors import ExpectedError
from detector.networks.runtime import start_keras
from detector.params import validate

start_keras(seed=1)

import keras  # noqa: E402

from detector.base.arrays import Split  # noqa: E402
from detector.networks import builders, model  # noqa: E402
from detector.networks.batches import TrainingBatches  # noqa: E402
from detector.training.fit import train  # noqa: E402
from tests.helpers import ROOT  # noqa: E402
from tests.model_files import settings as shipped  # noqa: E402
from tests.model_files import spread  # noqa: E402

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


OF_ONE = [
    p.stem for p in sorted((ROOT / "conf/model").glob("*.yaml")) if "builder:" in p.read_text()
]
OF_ONE.remove("_transfer")


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
    params = params_of(tmp_path, "train=paper", "transfer.weights=none")
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


def light(params, **changes):
    """Give the paper's settings of ResNet-50 around a backbone that is quick to build."""
    other = {"builder": "cnn32", "weights": "none", "trainable_layers": "all"}
    return params.model["resnet50"].model_copy(update=other | changes)


def test_the_values_of_the_papers_layers(tmp_path):
    params = params_of(tmp_path, "train=paper")
    network = model.build_model(light(params), 32, params.train.augmentation, seed=1)

    def values(name, *keys):
        config = network.get_layer(name).get_config()
        return tuple(config[key] for key in keys)

    assert values("to_float", "scale", "offset") == (1, 0)
    assert values("resize", "height", "width", "interpolation") == (224, 224, "bilinear")
    assert values("flip", "mode") == ("horizontal",)
    assert values("zoom", "height_factor", "width_factor") == (0.2, 0.2)
    assert values("zoom", "fill_mode", "interpolation") == ("nearest", "bilinear")
    assert values("preprocess", "scale", "offset") == (pytest.approx(1 / 255), 0)
    assert values("dense", "units", "activation", "use_bias") == (1024, "relu", True)
    assert values("dropout", "rate") == (0.3,)
    assert values("real", "units", "activation", "use_bias") == (1, "sigmoid", True)
    assert isinstance(network.get_layer("pool"), keras.layers.GlobalAveragePooling2D)
    normalisations = [x for x in base_of(network).layers if hasattr(x, "momentum")]
    assert {layer.momentum for layer in normalisations} == {0.99}
    chosen, recipe = params.model["resnet50"], params.train
    assert (chosen.trainable_layers, chosen.batchnorm, chosen.bn_momentum) == (50, "train", 0.99)
    assert (chosen.learning_rate, recipe.optimizer, recipe.schedule) == (0.001, "adam", "constant")


@pytest.mark.parametrize("pooling, kind", [("max", "GlobalMaxPooling2D"), ("flatten", "Flatten")])
def test_settings_reach_the_head(tmp_path, pooling, kind):
    chosen = light(params_of(tmp_path), pooling=pooling, dense_units=5, dropout=0.25)
    network = model.build_model(chosen, 32)
    assert type(network.get_layer("pool")).__name__ == kind
    assert (network.get_layer("dense").units, network.get_layer("dropout").rate) == (5, 0.25)
    bare = model.build_model(chosen.model_copy(update={"dense_units": 0, "dropout": 0.0}), 32)
    assert [layer.name for layer in bare.layers[-2:]] == ["pool", "real"]


@pytest.fixture(scope="module")
def slopes(tmp_path_factory):
    """How far places lie apart after flip and after zoom, as x and y of 400 images each.

    Red is the x of a pixel and green its y, so that one means as far as before, and minus one
    turned around.
    """
    params = params_of(tmp_path_factory.mktemp("slopes"), "train=paper")
    chosen = light(params, input_size=32)
    network = model.build_model(chosen, 32, params.train.augmentation, seed=1)
    y, x = np.indices((32, 32)).astype(np.float32)
    places = np.stack([x, y, x], axis=-1)[None].repeat(400, axis=0)

    def of(name):
        found = network.get_layer(name)(places, training=True)
        found = keras.ops.convert_to_numpy(found)[:, 8:24, 8:24]
        return np.diff(found[..., 0], axis=2).mean((1, 2)), np.diff(found[..., 1], axis=1).mean(
            (1, 2)
        )

    assert np.array_equal(network.get_layer("zoom")(places, training=False), places)
    return {name: of(name) for name in ("flip", "zoom")}


def test_half_of_the_images_are_mirrored_and_none_is_turned_upside_down(slopes):
    x, y = slopes["flip"]
    assert np.abs(x) == pytest.approx(1) and y == pytest.approx(1)
    assert 0.4 < (x < 0).mean() < 0.6


def test_zoom_is_in_and_out_along_both_axes_independently(slopes):
    """By a factor from 0.8 to 1.2, as the paper's: drawn anew for each axis of each image."""
    for slope in slopes["zoom"]:
        assert 0.799 < slope.min() < 0.82 and 1.18 < slope.max() < 1.201
        assert slope.mean() == pytest.approx(1, abs=0.03)
        assert slope.std() == pytest.approx(0.4 / np.sqrt(12), rel=0.1)
    assert abs(np.corrcoef(slopes["zoom"])[0, 1]) < 0.15


@pytest.mark.parametrize("name", OF_ONE)
def test_smallest_inputs_build(tmp_path, name):
    settings = params_of(tmp_path, f"model={name}").model[name]
    network = model.build_model(settings, 32)
    assert base_of(network).input_shape[1] == builders.input_pixels(settings)
    assert network.predict(images(2), verbose=0).shape == (2, 1)
    smaller = builders.input_pixels(settings) - 1
    with pytest.raises(ExpectedError, match=f"input_size {smaller} is outside {smaller + 1} to"):
        model.build_model(settings.model_copy(update={"input_size": smaller}), 32)


def test_a_builder_is_of_keras_or_ours(quick):
    assert {"ResNet50", "MobileNetV2", "ConvNeXtTiny"} < set(builders.BUILDERS)
    assert sorted(builders.OWN) == ["bird_lotfi", "cnn32"]
    assert all(name.islower() == (name in builders.OWN) for name in builders.BUILDERS)
    with pytest.raises(ExpectedError, match="builder 'vgg' is none of bird_lotfi, cnn32, ConvNeXt"):
        model.build_model(quick.model_copy(update={"builder": "vgg"}), 32)
    assert builders.smallest_input("InceptionV3") == 75 and builders.smallest_input("cnn32") == 32
    for key in ("weights", "preprocessing"):
        own = quick.model_copy(update={"builder": "cnn32", key: "imagenet"})
        with pytest.raises(ExpectedError, match="cnn32 has no ImageNet weights"):
            model.build_model(own, 32)


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
        base = builders.build(quick, None)
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
    caffe = model.ImageNetPreprocessing("ResNet50")(pixels.copy())
    assert np.allclose(caffe, [[[[30 - 103.939, 20 - 116.779, 10 - 123.68]]]], atol=1e-4)
    scaled = model.ImageNetPreprocessing("InceptionV3")(pixels.copy())
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


def test_batches_go_through_every_image_and_depend_on_seed_and_place_only():
    data = split_of(10)
    batches = TrainingBatches(data, batch_size=4, steps=5, seed=3)
    first = [batches[i] for i in range(5)]
    seen = Counter(image.tobytes() for x, _ in first for image in x)
    assert len(seen) == 10 and set(seen.values()) == {2}  # 20 places are two whole passes
    assert all(y.dtype == np.float32 and y.shape == (4, 1) for _, y in first)
    again = TrainingBatches(data, batch_size=4, steps=5, seed=3)
    assert all(np.array_equal(again[i][0], first[i][0]) for i in (4, 0, 2))
    batches.start_at(1)
    assert not np.array_equal(batches[0][0], first[0][0])
    other = TrainingBatches(data, batch_size=4, steps=5, seed=4)
    assert not np.array_equal(other[0][0], first[0][0])


def test_labels_stay_with_their_images():
    data = split_of(64)
    known = {image.tobytes(): label for image, label in zip(data.images, data.labels, strict=True)}
    x, y = TrainingBatches(data, batch_size=32, steps=1, seed=0)[0]
    assert [known[image.tobytes()] for image in x] == list(y[:, 0])
