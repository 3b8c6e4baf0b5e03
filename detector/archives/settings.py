"""Section `data` of params.yaml."""

from pydantic import Field

from detector.base.layout import CIFAKE_SHA256
from detector.base.section import FilePath, Section, Sha256


class DataParams(Section):
    """Where the archive comes from and what must be true of it."""

    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]*$", max_length=64)
    kaggle: str | None = Field(pattern=r"^[\w-]+/[\w-]+/versions/[1-9]\d*$")
    path: FilePath = Field(min_length=1)  # zip or folder; of Kaggle's, the file that pins it
    sha256: Sha256 | None  # of the content, see zips.content_sha256
    image_size: int = Field(ge=8, le=1024)
    cifar_class_in_name: bool

    @property
    def pinned(self) -> str | None:
        """The sha256 that the content must have: nothing but CIFAKE goes by its name."""
        return CIFAKE_SHA256 if self.name.lower() == "cifake" else self.sha256
