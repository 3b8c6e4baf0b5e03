"""Batch statistics against moving ones: whether BatchNormalization judges as it has learnt.

In training a BatchNormalization layer that learns takes mean and variance of each batch; afterwards
it takes the moving averages of them (Ioffe and Szegedy, ICML 2015). Where the two differ, a network
that learnt well answers by chance. A frozen layer takes the moving ones in both (Keras' rule).
"""

import statistics
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any

import keras
import numpy as np

DEPTHS = {"quarter": 0.25, "half": 0.5, "end": 1.0}


@dataclass(frozen=True)
class LayerStatistics:
    """How far the moving statistics of one layer are from those of the images.

    mean: mean over channels of |moving mean - batch mean| in moving deviations, so that 1 shifts a
    channel by a whole std. variance: mean over channels of |ln(moving / batch variance)|, so
    that 0.7 is a factor of two. Both with the layer's epsilon added to the variances.
    """

    layer: str
    learns: bool
    mean: float
    variance: float


def backbone_of(model: keras.Model) -> keras.Model:
    """Give the nested backbone of model.build_model. Raises ValueError for another network."""
    nested = [layer for layer in model.layers if isinstance(layer, keras.Model)]
    if len(nested) != 1:
        raise ValueError(f"{model.name}: not one nested backbone")
    return nested[0]


def accuracies(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, batch_size: int = 64
) -> dict[str, float]:
    """Give the accuracy at 0.5 on the same images by moving and by batch statistics.

    images: uint8 N,S,S,3, N at least batch_size; what is left after whole batches is not looked at,
    as a smaller batch has other statistics. labels: N, 1 = REAL. Classes must be mixed as in
    training, since images of one batch answer for each other. The layers that are frozen take the
    moving ones both times; dropout and augmentation are off. The network is as before afterwards.
    """
    count = len(images) // batch_size * batch_size
    said = {"moving": [], "batch": []}
    with _untouched(model):
        # All by moving statistics first: a pass in training mode moves them.
        for name, learning in (("moving", False), ("batch", True)):
            for first in range(0, count, batch_size):
                x = before(model, images[first : first + batch_size])
                said[name].append(_after(model, backbone_of(model)(x, training=learning)))
    wanted = np.asarray(labels[:count]) == 1
    return {
        name: float(((np.concatenate(parts) >= 0.5) == wanted).mean())
        for name, parts in said.items()
    }


def layer_statistics(model: keras.Model, images: np.ndarray) -> list[LayerStatistics]:
    """Compare moving and batch statistics of every BatchNormalization layer, on one batch.

    images: uint8 N,S,S,3, as a batch of the training. Each layer is given what it gets when the
    network answers after training, so that layers before it that are off show in it, too.
    """
    backbone = backbone_of(model)
    layers = [
        layer for layer in backbone.layers if isinstance(layer, keras.layers.BatchNormalization)
    ]
    if not layers:
        return []
    probe = keras.Model(backbone.inputs, [layer.input for layer in layers])
    inputs = probe(before(model, images), training=False)
    return [
        _distances(layer, keras.ops.convert_to_numpy(x))
        for layer, x in zip(layers, inputs if len(layers) > 1 else [inputs], strict=True)
    ]


def _distances(layer: Any, x: np.ndarray) -> LayerStatistics:
    axes = tuple(range(x.ndim - 1))
    mean, variance = x.mean(axes, dtype=np.float64), x.var(axes, dtype=np.float64) + layer.epsilon
    moving = keras.ops.convert_to_numpy(layer.moving_mean)
    moving_variance = keras.ops.convert_to_numpy(layer.moving_variance) + layer.epsilon
    return LayerStatistics(
        layer.name,
        bool(layer.trainable),
        float((np.abs(moving - mean) / np.sqrt(moving_variance)).mean()),
        float(np.abs(np.log(moving_variance / variance)).mean()),
    )


def activations(model: keras.Model, images: np.ndarray) -> dict[str, dict[str, float]]:
    """Give mean and std of the activations at three depths of the backbone, after training.

    images: uint8 N,S,S,3. spread: the std between images of a unit's value, mean over units:
    0 where all images look the same to the network. depths: of the layers with maps N,h,w,C.
    """
    backbone = backbone_of(model)
    maps = [layer for layer in backbone.layers if len(getattr(layer.output, "shape", ())) == 4]
    chosen = {name: maps[max(1, round(share * len(maps))) - 1] for name, share in DEPTHS.items()}
    probe = keras.Model(backbone.inputs, [layer.output for layer in chosen.values()])
    outputs = probe(before(model, images), training=False)
    found = {}
    for (name, layer), output in zip(chosen.items(), outputs, strict=True):
        values = keras.ops.convert_to_numpy(output).astype(np.float64)
        found[name] = {
            "layer": layer.name,
            "mean": float(values.mean()),
            "std": float(values.std()),
            "spread": float(values.std(axis=0).mean()),
        }
    return found


def diagnosis(
    model: keras.Model, images: np.ndarray, labels: np.ndarray, batch_size: int = 64
) -> dict[str, Any]:
    """Give all of the above: accuracies on all images, the rest on the first batch of REAL ones."""
    real = images[np.asarray(labels) == 1][:batch_size]
    layers = layer_statistics(model, images[:batch_size])
    return {
        "accuracy": accuracies(model, images, labels, batch_size),
        "activations_of_real": activations(model, real),
        "layers": [asdict(layer) for layer in layers],
    }


def summary(found: dict[str, Any]) -> dict[str, Any]:
    """Sum up what `diagnosis` gives: instead of the layers, how many there are and learn.

    mean_apart, variance_apart: medians over the layers that learn, see LayerStatistics; None when
    none does. Of 6 significant digits.
    """
    learning = [layer for layer in found["layers"] if layer["learns"]]
    apart = {
        f"{name}_apart": _rounded(statistics.median(layer[name] for layer in learning))
        if learning
        else None
        for name in ("mean", "variance")
    }
    return {
        "accuracy": {name: _rounded(value) for name, value in found["accuracy"].items()},
        "layers": len(found["layers"]),
        "layers_that_learn": len(learning),
        **apart,
        "activations_of_real": {
            depth: {k: v if isinstance(v, str) else _rounded(v) for k, v in of.items()}
            for depth, of in found["activations_of_real"].items()
        },
    }


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")


def before(model: keras.Model, images: np.ndarray) -> Any:
    """Give what reaches the backbone of uint8 N,S,S,3."""
    x = keras.ops.convert_to_tensor(images)
    for layer in model.layers:
        if isinstance(layer, keras.Model):
            return x
        if not isinstance(layer, keras.layers.InputLayer):
            x = layer(x, training=False)
    raise ValueError(f"{model.name}: no nested backbone")


def _after(model: keras.Model, maps: Any) -> np.ndarray:
    place = model.layers.index(backbone_of(model))
    x = maps
    for layer in model.layers[place + 1 :]:
        x = layer(x, training=False)
    return keras.ops.convert_to_numpy(x)[:, 0]


@contextmanager
def _untouched(model: keras.Model) -> Iterator[None]:
    """Put the moving statistics back, which a pass in training mode moves."""
    variables = [
        variable
        for layer in backbone_of(model).layers
        if isinstance(layer, keras.layers.BatchNormalization)
        for variable in layer.non_trainable_variables
    ]
    kept = [keras.ops.convert_to_numpy(variable) for variable in variables]
    try:
        yield
    finally:
        for variable, value in zip(variables, kept, strict=True):
            variable.assign(value)
