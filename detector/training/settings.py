"""Section `train` of params.yaml."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from detector.base.section import Section
from detector.networks.settings import Augmentation


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
