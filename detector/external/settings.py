"""Section `external` of params.yaml."""

from typing import Annotated

from pydantic import Field

from detector.base.section import FilePath, Section


class ExternalParams(Section):
    """Where other sets of images lie, and how they are read."""

    path: FilePath = Field(min_length=1)
    recode: bool
    max_images: Annotated[int, Field(ge=1)] | None
