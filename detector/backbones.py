"""The table of backbones: one line each, and one file in conf/model/ to use it.

Keras is imported only when a backbone is built, so that stages that only check params stay quick.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Backbone:
    """A network of keras.applications.

    constructor: its name there. module: the module with the `preprocess_input` that its ImageNet
    weights were trained with. minimum_size: the smallest square input in pixels that it takes.
    """

    constructor: str
    module: str
    minimum_size: int

    def build(self, input_pixels: int, weights: str | None) -> Any:
        """Give the network without its top, for float inputs N,S,S,3 with S = `input_pixels`.

        weights: "imagenet", a path, or None for random ones.
        """
        import keras

        return getattr(keras.applications, self.constructor)(
            include_top=False, weights=weights, input_shape=(input_pixels, input_pixels, 3)
        )

    def imagenet_preprocessing(self, pixels: Any) -> Any:
        """Turn RGB pixels of 0 to 255 into what the ImageNet weights expect, by Keras' own rule."""
        return import_module(f"keras.applications.{self.module}").preprocess_input(pixels)


# Minimum sizes: keras.io/api/applications, "width and height should be no smaller than".
BACKBONES = {
    "resnet50": Backbone("ResNet50", "resnet", minimum_size=32),
    "inceptionv3": Backbone("InceptionV3", "inception_v3", minimum_size=75),
}
