"""The networks that `builder` can name: functions of keras.applications and of small.py.

What they take and expect comes from Keras itself, so that a new one needs no line here.
"""

import inspect
import re
import sys
from collections.abc import Callable
from typing import Any

import keras

from detector.base.errors import ExpectedError
from detector.networks import small
from detector.networks.settings import ModelParams

LARGEST = 1024  # pixels


def _functions(module: Any) -> dict[str, Callable[..., Any]]:
    named = inspect.getmembers(module, inspect.isfunction)
    return {name: function for name, function in named if not name.startswith("_")}


OWN = {
    name: function
    for name, function in _functions(small).items()
    if function.__module__ == small.__name__
}
BUILDERS = _functions(keras.applications) | OWN


def find_builder(name: str) -> Callable[..., Any]:
    """Return the function that builds a network. Raises ExpectedError for an unknown name."""
    if name not in BUILDERS:
        raise ExpectedError(
            f"builder {name!r} is none of {', '.join(sorted(BUILDERS, key=str.lower))}"
        )
    return BUILDERS[name]


def smallest_input(name: str) -> int:
    """Return the side in pixels of the smallest square that a network takes.

    For those of small.py it is the size that they are made for.
    """
    builder = find_builder(name)
    if name in OWN:
        return small.SIDE_OF_IMAGES
    try:  # Keras refuses it before it builds anything
        builder(include_top=False, weights=None, input_shape=(1, 1, 3))
    except ValueError as error:
        if found := re.search(r"at least (\d+)x", str(error)):
            return int(found[1])
    return 1


def input_pixels(settings: ModelParams) -> int:
    """Return the side in pixels of the square that the network is given.

    Raises ExpectedError when it is smaller than the network takes.
    """
    smallest, wanted = smallest_input(settings.builder), settings.input_size
    if wanted == "minimum":
        return smallest
    if not smallest <= wanted <= LARGEST:
        raise ExpectedError(
            f"input_size {wanted} is outside {smallest} to {LARGEST}, what {settings.builder} takes"
        )
    return wanted


def preprocesses_itself(name: str) -> bool:
    """Tell whether the network's own first layers do what its `preprocess_input` does elsewhere."""
    return "include_preprocessing" in inspect.signature(find_builder(name)).parameters


def build(settings: ModelParams, weights: str | None) -> keras.Model:
    """Return the network without its top, for float inputs N,S,S,3.

    weights: "imagenet", or None for random ones. A network that preprocesses itself does
    so, in float32, where `preprocessing` is imagenet. Raises ExpectedError for ImageNet weights of
    a network that has none.
    """
    name, side = settings.builder, input_pixels(settings)
    if name in OWN:
        if "imagenet" in (weights, settings.preprocessing):
            raise ExpectedError(f"{name} has no ImageNet weights")
        return OWN[name](side)
    options = {}
    if preprocesses_itself(name):
        options["include_preprocessing"] = settings.preprocessing == "imagenet"
    network = find_builder(name)(
        include_top=False, weights=weights, input_shape=(side, side, 3), **options
    )
    for layer in network.layers:
        if isinstance(layer, keras.layers.Rescaling | keras.layers.Normalization):
            layer.dtype_policy = keras.DTypePolicy("float32")  # half of it cannot hold pixels
    return network


def imagenet_preprocessing(name: str) -> Callable[[Any], Any]:
    """Return what turns RGB pixels of 0 to 255 into those that the ImageNet weights expect.

    It is Keras' own `preprocess_input`, which leaves them alone for a network that does it itself.
    """
    return sys.modules[find_builder(name).__module__].preprocess_input
