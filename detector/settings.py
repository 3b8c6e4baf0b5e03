"""The sections of params.yaml: every key, its type, its range. conf/ explains the values."""

import os
import re
import reprlib
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
)

from detector.networks.backbones import BACKBONES

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


def _rises(pair: list[float]) -> list[float]:
    if len(pair) != 2 or pair[0] > pair[1]:
        raise ValueError(f"must be [lowest, highest], not {pair}")
    return pair


Rising = AfterValidator(_rises)


def _is_not_home(path: str) -> str:
    if path.startswith("~"):  # DVC, which looks for the file as well, does not expand it either
        home = os.path.expanduser(path)  # as it is, for a user who is not known
        raise ValueError(f"~ is not expanded; write {home if home != path else f'./{path}'}")
    return path


FilePath = Annotated[str, AfterValidator(_is_not_home)]


class Section(BaseModel):
    """Keys that are known, of the type that is said, never changed."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ClassCounts(Section):
    """Number of images of each class."""

    REAL: int = Field(ge=1)
    FAKE: int = Field(ge=1)


class ImageCounts(Section):
    """Number of images of each split and class that the archive must have."""

    train: ClassCounts
    test: ClassCounts


class DataParams(Section):
    """Where the archive comes from and what must be true of it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)
    source: Literal["local", "kaggle"]
    path: FilePath | None  # zip or folder, when local
    watch: str  # the download stage runs again when this file changes
    kaggle_dataset: str | None = Field(pattern=r"^[\w-]+/[\w-]+$")  # owner/slug
    kaggle_version: int | None = Field(ge=1)
    sha256: Sha256 | None
    images: ImageCounts | None
    image_size: int = Field(ge=8, le=1024)
    cifar_class_in_name: bool

    # Checked field by field, and not as a whole, so that the message names the key. `data` has the
    # fields above the checked one that are valid themselves.
    @field_validator("path")
    @classmethod
    def _local_has_path(cls, path: str | None, info: ValidationInfo) -> str | None:
        if info.data.get("source") == "local" and not path:
            raise ValueError("is needed when source is local: -S data=archive -S data.path=my.zip")
        return path

    @field_validator("watch")
    @classmethod
    def _local_path_is_watched(cls, watch: str, info: ValidationInfo) -> str:
        if info.data.get("source") == "local" and watch != info.data.get("path", watch):
            raise ValueError(f"must be the same as path when source is local, not {watch!r}")
        return watch

    @field_validator("kaggle_dataset", "kaggle_version")
    @classmethod
    def _kaggle_is_named(cls, value: str | int | None, info: ValidationInfo) -> str | int | None:
        if info.data.get("source") == "kaggle" and value is None:
            raise ValueError("is needed when source is kaggle")
        return value


class PreprocessParams(Section):
    """How the archive becomes arrays."""

    validation_fraction: float = Field(gt=0, lt=1)
    on_bad_image: Literal["error", "drop"]
    near_duplicate_rms: float = Field(ge=0, le=64)


