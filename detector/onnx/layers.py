"""Keras layers as ONNX nodes: those that our networks have, and no others."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from detector.onnx.graph import (
    TO_CHANNELS_FIRST,
    TO_CHANNELS_LAST,
    Graph,
    UnknownLayer,
    Value,
)

RESIZE = {
    "nearest": {"mode": "nearest", "nearest_mode": "round_prefer_ceil"},
    "bilinear": {"mode": "linear"},
    # Keys' kernel, whose weights outside of the image are left out, as TensorFlow does
    "bicubic": {"mode": "cubic", "cubic_coeff_a": -0.5, "exclude_outside": 1},
}


def network(graph: Graph, model: Any, inputs: list[Value]) -> str:
    """Add all layers of a functional model, inner models as well, and give the result's name.

    Raises UnknownLayer.
    """
    results: dict[str, Value] = {}
    waiting = iter(inputs)
    operations = {operation.name: operation for operation in model.operations}
    for entry in model.get_config()["layers"]:  # in the order of computation
        layer = operations[entry["name"]]
        if type(layer).__name__ == "InputLayer":
            results[layer.name] = next(waiting)
            continue
        node = entry["inbound_nodes"]
        if hasattr(layer, "compute_output_shape"):
            values = [results[source] for source in _sources(node)]
            results[layer.name] = _layer(graph, layer, values)
        else:  # no layer, but written with + or *
            results[layer.name] = _operation(graph, layer, node[0]["args"], results)
    return results[model.output_names[0]].name


def _layer(graph: Graph, layer: Any, values: list[Value]) -> Value:
    kind = type(layer).__name__
    if kind not in LAYERS or getattr(layer, "data_format", None) == "channels_first":
        raise UnknownLayer(f"its layer {layer.name} is of the kind {kind}")
    shapes = [value.shape for value in values]
    result = LAYERS[kind](graph, layer, values)
    if kind in ("ImageNetPreprocessing", "LayerScale"):  # they do not tell, and keep it
        return Value(result, shapes[0])
    shape = layer.compute_output_shape(shapes if len(shapes) > 1 else shapes[0])
    return Value(result, tuple(shape))


def _operation(graph: Graph, operation: Any, taken: Any, results: dict[str, Value]) -> Value:
    """Add a sum or product. taken: its serialised arguments, tensors and numbers."""
    kind = type(operation).__name__
    if kind not in ("Add", "Multiply"):
        raise UnknownLayer(f"its layer {operation.name} is of the kind {kind}")
    values = [
        Value(graph.constant(each), ()) if isinstance(each, int | float)
        else results[each["config"]["keras_history"][0]]
        for each in taken
    ]  # fmt: skip
    return Value(LAYERS[kind](graph, operation, values), tuple(operation.output.shape))


def _sequential(graph: Graph, model: Any, values: list[Value]) -> str:
    (value,) = values
    for layer in model.layers:
        value = _layer(graph, layer, [value])
    return value.name


def _sources(node: Any) -> Iterator[str]:
    """Give the names of the layers that a serialised node takes its inputs from, in order."""
    if isinstance(node, dict):
        if "keras_history" in node:
            yield node["keras_history"][0]
            return
        node = list(node.values())
    if isinstance(node, list | tuple):
        for part in node:
            yield from _sources(part)


def _activated(graph: Graph, layer: Any, result: str) -> str:
    function = layer.activation.__name__
    match function:
        case "linear":
            return result
        case "relu":
            return graph.add("Relu", result)
        case "sigmoid":
            return graph.add("Sigmoid", result)
        case "silu":
            return graph.add("Mul", result, graph.add("Sigmoid", result))
        case "hard_silu":  # also called hard_swish
            return graph.add("HardSwish", result)
        case "gelu":
            half = graph.add("Mul", result, graph.constant(0.5))
            erf = graph.add("Erf", graph.add("Mul", result, graph.constant(0.5**0.5)))
            return graph.add("Add", half, graph.add("Mul", half, erf))
    raise UnknownLayer(f"its layer {layer.name} has the activation {function}")


def _window(layer: Any, value: Value, kernel: tuple[int, int]) -> dict[str, Any]:
    """Give where the window of a convolution or a pooling stands; "same" as TensorFlow pads."""
    dilations = getattr(layer, "dilation_rate", (1, 1))
    before, after = [0, 0], [0, 0]
    if layer.padding == "same":
        for axis, side in enumerate(value.shape[1:3]):
            stride, reach = layer.strides[axis], (kernel[axis] - 1) * dilations[axis] + 1
            missing = max(0, (-(-side // stride) - 1) * stride + reach - side)
            before[axis], after[axis] = missing // 2, missing - missing // 2
    place = {"kernel_shape": kernel, "strides": layer.strides, "pads": [*before, *after]}
    return place | ({"dilations": dilations} if dilations != (1, 1) else {})


def _convolution(graph: Graph, layer: Any, values: list[Value]) -> str:
    kernel = np.asarray(layer.get_weights()[0])
    groups = getattr(layer, "groups", 1)
    if type(layer).__name__ == "DepthwiseConv2D":  # y,x,C,multiple
        groups = kernel.shape[2]
        kernel = kernel.reshape(*kernel.shape[:2], 1, -1)
    constants = [graph.constant(kernel.transpose(3, 2, 0, 1))]
    if layer.use_bias:
        constants.append(graph.constant(layer.get_weights()[1]))
    window = _window(layer, values[0], kernel.shape[:2])
    result = graph.add("Conv", values[0].name, *constants, group=groups, **window)
    return _activated(graph, layer, result)


def _batch_normalization(graph: Graph, layer: Any, values: list[Value]) -> str:
    _last_axis(layer, values)
    *affine, mean, variance = layer.get_weights()
    scale = affine.pop(0) if layer.scale else np.ones_like(mean)
    offset = affine.pop(0) if layer.center else np.zeros_like(mean)
    constants = [graph.constant(array) for array in (scale, offset, mean, variance)]
    return graph.add("BatchNormalization", values[0].name, *constants, epsilon=layer.epsilon)


def _last_axis(layer: Any, values: list[Value]) -> None:
    last = len(values[0].shape) - 1
    if layer.axis not in (-1, [-1], last, [last]):
        raise UnknownLayer(f"its layer {layer.name} works along axis {layer.axis}")


def _layer_normalization(graph: Graph, layer: Any, values: list[Value]) -> str:
    _last_axis(layer, values)
    weights, channels = layer.get_weights(), values[0].shape[-1]
    scale = weights.pop(0) if layer.scale else np.ones(channels)
    constants = [graph.constant(scale), *(graph.constant(offset) for offset in weights)]
    if len(values[0].shape) != 4 or layer.rms_scaling:
        raise UnknownLayer(f"its layer {layer.name} takes no map, or no mean off")
    last = graph.add("Transpose", values[0].name, perm=TO_CHANNELS_LAST)  # along which ONNX does it
    last = graph.add("LayerNormalization", last, *constants, axis=-1, epsilon=layer.epsilon)
    return graph.add("Transpose", last, perm=TO_CHANNELS_FIRST)


def _layer_scale(graph: Graph, layer: Any, values: list[Value]) -> str:
    (factors,) = layer.get_weights()
    return graph.add("Mul", values[0].name, graph.constant(factors.reshape(1, -1, 1, 1)))


def _dense(graph: Graph, layer: Any, values: list[Value]) -> str:
    kernel, *bias = layer.get_weights()
    offsets = [graph.constant(array) for array in bias]
    match len(values[0].shape):
        case 2:
            result = graph.add("Gemm", values[0].name, graph.constant(kernel), *offsets)
        case 4:  # of each place of a map: a convolution of one pixel
            wanted = graph.constant(kernel.T[..., None, None])
            result = graph.add("Conv", values[0].name, wanted, *offsets, kernel_shape=(1, 1))
        case _:
            raise UnknownLayer(f"its layer {layer.name} takes neither a vector nor a map")
    return _activated(graph, layer, result)


def _affine_of_colours(graph: Graph, layer: Any, values: list[Value]) -> str:
    """Write ImageNetPreprocessing and Normalization, which are A x + b of each pixel x."""
    import keras

    probes = np.concatenate([np.zeros((1, 3)), 100 * np.eye(3)])
    found = layer(probes.reshape(1, 1, 4, 3).astype(np.float32))
    offset, *colours = keras.ops.convert_to_numpy(found)[0, 0].astype(np.float64)
    matrix = np.stack([(colour - offset) / 100 for colour in colours], axis=1)
    constants = [graph.constant(matrix[..., None, None]), graph.constant(offset)]
    return graph.add("Conv", values[0].name, *constants, kernel_shape=(1, 1))


def _normalization(graph: Graph, layer: Any, values: list[Value]) -> str:
    """Write it in Keras' own order of operations: a network may enlarge what rounds otherwise."""
    import keras

    mean, variance = (
        keras.ops.convert_to_numpy(each).reshape(1, -1, 1, 1)
        for each in (layer.mean, layer.variance)
    )
    centred = graph.add("Sub", values[0].name, graph.constant(mean))
    return graph.add("Div", centred, graph.constant(np.sqrt(variance)))


