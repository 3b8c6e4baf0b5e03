"""The table of backbones: one line each, and one file in conf/model/ to use it.

Keras is imported only when a backbone is built, so that stages that only check params stay quick.
"""

from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class Backbone:
    """A network without its head.

    constructor: its name in keras.applications or in detector/networks/small.py. module: the module
    of keras.applications with the `preprocess_input` that its ImageNet weights were trained with;
    None for those of small.py, which have no such weights. minimum_size: the smallest square input
    in pixels that it takes; for those of small.py the size that they are made for.
    """

    constructor: str
    module: str | None
    minimum_size: int

    def build(self, input_pixels: int, weights: str | None) -> Any:
        """Give the network of keras.applications for float inputs N,S,S,3, S = `input_pixels`.

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
    "efficientnetv2b0": Backbone("EfficientNetV2B0", "efficientnet_v2", minimum_size=32),
    "bird_lotfi": Backbone("bird_lotfi", None, minimum_size=32),
    "cnn32": Backbone("cnn32", None, minimum_size=32),
}
