"""Section `preprocess` of params.yaml."""

from typing import Literal

from pydantic import Field

from detector.base.section import Section


class PreprocessParams(Section):
    """How the archive becomes arrays."""

    validation_fraction: float = Field(gt=0, lt=1)
    on_bad_image: Literal["error", "drop"]
    duplicates: Literal["keep", "drop"]
    near_duplicate_rms: float = Field(ge=0, le=64)
