"""Robust training: random blur, noise and JPEG of the training images, on the device.

The probabilities and ranges follow Wang et al., "CNN-generated images are surprisingly easy to
spot... for now", CVPR 2020: blur with sigma from [0, 3], then JPEG of a quality from 30 to 100, for
each image independently with probability 0.5 (or 0.1). Their images have 256 pixels a side.
"""

from abc import ABC, abstractmethod
from typing import Any

import keras
import numpy as np
from keras import ops

from detector.networks.runtime import layer_seed

# Not Keras' own layers: RandomGaussianBlur draws one sigma for a whole batch, GaussianNoise has
# one standard deviation, and there is no JPEG (TensorFlow's takes one image at a time, on the CPU).
Limits = tuple[float, float]  # lowest, highest


class RandomChange(keras.layers.Layer, ABC):
    """Change each training image with a probability, by a parameter drawn uniformly for it.

    float32 N,S,S,3 with whole grey levels of 0 to 255 in and out, as a decoded file has them. Does
    nothing outside training.
    """

    parameter: str  # what the constructor of a layer calls its limits

    def __init__(self, probability: float, limits: Limits, seed: int, **kwargs: Any) -> None:
        """probability: 0 to 1. limits: of the parameter. seed: whole number, 0 to 2^31 - 1."""
        kwargs.setdefault("dtype", "float32")  # half precision would spoil JPEG's coefficients
        super().__init__(**kwargs)
        self.probability = probability
        self.limits = tuple(limits)
        self.seed = seed
        self.generator = keras.random.SeedGenerator(seed)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        """Take the side of the images. Raises ValueError when they are not square RGB."""
        _, height, width, channels = input_shape
        if height is None or height != width or channels != 3:
            raise ValueError(f"{self.name} takes N,S,S,3 with a known S, not {input_shape}")
        self.size = height
        self.prepare()

    def prepare(self) -> None:
        """Make the constants that depend on self.size."""

    def call(self, images: Any, training: bool | None = None) -> Any:
        """Change some of the images in training, give them back as they are otherwise."""
        if not training:
            return images
        # Few and long axes: broadcasting along four is several times slower on the CPU.
        rows = ops.reshape(images, (-1, self.size, 3 * self.size))
        draws = keras.random.uniform((2, ops.shape(rows)[0]), seed=self.generator)
        chosen = ops.reshape(draws[0] < self.probability, (-1, 1, 1))
        return ops.reshape(ops.where(chosen, self.change(rows, draws[1]), rows), ops.shape(images))

    @abstractmethod
    def change(self, rows: Any, place: Any) -> Any:
        """Change all images.

        rows: float32 N,S,3S, the three colours of a pixel beside each other. place: float32 N from
        [0, 1), where between the limits the parameter of each image lies.
        """

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        own = {"probability": self.probability, self.parameter: self.limits, "seed": self.seed}
        return super().get_config() | own


