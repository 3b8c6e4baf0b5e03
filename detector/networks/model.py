"""The network: uint8 images in, probability of REAL out, everything between on the device."""

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import h5py
import keras

from detector.base.errors import ExpectedError
from detector.base.finite import require_finite
from detector.networks import builders
from detector.networks.augmentation import robust_layers
from detector.networks.resizing import Reduction
from detector.networks.runtime import layer_seed
from detector.networks.settings import Augmentation, ModelParams

START = Path("models/start")  # where files of weights to start from lie, so that DVC sees them
POOLING = {
    "average": keras.layers.GlobalAveragePooling2D,
    "max": keras.layers.GlobalMaxPooling2D,
    "flatten": keras.layers.Flatten,
}


@keras.saving.register_keras_serializable("detector")
class ImageNetPreprocessing(keras.layers.Layer):
    """RGB pixels of 0 to 255 to what a backbone's ImageNet weights were trained with."""

    def __init__(self, builder: str, **kwargs: Any) -> None:
        """builder: of the network, as in detector/networks/builders.py."""
        super().__init__(**kwargs)
        self.builder = builder

    def call(self, pixels: Any) -> Any:
        """Preprocess float N,S,S,3."""
        return builders.imagenet_preprocessing(self.builder)(pixels)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return {**super().get_config(), "builder": self.builder}


def build_model(
    settings: ModelParams,
    image_size: int,
    augmentation: Augmentation | None = None,
    seed: int = 0,
    synchronized: bool = False,
) -> keras.Model:
    """Build the network: a backbone under the paper's head, with the settings of one of them.

    Input uint8 N,image_size,image_size,3; resizing, augmentation (only in training) and scaling
    are its first layers, so that 32-pixel bytes and not 224-pixel floats go to the device. Output
    float32 N,1: the probability of REAL. Without `augmentation` there are no such layers; the
    weights fit both ways. synchronized: BatchNormalization takes the statistics of all replicas'
    rows of a batch together (TensorFlow only). A file of `settings.weights` may be that of the
    backbone or of a whole network, as `save_weights` writes it. Raises ExpectedError when the
    weights cannot be had.
    """
    backbone = load_backbone(settings)
    choose_trainable(backbone, settings)
    for layer in backbone.layers:
        if synchronized and isinstance(layer, keras.layers.BatchNormalization):
            layer.synchronized = True  # no argument of keras.applications
    images = keras.Input((image_size, image_size, 3), dtype="uint8", name="images")
    x = images
    for layer in _before(settings, image_size, augmentation, seed):
        x = layer(x)
    x = backbone(x)
    for layer in _head(settings, seed):
        x = layer(x)
    model = keras.Model(images, x, name=settings.builder.lower())
    if (path := start_file(settings)) and _is_whole_network(path):
        with _refusing_misfits(settings):
            _fill(model, path)
    return model


def _before(
    settings: ModelParams, image_size: int, augmentation: Augmentation | None, seed: int
) -> Iterator[keras.layers.Layer]:
    """Give what comes before the backbone: from bytes to what it expects.

    In float32 whatever the precision of the network: half of it cannot hold resized pixels.
    """
    layers, side = keras.layers, builders.input_pixels(settings)
    f32 = {"dtype": "float32"}
    yield layers.Rescaling(1.0, name="to_float", **f32)
    if augmentation:
        yield from robust_layers(augmentation, seed)
    if side < image_size:
        yield Reduction(side, settings.resize, name="resize", **f32)
    elif side > image_size:
        yield layers.Resizing(side, side, settings.resize, name="resize", **f32)
    if augmentation and augmentation.horizontal_flip:
        yield layers.RandomFlip("horizontal", seed=layer_seed(seed, "flip"), name="flip", **f32)
    if augmentation and augmentation.zoom:
        zoom, own = augmentation.zoom, layer_seed(seed, "zoom")
        yield layers.RandomZoom(zoom, zoom, fill_mode="nearest", seed=own, name="zoom", **f32)
    if settings.preprocessing == "imagenet":
        yield ImageNetPreprocessing(settings.builder, name="preprocess", **f32)
    else:
        yield layers.Rescaling(1 / 255, name="preprocess", **f32)


def _head(settings: ModelParams, seed: int) -> Iterator[keras.layers.Layer]:
    """Give what comes after the backbone: from feature maps to the probability of REAL."""
    layers = keras.layers
    yield POOLING[settings.pooling](name="pool")
    if settings.dense_units:
        yield layers.Dense(settings.dense_units, activation="relu", name="dense")
    if settings.dropout:
        own = layer_seed(seed, "dropout")
        yield layers.Dropout(settings.dropout, seed=own, name="dropout")
    yield layers.Dense(1, activation="sigmoid", dtype="float32", name="real")


