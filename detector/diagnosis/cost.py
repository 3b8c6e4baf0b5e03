"""What a network costs: parameters, arithmetic for one image, and time."""

import math
import statistics
import time
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

# By rank, as Keras has no public common class of its convolutions.
CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
TRANSPOSED = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)


def size(model: keras.Model) -> dict[str, Any]:
    """Count parameters and floating-point operations of a functional network.

    Returns input_pixels (side of the square that the backbone is given), parameters,
    trainable_parameters, flops_per_image and uncounted_layers. FLOPs are those
    of the forward pass of one image: two for each multiplication with its addition, in convolutions
    (plain, grouped, depthwise, separable, transposed) and dense layers and nowhere else, with the
    products that meet padding. Many papers call the multiply-adds FLOPs, which are half as many.
    uncounted_layers are the names of layers that hold a matrix but are of none of these kinds.
    Raises ValueError when a layer's map has no fixed size.
    """
    tally = _Tally()
    tally.graph(model)
    backbone = next((layer for layer in model.layers if isinstance(layer, keras.Model)), model)
    return {
        "input_pixels": backbone.input_shape[1],
        "parameters": _numbers(model.weights),
        "trainable_parameters": _numbers(model.trainable_weights),
        "flops_per_image": 2 * tally.multiply_adds,
        "uncounted_layers": tally.uncounted,
    }


def inference_rate(
    model: keras.Model,
    images: np.ndarray,
    batch_size: int,
    seconds: float = 3.0,
    clock: Callable[[], float] = time.perf_counter,
) -> dict[str, Any]:
    """Measure prediction on one resident batch, so that reading images does not count.

    images: uint8 N,S,S,3, of which the first batch_size are taken. The first call, which compiles,
    is not timed. Returns inference_images_per_second, 4 significant digits, of the median call in
    `seconds` (at least three calls), and batch_size.
    """
    batch = np.ascontiguousarray(images[:batch_size])
    model.predict_on_batch(batch)
    times: list[float] = []
    while len(times) < 3 or sum(times) < seconds:
        start = clock()
        model.predict_on_batch(batch)
        times.append(clock() - start)
    return {
        "inference_images_per_second": float(f"{len(batch) / statistics.median(times):.4g}"),
        "batch_size": len(batch),
    }


def _numbers(variables: list[Any]) -> int:
    return sum(math.prod(variable.shape) for variable in variables)


class _Tally:
    """Walk a network, nested ones too, and add up each call of each layer."""

    def __init__(self) -> None:
        self.multiply_adds = 0
        self.uncounted: list[str] = []

    def graph(self, model: keras.Model) -> None:
        if isinstance(model, keras.Sequential):
            for layer in model.layers:
                self.layer(layer, layer.input, layer.output)
        else:
            # Cloned onto its own layers: Keras' public way to see each call with its shapes.
            keras.models.clone_model(
                model, clone_function=lambda layer: layer, call_function=self.call
            )

    def call(self, layer: keras.layers.Layer, *args: Any, **kwargs: Any) -> Any:
        outputs = layer(*args, **kwargs)
        self.layer(layer, args[0] if args else None, outputs)
        return outputs

    def layer(self, layer: keras.layers.Layer, inputs: Any, outputs: Any) -> None:
        if isinstance(layer, keras.Model):
            self.graph(layer)
        elif isinstance(layer, TRANSPOSED):
            self.multiply_adds += _positions(layer, inputs) * math.prod(layer.kernel.shape)
        elif isinstance(layer, CONVOLUTIONS):
            # A kernel's third axis is already divided by the groups.
            kernels = [weight for weight in layer.weights if len(weight.shape) > 1]
            self.multiply_adds += _positions(layer, outputs) * _numbers(kernels)
        elif isinstance(layer, keras.layers.Dense):
            self.multiply_adds += _positions(layer, outputs) * math.prod(layer.kernel.shape)
        elif not isinstance(layer, keras.layers.Layer):
            pass  # an operation written with + or *, which has no weights
        elif any(sum(side > 1 for side in weight.shape) > 1 for weight in layer.weights):
            self.uncounted.append(layer.name)


def _positions(layer: keras.layers.Layer, tensor: Any) -> int:
    places = tensor.shape[1:-1]
    if None in places:
        raise ValueError(f"{layer.name}: a map of shape {tensor.shape} has no fixed size")
    return math.prod(places)