@keras.saving.register_keras_serializable("detector")
class RandomBlur(RandomChange):
    """Gaussian blur, as scipy.ndimage.gaussian_filter with its defaults (mirrored edges, 4 sigma).

    sigma: lowest and highest standard deviation in pixels. One below 0.125 changes nothing.
    """

    parameter = "sigma"

    def __init__(self, probability: float, sigma: Limits, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(probability, sigma, seed, **kwargs)

    def prepare(self) -> None:
        """Make 0/1 matrices that put tap t of a kernel at its places in an S x S band matrix."""
        taps = int(4 * self.limits[1] + 0.5) + 1
        mirrored = np.pad(np.arange(self.size), taps - 1, mode="symmetric")
        places = np.zeros((taps, self.size, self.size), np.float32)
        row = np.arange(self.size)
        for offset in range(1 - taps, taps):
            np.add.at(places[abs(offset)], (row, mirrored[row + offset + taps - 1]), 1)
        self.places = places.reshape(taps, -1)

    def change(self, rows: Any, place: Any) -> Any:
        """Blur all images along both axes."""
        band = ops.reshape(ops.matmul(self.kernels(place), self.places), (-1, self.size, self.size))
        # The second axis comes to the front of an image, is blurred there, and goes back.
        for _ in range(2):
            rows = ops.reshape(ops.matmul(band, rows), (-1, self.size, self.size, 3))
            rows = ops.transpose(rows, (0, 2, 1, 3))
            rows = ops.reshape(rows, (-1, self.size, 3 * self.size))
        return ops.round(rows)

    def kernels(self, place: Any) -> Any:
        """Give the right half of each image's normalised kernel, N,taps, from its middle on."""
        low, high = self.limits
        sigma = ops.reshape(low + (high - low) * place, (-1, 1))
        tap = np.arange(len(self.places), dtype=np.float32)
        weights = ops.exp(-0.5 * ops.square(tap / ops.maximum(sigma, 1e-3)))
        weights = ops.where(tap <= ops.floor(4.0 * sigma + 0.5), weights, 0.0)
        return weights / (2.0 * ops.sum(weights, axis=1, keepdims=True) - 1.0)


@keras.saving.register_keras_serializable("detector")
class RandomNoise(RandomChange):
    """Gaussian noise, independent for each pixel and colour, rounded to whole grey levels.

    std: lowest and highest standard deviation as a share of 255.
    """

    parameter = "std"

    def __init__(self, probability: float, std: Limits, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(probability, std, seed, **kwargs)

    def change(self, rows: Any, place: Any) -> Any:
        """Add noise to all images."""
        low, high = self.limits
        std = 255.0 * ops.reshape(low + (high - low) * place, (-1, 1, 1))
        # Box and Muller's transform; on the CPU nearly twice as fast as keras.random.normal.
        shape = (2, ops.shape(rows)[0], self.size, (3 * self.size + 1) // 2)
        draws = keras.random.uniform(shape, seed=self.generator)
        radius, angle = std * ops.sqrt(-2.0 * ops.log(1.0 - draws[0])), 2 * np.pi * draws[1]
        noise = ops.concatenate([radius * ops.cos(angle), radius * ops.sin(angle)], axis=2)
        return ops.clip(ops.round(rows + noise[:, :, : 3 * self.size]), 0.0, 255.0)


@keras.saving.register_keras_serializable("detector")
class RandomJPEG(RandomChange):
    """What libjpeg-turbo's coding (baseline, 4:2:0 colour) and decoding do to an image.

    Rounds wherever libjpeg does: coefficients half-way between two steps are common in images that
    were JPEGs before, and each rounding decides some. No entropy coding: it loses nothing.
    quality: lowest and highest, whole numbers from 1 to 100.
    """

    parameter = "quality"

    def __init__(self, probability: float, quality: Limits, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(probability, quality, seed, **kwargs)

    def prepare(self) -> None:
        """Make the matrices, and the quantisation tables of all qualities between the limits."""
        self.coder = {key: m.astype("float32") for key, m in coder_matrices(self.size).items()}
        self.decoder = {key: m.astype("float32") for key, m in decoder_matrices(self.size).items()}
        qualities = range(self.limits[0], self.limits[1] + 1)
        tables = np.stack([quantisation_tables(quality) for quality in qualities])
        # In eighths, and a hair less, so that ties go away from zero as in libjpeg. As wide as a
        # row of blocks; the two chroma planes beside each other are as wide as luma.
        self.steps = np.tile(tables * 8 * (1 - 1e-5), -(-self.size // 16) * 2).astype("float32")

    def change(self, rows: Any, place: Any) -> Any:
        """Code and decode all images."""
        low, high = self.limits
        # The minimum, since float32 can round place * count up to count.
        number = ops.minimum(ops.floor(place * (high - low + 1)), high - low)
        steps = ops.take(self.steps, ops.cast(number, "int32"), axis=0)[:, :, None]
        luma, chroma = self.coefficients(rows)
        return self.pixels(_quantised(luma, steps[:, 0]), _quantised(chroma, steps[:, 1]))

    def coefficients(self, rows: Any) -> tuple[Any, Any]:
        """Give the DCT in eighths: luma N,P,P (P: S in whole 16s), Cb beside Cr N,P/2,P."""
        m = self.coder
        pixels = ops.matmul(ops.reshape(rows, (-1, 3)), m["ycbcr"])
        planes = ops.floor(ops.reshape(pixels, ops.shape(rows)) + m["ycbcr_offset"])
        luma, chroma = ops.split(ops.matmul(planes, m["columns"]), 2, axis=2)
        chroma = ops.floor(ops.matmul(m["chroma_rows"], chroma) + m["mean_offset"])
        chroma = ops.matmul(ops.matmul(m["chroma_dct"], chroma), m["chroma_columns"])
        return ops.matmul(m["luma_rows"], luma), chroma

    def pixels(self, luma: Any, chroma: Any) -> Any:
        """Give the pixels N,S,3S of quantised coefficients."""
        m = self.decoder
        luma = _samples(ops.matmul(ops.matmul(m["luma_rows"], luma), m["luma_columns"]), 128)
        chroma = _samples(ops.matmul(ops.matmul(m["chroma_rows"], chroma), m["chroma_columns"]), 0)
        chroma = ops.matmul(ops.matmul(m["up_rows"], chroma), m["up_columns"])
        chroma = ops.floor(chroma + m["up_offset"])
        rgb = ops.matmul(luma, m["luma_rgb"]) + ops.matmul(chroma, m["chroma_rgb"])
        return ops.clip(ops.round(rgb), 0.0, 255.0)


def _quantised(coefficients: Any, steps: Any) -> Any:
    """Round N,H,W to whole numbers, and then to multiples of the steps N,1,8,W of a block row."""
    height, width = coefficients.shape[1:]
    blocks = ops.reshape(ops.round(coefficients), (-1, height // 8, 8, width))
    return ops.reshape(ops.round(blocks / steps) * steps, (-1, height, width))


def _samples(plane: Any, middle: int) -> Any:
    """Round to 8 bits. Halves go up as in libjpeg, whatever float32 made of them."""
    return ops.clip(ops.floor(plane + (middle + 0.501)), middle - 128.0, middle + 127.0)


_LUMA = """
    16 11 10 16  24  40  51  61   12 12 14 19  26  58  60  55   14 13 16 24  40  57  69  56
    14 17 22 29  51  87  80  62   18 22 37 56  68 109 103  77   24 35 55 64  81 104 113  92
    49 64 78 87 103 121 120 101   72 92 95 98 112 100 103  99"""
_ANNEX_K = np.full((2, 8, 8), 99)
_ANNEX_K[0] = np.reshape(_LUMA.split(), (8, 8))
_ANNEX_K[1, :4, :4] = [[17, 18, 24, 47], [18, 21, 26, 66], [24, 26, 56, 99], [47, 66, 99, 99]]
_FROM_YCBCR = np.array([[1, 1, 1], [0, -0.344136286, 1.772], [1.402, -0.714136286, 0]])


def quantisation_tables(quality: int) -> np.ndarray:
    """Give libjpeg's tables of a quality from 1 to 100: int 2,8,8, of luma and chroma.

    Annex K.1 of ITU-T T.81, scaled as in libjpeg's jpeg_quality_scaling, limited to 1 to 255.
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    return np.clip((_ANNEX_K * scale + 50) // 100, 1, 255)


def coder_matrices(size: int) -> dict[str, np.ndarray]:
    """Give the linear maps and offsets from pixels to coefficients.

    Maps of rows and chroma_dct multiply from the left, the others from the right. They pad to whole
    blocks by repeating the last sample: of pixels, but of chroma means downwards, as libjpeg does.
    """
    padded, half, half_padded = -(-size // 16) * 16, -(-size // 2), -(-size // 16) * 8
    dct, chroma_dct = _block_dct(padded), _block_dct(half_padded)
    pad = np.eye(size)[np.minimum(np.arange(padded), size - 1)]
    means = np.kron(np.eye(half_padded), [[0.5, 0.5]]) @ pad  # of pairs
    columns = np.zeros((size, 3, 2 * padded))
    columns[:, 0, :padded] = 8 * (dct @ pad).T
    columns[:, 1, padded:-half_padded] = columns[:, 2, -half_padded:] = means.T
    return {
        "ycbcr": np.linalg.inv(_FROM_YCBCR),
        # Luma is taken around 0 from here on. Halves go up in luma and down in chroma.
        "ycbcr_offset": np.tile([0.5 - 128, 0.499, 0.499], size),
        "columns": columns.reshape(3 * size, 2 * padded),
        "luma_rows": dct @ pad,
        "chroma_rows": means[np.minimum(np.arange(half_padded), half - 1)],
        # libjpeg adds 1 and 2 in turn, then divides the sum of four by 4; 1/8 to be clear of ties.
        "mean_offset": np.tile([1 / 4, 2 / 4], half_padded) + 1 / 8,
        "chroma_dct": chroma_dct,
        "chroma_columns": np.kron(np.eye(2), 8 * chroma_dct.T),
    }


def decoder_matrices(size: int) -> dict[str, np.ndarray]:
    """Give the linear maps and offsets from coefficients to pixels, the pad left out."""
    half, blocks = -(-size // 2), -(-size // 16)
    dct, chroma_dct = _block_dct(16 * blocks)[:, :size], _block_dct(8 * blocks)[:, :half]
    up = _fancy_upsampling(half, size)
    return {
        "luma_rows": dct.T / 8,
        "luma_columns": dct,
        "chroma_rows": chroma_dct.T / 8,
        "chroma_columns": np.kron(np.eye(2), chroma_dct),
        "up_rows": up,
        "up_columns": np.kron(np.eye(2), up.T),
        # libjpeg adds 8 and 7 in turn, then divides by 16; 1/32 to be clear of ties.
        "up_offset": np.tile((8 - np.arange(size) % 2) / 16 + 1 / 32, 2),
        "luma_rgb": np.kron(np.eye(size), _FROM_YCBCR[:1]),
        "chroma_rgb": np.vstack([np.kron(np.eye(size), row[None]) for row in _FROM_YCBCR[1:]]),
    }


def _block_dct(length: int) -> np.ndarray:
    """Give the orthonormal DCT-II of each 8 samples."""
    k, n = np.arange(8)[:, None], np.arange(8)
    dct = np.cos(np.pi * (2 * n + 1) * k / 16) * np.sqrt(np.where(k == 0, 1, 2) / 8)
    return np.kron(np.eye(length // 8), dct)


def _fancy_upsampling(length: int, size: int) -> np.ndarray:
    """Weigh the nearer sample by 3/4 and the further by 1/4; at the ends both are the same."""
    near = np.arange(size) // 2
    further = np.clip(near + np.where(np.arange(size) % 2, 1, -1), 0, length - 1)
    return 0.75 * np.eye(length)[near] + 0.25 * np.eye(length)[further]


def robust_layers(augmentation: Any, seed: int) -> list[keras.layers.Layer]:
    """Give the layers of robust training in the order blur, noise, JPEG, named so.

    augmentation: attributes blur, noise and jpeg, each None (no such layer) or with attributes
    probability and sigma, std or quality (lowest, highest). seed: 0 to 2^31 - 1.
    Images meet these in that order: lenses and resizing blur, sensors and editing add noise, the
    file is written last (Wang et al. too put blur before JPEG). The layers belong before resizing
    to a backbone's input, since a JPEG's blocks are of the file's own pixels.
    """
    layers = []
    for name, kind in (("blur", RandomBlur), ("noise", RandomNoise), ("jpeg", RandomJPEG)):
        chosen = getattr(augmentation, name)
        if chosen is not None:
            limits, own = getattr(chosen, kind.parameter), layer_seed(seed, name)
            layers.append(kind(chosen.probability, limits, own, name=name))
    return layers
