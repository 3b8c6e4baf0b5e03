"""Section `model` of params.yaml, and the augmentation that a network is built with."""

import re
from typing import Annotated, Literal

from pydantic import AfterValidator, Field

from detector.base.section import FilePath, Rising, Section


class ModelParams(Section):
    """One backbone and how it is transferred."""

    builder: str = Field(pattern=r"^[A-Za-z][A-Za-z0-9_]*$")  # see detector/networks/builders.py
    weights: FilePath = Field(min_length=1)  # none, imagenet, or a file in models/start/
    input_size: Annotated[int, Field(ge=8, le=1024)] | Literal["minimum"]  # pixels
    resize: Literal["nearest", "bilinear", "bicubic"]
    preprocessing: Literal["rescale", "imagenet"]
    trainable_layers: Annotated[int, Field(ge=0)] | Literal["all"]
    batchnorm: Literal["train", "frozen"]
    bn_momentum: float = Field(ge=0, lt=1)
    pooling: Literal["average", "max", "flatten"]
    dense_units: int = Field(ge=0, le=65536)  # 0: no hidden layer
    dropout: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0, le=10)

    @property
    def own(self) -> bool:
        """Whether the network is of small.py: a name in lower case, where Keras has capitals."""
        return self.builder.islower()


def _are_plain(models: dict[str, ModelParams]) -> dict[str, ModelParams]:
    for name in models:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_]*", name):
            raise ValueError(f"{name!r} is not made of letters, digits and _")
        if name in ("compare", "data"):
            raise ValueError(f"{name!r} is taken: plots/{name} is another stage's")
    return models


# By the name that files and stages have; two of them may be variants of one network.
Models = Annotated[dict[str, ModelParams], Field(min_length=1), AfterValidator(_are_plain)]


class _Chance(Section):
    probability: float = Field(ge=0, le=1)


class RandomBlur(_Chance):
    """Gaussian blur of some training images, sigma in pixels of the archive's images."""

    sigma: Annotated[list[Annotated[float, Field(ge=0, le=16)]], Rising]


class RandomJPEG(_Chance):
    """JPEG coding of some training images, by libjpeg's quality."""

    quality: Annotated[list[Annotated[int, Field(ge=1, le=100)]], Rising]


class RandomNoise(_Chance):
    """Gaussian noise on some training images, its standard deviation in shares of 255."""

    std: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Rising]


class Augmentation(Section):
    """Random augmentation of the training images."""

    horizontal_flip: bool
    zoom: float = Field(ge=0, lt=1)  # 0.2: both axes independently by a factor of 0.8 to 1.2
    blur: RandomBlur | None
    jpeg: RandomJPEG | None
    noise: RandomNoise | None