class ModelParams(Section):
    """One backbone and how it is transferred."""

    backbone: str
    weights: FilePath
    input_size: int | Literal["minimum"]
    resize: Literal["nearest", "bilinear", "bicubic"]
    preprocessing: Literal["rescale", "imagenet"]
    trainable_layers: Annotated[int, Field(ge=0)] | Literal["all"]
    batchnorm: Literal["train", "frozen"]
    bn_momentum: float = Field(ge=0, lt=1)
    pooling: Literal["average", "max", "flatten"]
    dense_units: int = Field(ge=0, le=65536)  # 0: no hidden layer
    dropout: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0, le=10)

    @field_validator("backbone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in BACKBONES:
            raise ValueError(f"{name!r} is none of {', '.join(sorted(BACKBONES))}")
        return name

    @field_validator("weights", "preprocessing")
    @classmethod
    def _imagenet_is_of_keras(cls, value: str, info: ValidationInfo) -> str:
        name = info.data.get("backbone")
        if value == "imagenet" and name and BACKBONES[name].module is None:
            raise ValueError(f"{name} has no ImageNet weights")
        return value

    @field_validator("input_size")
    @classmethod
    def _input_is_large_enough(cls, size: int | str, info: ValidationInfo) -> int | str:
        if "backbone" not in info.data or size == "minimum":
            return size
        backbone = info.data["backbone"]
        minimum = BACKBONES[backbone].minimum_size
        if not minimum <= size <= 1024:
            raise ValueError(f"{size} is outside {minimum} to 1024, what {backbone} takes")
        return size

    @property
    def input_pixels(self) -> int:
        """Side of the square that the backbone sees, in pixels."""
        if self.input_size == "minimum":
            return BACKBONES[self.backbone].minimum_size
        return self.input_size


class ModelEntry(ModelParams):
    """One backbone of params.yaml: its settings, and what its training depends on for its weights.

    watch: a file; the train stage runs again when it changes. That of `weights`, where it is one.
    """

    watch: str = Field(min_length=1)

    @field_validator("watch")
    @classmethod
    def _a_file_of_weights_is_watched(cls, watch: str, info: ValidationInfo) -> str:
        weights = info.data.get("weights", "none")
        if weights not in ("none", "imagenet") and watch != weights:
            raise ValueError(f"must be the file of weights, {weights}, not {watch}")
        return watch

    def settings(self) -> ModelParams:
        """Give what the network is built from."""
        return ModelParams(**self.model_dump(exclude={"watch"}))


class NamedWeights(Section):
    """What stands for weights that are no file where a stage depends on files: a text on each."""

    none: str
    imagenet: str


class ModelDefaults(Section):
    """What each entry of `model` takes up unless its own file in conf/model says otherwise."""

    weights: str
    input_size: int | Literal["minimum"]
    preprocessing: Literal["rescale", "imagenet"]
    trainable_layers: Annotated[int, Field(ge=0)] | Literal["all"]
    batchnorm: Literal["train", "frozen"]
    bn_momentum: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0, le=10)


class _Chance(Section):
    probability: float = Field(ge=0, le=1)


class RandomBlur(_Chance):
    """Gaussian blur of some training images, sigma in pixels of the archive's images."""

    sigma: Annotated[list[Annotated[float, Field(ge=0, le=16)]], Rising]


class RandomJPEG(_Chance):
    """JPEG coding of some training images, by libjpeg's quality."""

    quality: Annotated[list[Annotated[int, Field(ge=1, le=100)]], Rising]


class RandomNoise(_Chance):
    """Gaussian noise on some training images, its deviation in shares of 255."""

    deviation: Annotated[list[Annotated[float, Field(ge=0, le=1)]], Rising]


class Augmentation(Section):
    """Random changes of the training images."""

    horizontal_flip: bool
    zoom: float = Field(ge=0, lt=1)  # 0.2: both axes independently by a factor of 0.8 to 1.2
    blur: RandomBlur | None
    jpeg: RandomJPEG | None
    noise: RandomNoise | None