def _rescaling(graph: Graph, layer: Any, values: list[Value]) -> str:
    scale, offset = (
        graph.constant(np.reshape(number, (1, -1, 1, 1))) for number in (layer.scale, layer.offset)
    )
    return graph.add("Add", graph.add("Mul", values[0].name, scale), offset)


def _resizing(graph: Graph, layer: Any, values: list[Value]) -> str:
    if layer.interpolation not in RESIZE or layer.antialias or layer.crop_to_aspect_ratio:
        raise UnknownLayer(f"its layer {layer.name} resizes by {layer.interpolation}")
    sides = zip((layer.height, layer.width), values[0].shape[1:3], strict=True)
    scales = graph.constant([1, 1, *(new / old for new, old in sides)])
    how = {"coordinate_transformation_mode": "half_pixel", **RESIZE[layer.interpolation]}
    return graph.add("Resize", values[0].name, "", scales, **how)


def _reduction(graph: Graph, layer: Any, values: list[Value]) -> str:
    rows = graph.add("MatMul", graph.constant(layer.matrix), values[0].name)
    return graph.add("MatMul", rows, graph.constant(layer.matrix.T))


def _pooling(kind: str) -> Callable[[Graph, Any, list[Value]], str]:
    return lambda graph, layer, values: graph.add(
        kind, values[0].name, **_window(layer, values[0], layer.pool_size)
    )