def choose_trainable(backbone: keras.Model, settings: ModelParams) -> None:
    """Freeze all but the last `trainable_layers`; set how BatchNormalization behaves.

    A frozen BatchNormalization layer runs on its moving statistics (Keras' rule), so
    `batchnorm: frozen` puts the whole backbone there, `train` only its frozen layers. Raises
    ExpectedError when the backbone has fewer layers.
    """
    count = settings.trainable_layers
    if count != "all":
        if count > len(backbone.layers):
            raise ExpectedError(
                f"params.yaml: trainable_layers {count} is more than the {len(backbone.layers)} "
                f"layers of {settings.builder}; give a smaller number or all"
            )
        for layer in backbone.layers[: len(backbone.layers) - count]:
            layer.trainable = False
    for layer in backbone.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            layer.momentum = settings.bn_momentum
            if settings.batchnorm == "frozen":
                layer.trainable = False


def load_backbone(settings: ModelParams) -> keras.Model:
    """Build the backbone with the weights that `settings.weights` asks for.

    Raises ExpectedError when a file is missing or does not fit, or Keras cannot fetch ImageNet's.
    """
    path = start_file(settings)
    if path and not os.path.isfile(path):
        raise ExpectedError(
            f"{path}: no such file of weights for {settings.builder}; weights is imagenet, "
            "none, or the name of a .weights.h5 file in models/start"
        )
    with _noting_fetched_file() as asked, _refusing_misfits(settings):
        named = "imagenet" if settings.weights == "imagenet" else None
        try:
            network = builders.build(settings, named)
        except Exception as error:
            if asked:
                raise ExpectedError(_fetch_failed(settings.builder, asked, error)) from error
            raise
        if path and not _is_whole_network(path):
            _fill(network, path)
        return network


def start_file(settings: ModelParams) -> str | None:
    """Return the path of the file of weights to start from; None where `weights` names no file."""
    return None if settings.weights in ("none", "imagenet") else str(START / settings.weights)


def _is_whole_network(weights: str) -> bool:
    """Tell whether it is a file that `save_weights` wrote: of a backbone with its head."""
    if not h5py.is_hdf5(weights):
        return False
    with h5py.File(weights) as file:
        return "layers/functional" in file  # the backbone is a model in the model


def _fill(model: keras.Model, path: str) -> None:
    """Load weights, all of them. Raises what Keras raises, and its warnings."""
    with warnings.catch_warnings():
        # Keras only warns of layers that the file has no weights for, and leaves them random.
        warnings.simplefilter("error", UserWarning)
        model.load_weights(path)


@contextmanager
def _refusing_misfits(settings: ModelParams) -> Iterator[None]:
    """Raise ExpectedError for whatever is raised while a file of weights is loaded."""
    try:
        yield
    except Exception as error:
        if start_file(settings) is None or isinstance(error, ExpectedError):
            raise
        raise ExpectedError(
            f"{start_file(settings)}: does not fit {settings.builder} ({_first_line(error)}); it "
            "must hold the weights of this backbone without its head, or those that the train "
            "stage saved of a whole network with this head (pooling and dense_units)"
        ) from error


@contextmanager
def _noting_fetched_file() -> Iterator[dict[str, Any]]:
    """Note which file Keras wants to fetch, so that a failure can be mended by hand."""
    asked: dict[str, Any] = {}
    fetch = keras.src.utils.file_utils.get_file

    def note(fname: str, origin: str, **kwargs: Any) -> str:
        asked.update(name=fname, origin=origin, hash=kwargs.get("file_hash"))
        return fetch(fname, origin, **kwargs)

    with mock.patch.object(keras.src.utils.file_utils, "get_file", note):
        yield asked


def _fetch_failed(backbone: str, asked: dict[str, Any], error: Exception) -> str:
    folder = os.path.join(keras.src.backend.config.keras_home(), "models")
    return (
        f"ImageNet weights of {backbone}: {asked['origin']} cannot be fetched "
        f"({_first_line(error)}); put the file (MD5 {asked['hash']}) at "
        f"{os.path.join(folder, asked['name'])}, or set weights to none or to a path"
    )


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__


def save_weights(model: keras.Model, path: str | os.PathLike[str]) -> None:
    """Save the weights to a `.weights.h5` file, without the optimizer's state (twice as much).

    Raises ExpectedError when one of them is not finite.
    """
    require_finite(_numbers(model), f"the weights of {model.name}")
    keras.Model(model.inputs, model.outputs, name=model.name).save_weights(path)


def load_trained(path: str, settings: ModelParams, image_size: int) -> keras.Model:
    """Rebuild the network for prediction and load the weights that the train stage saved.

    Raises ExpectedError when the file is missing, damaged, of another architecture, or holds
    numbers that are not finite.
    """
    model = build_model(settings.model_copy(update={"weights": "none"}), image_size)
    try:
        _fill(model, path)
    except (OSError, ValueError, KeyError, RuntimeError, UserWarning) as error:
        raise ExpectedError(
            f"{path}: not the weights of {settings.builder} with these settings "
            f"({_first_line(error)}); 'dvc checkout' or 'dvc repro' brings them back"
        ) from error
    require_finite(_numbers(model), path)
    return model


def _numbers(model: keras.Model) -> Iterator[tuple[str, Any]]:
    return ((weight.path, keras.ops.convert_to_numpy(weight)) for weight in model.weights)
