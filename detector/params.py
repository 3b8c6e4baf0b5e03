"""The schema of params.yaml: every key, its type, its range. The values are explained in conf/."""

import re
import reprlib
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
)

from detector.backbones import BACKBONES
from detector.errors import ExpectedError

Sha256 = Annotated[str, Field(pattern="^[0-9a-f]{64}$")]


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True)


class ClassCounts(_Section):
    """Number of images of each class."""

    REAL: int = Field(ge=1)
    FAKE: int = Field(ge=1)


class ImageCounts(_Section):
    """Number of images of each split and class that the archive must have."""

    train: ClassCounts
    test: ClassCounts


class DataParams(_Section):
    """Where the archive comes from and what must be true of it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)
    source: Literal["local", "kaggle"]
    path: str | None  # zip or folder, when local
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


class PreprocessParams(_Section):
    """How the archive becomes arrays."""

    validation_fraction: float = Field(gt=0, lt=1)
    on_bad_image: Literal["error", "drop"]
    near_duplicate_rms: float = Field(ge=0, le=64)


class ModelParams(_Section):
    """One backbone and how it is transferred."""

    backbone: str
    weights: str
    input_size: int | Literal["minimum"]
    resize: Literal["nearest", "bilinear", "bicubic"]
    preprocessing: Literal["rescale", "imagenet"]
    trainable_layers: Annotated[int, Field(ge=0)] | Literal["all"]
    batchnorm: Literal["train", "frozen"]
    bn_momentum: float = Field(ge=0, lt=1)
    dense_units: int = Field(ge=1, le=65536)
    dropout: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0, le=10)

    @field_validator("backbone")
    @classmethod
    def _is_known(cls, name: str) -> str:
        if name not in BACKBONES:
            raise ValueError(f"{name!r} is none of {', '.join(sorted(BACKBONES))}")
        return name

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


class ModelDefaults(_Section):
    """What each entry of `model` takes up unless its own file in conf/model says otherwise."""

    weights: str
    input_size: int | Literal["minimum"]
    preprocessing: Literal["rescale", "imagenet"]
    trainable_layers: Annotated[int, Field(ge=0)] | Literal["all"]
    batchnorm: Literal["train", "frozen"]
    bn_momentum: float = Field(ge=0, lt=1)
    learning_rate: float = Field(gt=0, le=10)


class Augmentation(_Section):
    """Random changes of the training images."""

    horizontal_flip: bool
    zoom: float = Field(ge=0, lt=1)  # 0.2: both axes independently by a factor of 0.8 to 1.2


class TrainParams(_Section):
    """The recipe that every backbone of the run is trained by."""

    epochs: int = Field(ge=1)
    steps_per_epoch: Annotated[int, Field(ge=1)] | None
    batch_size: int = Field(ge=1)
    optimizer: Literal["adam", "adamw", "sgd"]
    schedule: Literal["constant", "cosine"]
    augmentation: Augmentation
    model_defaults: ModelDefaults


class EvaluateParams(_Section):
    """How predictions are made and judged."""

    batch_size: int = Field(ge=1)
    threshold: str = Field(pattern=r"^(0\.5|balanced|fpr=(0|0?\.\d+))$")
    sure_error: float = Field(ge=0, le=1)
    resamples: int = Field(ge=100, le=100_000)

    @field_validator("threshold", mode="before")
    @classmethod
    def _half_is_a_number_in_yaml(cls, value: Any) -> Any:
        return "0.5" if value == 0.5 else value


class Params(_Section):
    """All of params.yaml."""

    seed: int = Field(ge=0, lt=2**31)
    data: DataParams
    preprocess: PreprocessParams
    model: dict[str, ModelParams] = Field(min_length=1)
    train: TrainParams
    evaluate: EvaluateParams

    @field_validator("model")
    @classmethod
    def _names_are_plain(cls, models: dict[str, ModelParams]) -> dict[str, ModelParams]:
        for name in models:
            if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_]*", name):
                raise ValueError(f"{name!r} is not made of letters, digits and _")
            if name in ("compare", "data"):
                raise ValueError(f"{name!r} is taken: plots/{name} is another stage's")
        return models


def validate(tree: Any) -> Params:
    """Check the content of params.yaml.

    tree: what a YAML parser made of the file. Raises ExpectedError with one sentence that names
    every wrong key, what is wrong with its value, and where values are set.
    """
    try:
        return Params.model_validate(tree)
    except ValidationError as error:
        problems: dict[str, list[Any]] = {}
        for problem in error.errors():
            problems.setdefault(_key(problem["loc"]), []).append(problem)
        wrong = "; ".join(f"{key}: {_reason(found)}" for key, found in problems.items())
        raise ExpectedError(
            f"params.yaml: {wrong}. Values are set in conf/ or with "
            "'dvc exp run -S KEY=VALUE'; 'git checkout params.yaml' undoes an edit"
        ) from error


# What pydantic appends to the location of a value of a union: the branch that did not match.
_BRANCH = re.compile(r"int|float|str|constrained-\w+|literal\[.*\]|\[key\]")


def _key(location: tuple[int | str, ...]) -> str:
    parts = [str(part) for part in location]
    if parts and _BRANCH.fullmatch(parts[-1]):
        parts.pop()
    return ".".join(parts) or "the file"


def _reason(problems: list[Any]) -> str:
    """Say what is wrong with one key: one problem, or one for each branch of a union."""
    first = problems[0]
    match first["type"]:
        case "extra_forbidden":
            return "is not a key that exists"
        case "missing":
            return "is missing"
        case "value_error":
            return first["msg"].removeprefix("Value error, ")
        case "model_type" | "dict_type":
            wanted = "must hold keys and values"
        case "string_pattern_mismatch":
            wanted = f"must match {first['ctx']['pattern']}"
        case "too_short":
            wanted = "must not be empty"
        case "string_too_long":
            wanted = f"must have at most {first['ctx']['max_length']} characters"
        case _:
            ways = [problem["msg"].removeprefix("Input should be ") for problem in problems]
            wanted = f"must be {' or '.join(ways)}"
    return f"{wanted}, not {reprlib.repr(first['input'])}"
