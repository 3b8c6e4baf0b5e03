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

    mode: of keras.applications.imagenet_utils.preprocess_input, for networks that Keras gives their
    preprocessing as first layers, so that their own `preprocess_input` does nothing. They are built
    without these layers, on which `preprocessing: rescale` would scale a second time.
    """

    constructor: str
    module: str | None
    minimum_size: int
    mode: str | None = None  # tf: -1 to 1; torch: 0 to 1, less the mean, by the deviation

    def build(self, input_pixels: int, weights: str | None) -> Any:
        """Give the network of keras.applications for float inputs N,S,S,3, S = `input_pixels`.

        weights: "imagenet", a path, or None for random ones.
        """
        import keras

        shape = (input_pixels, input_pixels, 3)
        bare = {"include_preprocessing": False} if self.mode else {}
        return getattr(keras.applications, self.constructor)(
            include_top=False, weights=weights, input_shape=shape, **bare
        )

    def imagenet_preprocessing(self, pixels: Any) -> Any:
        """Turn RGB pixels of 0 to 255 into what the ImageNet weights expect, by Keras' own rule."""
        if self.mode:
            utils = import_module("keras.applications.imagenet_utils")
            return utils.preprocess_input(pixels, mode=self.mode)
        return import_module(f"keras.applications.{self.module}").preprocess_input(pixels)


# Minimum sizes: keras.io/api/applications, "width and height should be no smaller than".
BACKBONES = {
    "resnet50": Backbone("ResNet50", "resnet", minimum_size=32),
    "resnet50v2": Backbone("ResNet50V2", "resnet_v2", minimum_size=32),
    "inceptionv3": Backbone("InceptionV3", "inception_v3", minimum_size=75),
    "densenet121": Backbone("DenseNet121", "densenet", minimum_size=32),
    "efficientnetv2b0": Backbone("EfficientNetV2B0", "efficientnet_v2", 32, mode="torch"),
    "convnext_tiny": Backbone("ConvNeXtTiny", "convnext", 32, mode="torch"),
    "mobilenetv3_large": Backbone("MobileNetV3Large", "mobilenet_v3", 32, mode="tf"),
    "bird_lotfi": Backbone("bird_lotfi", None, minimum_size=32),
    "cnn32": Backbone("cnn32", None, minimum_size=32),
}
