"""Section `data` of params.yaml."""

from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from detector.base.section import ClassCounts, FilePath, Section, Sha256


class ImageCounts(Section):
    """Number of images of each split and class that the archive must have."""

    train: ClassCounts
    test: ClassCounts


class DataParams(Section):
    """Where the archive comes from and what must be true of it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)
    source: Literal["local", "kaggle"]
    path: FilePath = Field(min_length=1)  # zip or folder, when local; else the file that pins it
    kaggle_dataset: str | None = Field(pattern=r"^[\w-]+/[\w-]+$")  # owner/slug
    kaggle_version: int | None = Field(ge=1)
    sha256: Sha256 | None
    images: ImageCounts | None
    image_size: int = Field(ge=8, le=1024)
    cifar_class_in_name: bool

    @field_validator("kaggle_dataset", "kaggle_version")
    @classmethod
    def _kaggle_is_named(cls, value: str | int | None, info: ValidationInfo) -> str | int | None:
        if info.data.get("source") == "kaggle" and value is None:
            raise ValueError("is needed when source is kaggle")
        return value
