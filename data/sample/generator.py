"""The small convolutional generator that makes the FAKE half of the sample.

An encoder of two strided convolutions and a decoder of two transposed convolutions, run on each
colour channel by itself with the same weights. The kernels of the decoder (3) are not a multiple
of its strides (2), so that neighbouring outputs receive unequal numbers of contributions: the
checkerboard of learned up-sampling (Odena et al., "Deconvolution and Checkerboard Artifacts",
Distill 2016, doi:10.23915/distill.00003).

Training uses Keras. Synthesis uses NumPy in float64 only, so that its rounded result does not
depend on the machine's convolution kernels.
"""

import os
from pathlib import Path

import numpy as np

ENCODER_CHANNELS = (16, 8)
DECODER_CHANNELS = (16, 1)
ENCODER_KERNEL, DECODER_KERNEL, STRIDE = 4, 3, 2
UPSAMPLING = STRIDE * STRIDE
# Weight of single pixels in the loss; the smaller, the stronger the pattern (see README.md).
PIXEL_WEIGHT = 0.001
STEPS, BATCH, LEARNING_RATE = 800, 64, 3e-3


def conv2d(x, kernel, bias, stride):
    """Strided convolution with 'same' padding; x is (n, h, w, c), kernel (k, k, c, f)."""
    size = kernel.shape[0]
    before = (size - stride) // 2
    after = size - stride - before
    x = np.pad(x, ((0, 0), (before, after), (before, after), (0, 0)))
    rows, cols = ((side - size) // stride + 1 for side in x.shape[1:3])
    out = np.zeros((len(x), rows, cols, kernel.shape[3])) + bias
    for i in range(size):
        for j in range(size):
            window = x[:, i : i + stride * rows : stride, j : j + stride * cols : stride]
            out += window @ kernel[i, j]
    return out


def conv2d_transpose(x, kernel, bias, stride):
    """Transposed convolution with 'same' padding; kernel is (k, k, f, c) as in Keras."""
    size = kernel.shape[0]
    n, rows, cols, _ = x.shape
    out = np.zeros((n, stride * rows + size, stride * cols + size, kernel.shape[2]))
    for i in range(size):
        for j in range(size):
            out[:, i : i + stride * rows : stride, j : j + stride * cols : stride] += (
                x @ kernel[i, j].T
            )
    before = (size - stride) // 2
    out = out[:, before : before + stride * rows, before : before + stride * cols]
    return out + bias


def forward(x, weights):
    """Output of the generator for x (n, h, w, 1), float64; h and w are multiples of 4."""
    layers = (conv2d, conv2d, conv2d_transpose, conv2d_transpose)
    for number, layer in enumerate(layers):
        kernel = weights[f"kernel_{number}"].astype(np.float64)
        bias = weights[f"bias_{number}"].astype(np.float64)
        x = layer(x, kernel, bias, STRIDE)
        if number < len(layers) - 1:
            x = np.maximum(x, 0)
    return x


def synthesise(images, weights, batch=100):
    """Re-synthesise uint8 images (n, h, w, 3), channel by channel; returns uint8 images."""
    out = np.empty_like(images)
    for start in range(0, len(images), batch):
        part = images[start : start + batch]
        channels = np.moveaxis(part, 3, 1).reshape(-1, *part.shape[1:3], 1)
        result = forward(channels / 255.0, weights) * 255.0
        result = np.clip(np.rint(result), 0, 255).astype(np.uint8)
        result = result.reshape(len(part), 3, *part.shape[1:3])
        out[start : start + batch] = np.moveaxis(result, 1, 3)
    return out


def load_weights(path):
    """Weights as a dictionary of arrays."""
    with np.load(path, allow_pickle=False) as file:
        return {name: file[name] for name in file.files}


def build(keras, shape):
    """The generator as a Keras model."""
    layers = keras.layers
    # Random biases: with zeros, black areas would pass through without any artefact.
    bias = keras.initializers.RandomUniform(-0.2, 0.2)
    model = keras.Sequential([keras.Input(shape)])
    for filters in ENCODER_CHANNELS:
        model.add(
            layers.Conv2D(
                filters, ENCODER_KERNEL, STRIDE, "same", activation="relu", bias_initializer=bias
            )
        )
    for filters, activation in zip(DECODER_CHANNELS, ("relu", None), strict=True):
        model.add(
            layers.Conv2DTranspose(
                filters,
                DECODER_KERNEL,
                STRIDE,
                "same",
                activation=activation,
                bias_initializer=bias,
            )
        )
    return model


def low_resolution_loss(keras):
    """Squared error after average pooling over one up-sampling cell, plus a little per pixel.

    The pooled term keeps colour and brightness; what lies inside a cell is left nearly free, so
    the pattern of the transposed convolutions stays.
    """

    def loss(target, output):
        error = output - target
        pooled = keras.ops.average_pool(error, UPSAMPLING)
        coarse = keras.ops.mean(keras.ops.square(pooled))
        return coarse + PIXEL_WEIGHT * keras.ops.mean(keras.ops.square(error))

    return loss


def train(images, path, seed=0):
    """Train on uint8 images (n, h, w, 3) and write the weights to path (.npz)."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    import keras
    import tensorflow as tf

    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    x = np.moveaxis(images, 3, 1).reshape(-1, *images.shape[1:3], 1).astype(np.float32) / 255
    rng = np.random.default_rng(seed)
    # Inverted copies: no brightness is more frequent than another.
    x = np.where(rng.random((len(x), 1, 1, 1)) < 0.5, 1 - x, x)

    def batches():
        while True:
            batch = x[rng.integers(0, len(x), BATCH)]
            yield batch, batch

    model = build(keras, x.shape[1:])
    rate = keras.optimizers.schedules.CosineDecay(LEARNING_RATE, STEPS)
    model.compile(keras.optimizers.Adam(rate), low_resolution_loss(keras))
    model.fit(batches(), steps_per_epoch=STEPS, epochs=1, verbose=2)
    weights = {}
    for number, layer in enumerate(model.layers):
        weights[f"kernel_{number}"], weights[f"bias_{number}"] = layer.get_weights()
    np.savez(Path(path), **weights)
