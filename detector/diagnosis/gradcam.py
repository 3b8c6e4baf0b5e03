"""Grad-CAM: which parts of an image spoke for what the network predicted it.

R. R. Selvaraju et al., "Grad-CAM: Visual Explanations from Deep Networks via Gradient-based
Localization", ICCV 2017, equations 1 and 2.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from detector.base.layout import CLASSES

BATCH = 32  # images at a time; the gradient holds the feature maps of all layers after the chosen


def grad_cam(
    model: keras.Model,
    images: np.ndarray,
    minimum_map: int = 4,
    predicted: np.ndarray | None = None,
) -> np.ndarray:
    """Give a map of heat for each image: where the evidence for its predicted class lies.

    model: of model.build_model. images: uint8 N,S,S,3. minimum_map: see `explained_layer`.
    predicted: N, 0 = FAKE, 1 = REAL, the class to explain; None: REAL where the network says 0.5 or
    more. What is explained is the logit of that class: for FAKE minus the logit of REAL. Returns
    float32 N,S,S, 0 to 1: 1 is the hottest place of each image, all 0 means that no place spoke for
    the class. Images are independent of each other. Raises ValueError for another kind of network.
    """
    network = _split(model, minimum_map)
    side = images.shape[1]
    heat = np.empty((len(images), side, side), np.float32)
    for first in range(0, len(images), BATCH):
        rows = slice(first, min(first + BATCH, len(images)))
        features = network.features(images[rows])
        if predicted is None:
            real = keras.ops.convert_to_numpy(network.logit(features)) >= 0
        else:
            real = np.asarray(predicted[rows]) == 1
        sign = np.where(real, 1, -1).astype(np.float32)

        def evidence(features: Any, sign: np.ndarray = sign) -> Any:
            # The sum over images: none depends on another, so each gets its own gradient.
            return keras.ops.sum(network.logit(features) * keras.ops.convert_to_tensor(sign))

        gradient = _gradient(evidence, features)
        weights = keras.ops.mean(gradient, axis=(1, 2), keepdims=True)
        maps = keras.ops.relu(keras.ops.sum(weights * features, axis=-1, keepdims=True))
        resized = keras.ops.image.resize(maps, (side, side), interpolation="bilinear")
        heat[rows] = keras.ops.convert_to_numpy(resized)[..., 0]
    # After resizing, which lowers the maximum of a small map.
    hottest = heat.max(axis=(1, 2), keepdims=True)
    return np.divide(heat, hottest, out=np.zeros_like(heat), where=hottest > 0)


def explained_layer(model: keras.Model, minimum_map: int = 4) -> tuple[str, int]:
    """Give name and side in pixels of the feature map that `grad_cam` explains.

    It is the deepest layer of the backbone whose map has a side of at least `minimum_map` (or of
    the largest that any layer has) and that all later layers depend on alone: one branch of an
    Inception block would tell a part of the evidence only. Layers that merely pad or crop are
    passed over, since their maps lie askew on the image.
    """
    chosen = _split(model, minimum_map).layer
    return chosen.name, min(chosen.output.shape[1:3])


def confident(
    labels: np.ndarray, calibrated: np.ndarray, threshold: float, each: int = 4
) -> dict[str, np.ndarray]:
    """Choose the most confident right and wrong images of each class.

    labels: N, 0 = FAKE, 1 = REAL. calibrated: N, probabilities of REAL. threshold: at or above it
    an image is predicted REAL. Returns rows, at most `each`, most confident first and ties by row,
    of "REAL, right", "REAL, wrong", "FAKE, right" and "FAKE, wrong"; the class is the actual one.
    """
    labels, calibrated = np.asarray(labels), np.asarray(calibrated)
    predicted = calibrated >= threshold
    order = {
        True: np.argsort(-calibrated, kind="stable"),
        False: np.argsort(calibrated, kind="stable"),
    }
    chosen = {}
    for label in (1, 0):
        for right in (True, False):
            rows = order[right == bool(label)]
            fits = (labels == label) & ((predicted == label) == right)
            chosen[f"{CLASSES[label]}, {'right' if right else 'wrong'}"] = rows[fits[rows]][:each]
    return chosen


@dataclass(frozen=True)
class _SplitNetwork:
    """The network cut in two behind `layer`: images to features, features to the logit of REAL."""

    layer: keras.layers.Layer
    before: list[keras.layers.Layer]
    front: keras.Model
    back: keras.Model | None  # None where the chosen layer is the backbone's last
    after: list[keras.layers.Layer]

    def features(self, images: np.ndarray) -> Any:
        """Give float B,h,w,C of uint8 B,S,S,3."""
        x = keras.ops.convert_to_tensor(images)
        for layer in [*self.before, self.front]:
            x = _infer(layer, x)
        return x

    def logit(self, features: Any) -> Any:
        """Give float B."""
        x = features
        for layer in [*([self.back] if self.back else []), *self.after[:-1]]:
            x = _infer(layer, x)
        # The last layer without its sigmoid: where a probability rounds to 0 or 1 its gradient is 0
        last = self.after[-1]
        x = keras.ops.matmul(keras.ops.cast(x, "float32"), last.kernel)
        return (x + last.bias if last.use_bias else x)[:, 0]


def _infer(layer: keras.layers.Layer, x: Any) -> Any:
    # Layers whose call has no `training` take the argument, too: Keras drops it.
    return layer(x, training=False)


def _split(model: keras.Model, minimum_map: int) -> _SplitNetwork:
    layers = [layer for layer in model.layers if not isinstance(layer, keras.layers.InputLayer)]
    nested = [layer for layer in layers if isinstance(layer, keras.Model)]
    last = layers[-1]
    if len(nested) != 1 or not isinstance(last, keras.layers.Dense) or last.units != 1:
        raise ValueError(f"{model.name}: not one nested backbone with a Dense layer of one unit")
    backbone = nested[0]
    place = layers.index(backbone)
    layer, back = _cut(backbone, minimum_map)
    front = keras.Model(backbone.inputs, layer.output)
    return _SplitNetwork(layer, layers[:place], front, back, layers[place + 1 :])


def _cut(backbone: keras.Model, minimum_map: int) -> tuple[keras.layers.Layer, keras.Model | None]:
    """Find the layer to explain, and what comes after it in the backbone."""
    unfit = (keras.layers.InputLayer, keras.layers.ZeroPadding2D, keras.layers.Cropping2D)
    # Operations are layers and additions written with +, in which the blocks of ConvNeXt end.
    sides = {
        layer: min(layer.output.shape[1:3])
        for layer in backbone.operations
        if not isinstance(layer, unfit) and len(layer.output.shape) == 4
    }
    enough = min(minimum_map, max(sides.values(), default=0))
    for layer in reversed(sides):
        if sides[layer] < enough:
            continue
        if layer is backbone.operations[-1]:
            return layer, None
        try:
            return layer, keras.Model(layer.output, backbone.outputs[0])
        except ValueError:  # Keras: not connected, as there is a way around this layer
            continue
    raise ValueError(f"{backbone.name}: no layer with a map that all later layers depend on")


def _gradient(function: Callable[[Any], Any], x: Any) -> Any:
    """Give the gradient of `function`, whose value is one number, at the tensor `x`."""
    backend = keras.backend.backend()  # Keras has no gradients of its own
    if backend == "tensorflow":
        import tensorflow as tf

        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(x)
            value = function(x)
        return tape.gradient(value, x)
    if backend == "torch":
        import torch

        x = x.detach().requires_grad_()
        return torch.autograd.grad(function(x), x)[0]
    if backend == "jax":
        import jax

        return jax.grad(function)(x)
    raise ValueError(f"no gradients known for the Keras backend {backend}")
