"""What part ablation changes of cnn32 and its recipe: one thing at a time."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from detector.networks.whitening import LAYER

WIDTHS = (32, 64, 128)


@dataclass(frozen=True)
class Variation:
    """One change.

    network: builder in the place of detector.networks.small.cnn32. model, recipe: changed values of
    conf/model/cnn32.yaml and conf/train/fast.yaml. label_smoothing: 0 to 1. average: momentum of
    an exponential moving average of the weights, by which the network is judged. flip_at_test:
    judged by the mean of an image's and its mirror image's probability.
    """

    network: Callable[[int], Any] | None = None
    model: dict[str, Any] = field(default_factory=dict)
    recipe: dict[str, Any] = field(default_factory=dict)
    label_smoothing: float = 0.0
    average: float | None = None
    flip_at_test: bool = False


def plain(
    widths: tuple[int, ...] = WIDTHS,
    activation: str = "relu",
    kernel: int = 3,
    extra: int = 0,
    stride: int = 1,
    whitening: str | None = "fixed",
) -> Callable[[int], Any]:
    """Give a builder like detector.networks.small.cnn32, of another shape.

    stride: of the first layer. whitening: "fixed", "first" (its filters are trained on from there)
    or None. kernel: of the first layer without whitening. extra: convolutions added at the coarsest
    resolution.
    """

    def build(size: int) -> Any:
        import keras

        layers = keras.layers
        images = keras.Input((size, size, 3))
        x = images
        for i, width in enumerate([*widths, *[widths[-1]] * extra]):
            if 0 < i < len(widths):
                x = layers.MaxPooling2D()(x)
            side, step = (3, 1) if i else (kernel, stride)
            start = {}
            if i == 0 and whitening:
                start = {"name": LAYER, "kernel_initializer": "zeros"}
                start["trainable"] = whitening != "fixed"
            x = layers.Conv2D(width, side, step, padding="same", use_bias=False, **start)(x)
            x = layers.Activation(activation)(layers.BatchNormalization()(x))
        return keras.Model(images, x)

    return build


def residual(size: int) -> Any:
    """Build cnn32 with a residual block of two convolutions after each of its convolutions."""
    import keras

    layers = keras.layers

    def convolution(x: Any, width: int, **options: Any) -> Any:
        layer = layers.Conv2D(width, 3, padding="same", use_bias=False, **options)
        return layers.BatchNormalization()(layer(x))

    whiten = {"name": LAYER, "kernel_initializer": "zeros", "trainable": False}

    images = keras.Input((size, size, 3))
    x = images
    for i, width in enumerate(WIDTHS):
        x = layers.MaxPooling2D()(x) if i else x
        x = layers.ReLU()(convolution(x, width, **({} if i else whiten)))
        inner = layers.ReLU()(convolution(x, width))
        x = layers.ReLU()(layers.Add()([x, convolution(inner, width)]))
    return keras.Model(images, x)


VARIATIONS: dict[str, Variation] = {
    "cnn32 as it is": Variation(),
    "widths 16, 32, 64": Variation(plain((16, 32, 64))),
    "widths 24, 48, 96": Variation(plain((24, 48, 96))),
    "one more convolution": Variation(plain(extra=1)),
    "four resolutions": Variation(plain((32, 64, 128, 256))),
    "residual blocks": Variation(residual),
    "first layer with stride 2": Variation(plain(stride=2)),
    "first layer from random weights": Variation(plain(whitening=None)),
    "that with a kernel of 5": Variation(plain(kernel=5, whitening=None)),
    "whitening filters trained on": Variation(plain(whitening="first")),
    "54 whitening filters": Variation(plain((54, 64, 128))),
    "GELU": Variation(plain(activation="gelu")),
    "maximum over positions": Variation(model={"pooling": "max"}),
    "hidden layer of 64": Variation(model={"dense_units": 64}),
    "rate 0.001": Variation(model={"learning_rate": 0.001}),
    "rate 0.01": Variation(model={"learning_rate": 0.01}),
    "batch 32": Variation(recipe={"batch_size": 32}),
    "batch 128, rate 0.006": Variation(model={"learning_rate": 0.006}, recipe={"batch_size": 128}),
    "constant rate 0.001": Variation(
        model={"learning_rate": 0.001}, recipe={"schedule": "constant"}
    ),
    "cosine schedule": Variation(recipe={"schedule": "cosine"}),
    "Nesterov, rate 0.1": Variation(model={"learning_rate": 0.1}, recipe={"optimizer": "sgd"}),
    "AdamW, decay 0.004": Variation(recipe={"optimizer": "adamw"}),
    "label smoothing 0.1": Variation(label_smoothing=0.1),
    "average of the weights, 0.99": Variation(average=0.99),
    "flip at test": Variation(flip_at_test=True),
    "no flip in training": Variation(recipe={"augmentation": {"horizontal_flip": False}}),
}