def _over_all_places(kind: str) -> Callable[[Graph, Any, list[Value]], str]:
    return lambda graph, layer, values: graph.add(
        kind, values[0].name, axes=[2, 3], keepdims=int(layer.keepdims)
    )


def _merge(kind: str) -> Callable[[Graph, Any, list[Value]], str]:
    def merge(graph: Graph, layer: Any, values: list[Value]) -> str:
        if len({len(value.shape) for value in values if value.shape}) > 1:
            raise UnknownLayer(f"its layer {layer.name} takes tensors of several ranks")
        result, *others = (value.name for value in values)
        for other in others:
            result = graph.add(kind, result, other)
        return result

    return merge


def _concatenate(graph: Graph, layer: Any, values: list[Value]) -> str:
    _last_axis(layer, values)
    return graph.add("Concat", *(value.name for value in values), axis=1)


def _flatten(graph: Graph, layer: Any, values: list[Value]) -> str:
    name = values[0].name
    if len(values[0].shape) == 4:
        name = graph.add("Transpose", name, perm=TO_CHANNELS_LAST)
    return graph.add("Flatten", name, axis=1)


def _reshape(graph: Graph, layer: Any, values: list[Value]) -> str:
    if len(values[0].shape) != 2 or tuple(layer.target_shape[:2]) != (1, 1):
        raise UnknownLayer(f"its layer {layer.name} makes {layer.target_shape} of a map")
    return graph.add("Reshape", values[0].name, graph.constant([0, -1, 1, 1], np.int64))


def _zero_padding(graph: Graph, layer: Any, values: list[Value]) -> str:
    (top, bottom), (left, right) = layer.padding
    pads = graph.constant([0, 0, top, left, 0, 0, bottom, right], np.int64)
    return graph.add("Pad", values[0].name, pads)


def _activation(graph: Graph, layer: Any, values: list[Value]) -> str:
    return _activated(graph, layer, values[0].name)


def _relu(graph: Graph, layer: Any, values: list[Value]) -> str:
    if layer.negative_slope or layer.threshold:
        raise UnknownLayer(f"its layer {layer.name} is no plain ReLU")
    result = graph.add("Relu", values[0].name)
    if layer.max_value is None:
        return result
    return graph.add("Min", result, graph.constant(layer.max_value))


LAYERS: dict[str, Callable[[Graph, Any, list[Value]], str]] = {
    "Activation": _activation,
    "Add": _merge("Add"),
    "AveragePooling2D": _pooling("AveragePool"),
    "BatchNormalization": _batch_normalization,
    "Concatenate": _concatenate,
    "Conv2D": _convolution,
    "Dense": _dense,
    "DepthwiseConv2D": _convolution,
    "Dropout": lambda graph, layer, values: values[0].name,  # nothing, but in training
    "Flatten": _flatten,
    "Functional": network,
    "GlobalAveragePooling2D": _over_all_places("ReduceMean"),
    "GlobalMaxPooling2D": _over_all_places("ReduceMax"),
    "ImageNetPreprocessing": _affine_of_colours,
    "LayerNormalization": _layer_normalization,
    "LayerScale": _layer_scale,
    "MaxPooling2D": _pooling("MaxPool"),
    "Multiply": _merge("Mul"),
    "Normalization": _normalization,
    "ReLU": _relu,
    "Reduction": _reduction,
    "Rescaling": _rescaling,
    "Reshape": _reshape,
    "Resizing": _resizing,
    "Sequential": _sequential,
    "ZeroPadding2D": _zero_padding,
}
