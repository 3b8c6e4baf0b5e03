"""The networks: the paper's recipe at its real size, freezing, preprocessing, weights."""

import numpy as np
import pytest

from detector.base.errors import ExpectedError
from detector.networks.runtime import start_keras

start_keras(seed=1)

import keras  # noqa: E402

from detector.networks import builders, model  # noqa: E402
from detector.training.fit import train  # noqa: E402
from tests.helpers import ROOT  # noqa: E402
from tests.model_files import (  # noqa: E402
    base_of,
    images,
    params_of,
    split_of,
)

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


OF_ONE = [
    p.stem for p in sorted((ROOT / "conf/model").glob("*.yaml")) if "builder:" in p.read_text()
]
OF_ONE.remove("_transfer")


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
