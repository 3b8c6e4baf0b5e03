"""Filters for a first layer that is not trained: they whiten the patches of the training images."""

from typing import Any

import numpy as np

from detector.base.arrays import at_once

LAYER = "whiten"  # the name of such a layer
SIDE = 3  # pixels of a patch
IMAGES = 2000  # of the training set, evenly spread
JITTER = 1e-4  # added to the variances: a direction without any would be blown up without end


def whitening_filters(images: np.ndarray, count: int) -> np.ndarray:
    """Give the filters, float32 3,3,3,count, for pixels of 0 to 1.

    images: uint8 N,S,S,3. count: even, up to 54. Half of the filters are the leading eigenvectors
    of the covariance of 3x3 patches, each divided by its standard deviation; the other half are
    their negatives, since what follows a ReLU sees one sign only. After K. Jordan, "94% on CIFAR-10
    in 3.29 Seconds on a Single GPU", 2024, who has patches of 2x2.

    The sums are of whole numbers under 2^53, so that neither the number of threads nor their order
    changes a bit.
    """
    rows = np.linspace(0, len(images) - 1, min(IMAGES, len(images))).astype(int)
    width = SIDE * SIDE * 3
    total, products, n = np.zeros(width), np.zeros((width, width)), 0
    for block in np.array_split(rows, -(-len(rows) // at_once(100, images.shape[1]))):
        patches = np.lib.stride_tricks.sliding_window_view(images[block], (SIDE, SIDE), (1, 2))
        # N,y,x,3,row,column to patches of row,column,colour, as a kernel has them
        patches = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, width).astype(np.float64)
        total += patches.sum(axis=0)
        products += patches.T @ patches
        n += len(patches)
    mean = total / n
    covariance = (products / n - np.outer(mean, mean)) / 255**2
    variances, vectors = np.linalg.eigh(covariance)  # rising
    leading = vectors[:, ::-1][:, : count // 2]
    scaled = leading / np.sqrt(variances[::-1][: count // 2] + JITTER)
    kernel = np.concatenate([scaled, -scaled], axis=1)
    return kernel.reshape(SIDE, SIDE, 3, count).astype(np.float32)


def fit_first_layer(model: Any, images: np.ndarray) -> None:
    """Give the layer `whiten` of a Keras model its filters, unless it has some.

    It is made with zeros (detector/networks/small.py); weights that were loaded stay. A model
    without such a layer stays as it is. images: uint8 N,S,S,3, of the training set.
    """
    for layer in model._flatten_layers():  # a backbone is a model in the model
        if layer.name == LAYER:
            (kernel,) = layer.get_weights()
            if not kernel.any():
                layer.set_weights([whitening_filters(images, kernel.shape[-1])])
