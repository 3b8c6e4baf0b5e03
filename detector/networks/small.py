"""Networks for images at their own 32 pixels, trained from random weights.

Each takes float pixels N,S,S,3 of 0 to 1 and gives feature maps N,h,w,C; the head that makes a
probability of them is that of every backbone (detector/networks/model.py).
"""

import keras

from detector.networks.whitening import LAYER, SIDE

SIDE_OF_IMAGES = 32  # pixels; what these networks are made for

layers = keras.layers


def bird_lotfi(size: int) -> keras.Model:
    """Build the network of the CIFAKE paper: two convolutions of 32 filters, each with pooling.

    Bird and Lotfi, IEEE Access 2024, section IV: of 36 networks that they compared for their test
    loss this is the one they chose, with a dense layer of 64 behind it (`dense_units: 64`,
    `pooling: flatten`). Kernels of 3 and no padding are Keras' usual; the paper names neither.
    """
    images = keras.Input((size, size, 3))
    x = images
    for i in (1, 2):
        x = layers.Conv2D(32, 3, activation="relu", name=f"conv{i}")(x)
        x = layers.MaxPooling2D(name=f"pool{i}")(x)
    return keras.Model(images, x, name="bird_lotfi")


def cnn32(size: int, widths: tuple[int, int, int] = (32, 64, 128)) -> keras.Model:
    """Build our own network: three convolutions at full, half and quarter resolution.

    Traces of up-sampling are small patterns that repeat: few layers see them, but at full
    resolution, so the first layer does not stride. It is not trained: its filters whiten the
    patches of the training images (detector/networks/whitening.py), zeros until then. What each
    choice is worth stands in benchmarks/results/ablation.md.
    """
    images = keras.Input((size, size, 3))
    x = images
    for i, width in enumerate(widths, start=1):
        x = _convolution(width, i)(x)
        x = layers.BatchNormalization(name=f"bn{i}")(x)
        x = layers.ReLU(name=f"relu{i}")(x)
        if i < len(widths):
            x = layers.MaxPooling2D(name=f"pool{i}")(x)
    return keras.Model(images, x, name="cnn32")


def _convolution(width: int, number: int) -> keras.layers.Layer:
    if number == 1:
        return layers.Conv2D(
            width, SIDE, padding="same", use_bias=False, kernel_initializer="zeros",
            trainable=False, name=LAYER,
        )  # fmt: skip
    return layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"conv{number}")