class TrainParams(Section):
    """The recipe that every backbone of the run is trained by."""

    epochs: int = Field(ge=1)
    steps_per_epoch: Annotated[int, Field(ge=1)] | None
    batch_size: int = Field(ge=1)
    optimizer: Literal["adam", "adamw", "sgd"]
    schedule: Literal["constant", "cosine", "onecycle"]
    warmup: float = Field(ge=0, lt=1)  # share of the steps of each phase
    head_epochs: int = Field(ge=0)  # of `epochs`, with the backbone frozen; 0: one phase
    backbone_rate: float = Field(gt=0, le=1)  # its learning rate as a share of the head's
    deterministic: bool
    precision: Literal["auto", "float32", "mixed_bfloat16", "mixed_float16"]
    xla: bool | Literal["auto"]
    steps_per_execution: int = Field(ge=1)
    strategy: Literal["none", "mirrored", "multiworker"]
    augmentation: Augmentation
    model_defaults: ModelDefaults

    @field_validator("warmup")
    @classmethod
    def _warmup_is_of_cosine(cls, warmup: float, info: ValidationInfo) -> float:
        if warmup and info.data.get("schedule", "cosine") != "cosine":
            raise ValueError(f"must be 0 with schedule {info.data['schedule']}, not {warmup}")
        return warmup

    @field_validator("head_epochs")
    @classmethod
    def _epochs_are_left_for_the_backbone(cls, epochs: int, info: ValidationInfo) -> int:
        every = info.data.get("epochs")
        if every is not None and epochs >= every:
            raise ValueError(f"must be less than the {every} epochs of the training, not {epochs}")
        return epochs

    @field_validator("xla")
    @classmethod
    def _xla_is_not_deterministic(cls, xla: bool | str, info: ValidationInfo) -> bool | str:
        if xla is True and info.data.get("deterministic"):
            raise ValueError("true needs deterministic: false, since TensorFlow's XLA is not")
        return xla

    @field_validator("strategy")
    @classmethod
    def _several_replicas_can(cls, strategy: str, info: ValidationInfo) -> str:
        if strategy != "none" and info.data.get("xla") is True:
            raise ValueError(f"{strategy} needs xla: auto or false")
        # Keras' scaling of the loss, which half precision needs, fails on several replicas.
        if strategy != "none" and info.data.get("precision") == "mixed_float16":
            raise ValueError(f"{strategy} needs another precision, such as mixed_bfloat16")
        return strategy


Quality = Annotated[int, Field(ge=1, le=100)]
Sigma = Annotated[float, Field(gt=0, le=16)]


def _are_pairs(pairs: list[list[float]]) -> list[list[float]]:
    for pair in pairs:
        if len(pair) != 2 or not 0 < pair[0] <= 16 or pair[1] not in range(1, 101):
            raise ValueError(f"must be pairs [sigma, quality], 0 to 16 and 1 to 100, not {pair}")
    return pairs


class RobustnessParams(Section):
    """How test images are damaged before the network sees them, the mildest level first."""

    max_images: Annotated[int, Field(ge=2)] | None
    jpeg: list[Quality]
    blur: list[Sigma]
    noise: list[Annotated[float, Field(gt=0, le=1)]]
    rescale: list[Annotated[float, Field(gt=0, lt=1)]]
    blur_then_jpeg: Annotated[list[list[float | int]], AfterValidator(_are_pairs)]


class ExternalParams(Section):
    """Where other sets of images lie, and how they are read."""

    path: FilePath = Field(min_length=1)
    recode: bool
    max_images: Annotated[int, Field(ge=1)] | None


_GOAL = re.compile(r"0\.5|balanced|fpr_(0(?:\.\d{1,9})?)", re.ASCII)


def parse_goal(text: Any) -> tuple[str, float | None]:
    """Return `("fixed", 0.5)`, `("balanced", None)` or `("fpr", X)`, with 0 <= X < 1.

    What evaluate.threshold may say: 0.5, balanced or fpr_X, with X written as 0 or 0.01, at most
    nine digits. Raises ValueError for anything else.
    """
    goal = str(text) if isinstance(text, str | float) else ""  # an unquoted 0.5 is a number in YAML
    match = _GOAL.fullmatch(goal)
    if not match:
        old = "fpr=X is written fpr_X now; " if goal.startswith("fpr=") else ""
        raise ValueError(
            f"{old}must be 0.5, balanced or fpr_X, with X from 0 up to 1 as in fpr_0.01, not "
            f"{reprlib.repr(text)}"
        )
    if match[1]:
        return "fpr", float(match[1])
    return ("fixed", 0.5) if goal == "0.5" else ("balanced", None)


def _is_goal(value: Any) -> str:
    parse_goal(value)
    return str(value)


class EvaluateParams(Section):
    """How predictions are made and judged."""

    batch_size: int = Field(ge=1)
    threshold: Annotated[str, BeforeValidator(_is_goal)]  # see parse_goal
    sure_error: float = Field(ge=0, le=1)
    resamples: int = Field(ge=100, le=100_000)
    robustness: RobustnessParams
    external: ExternalParams
