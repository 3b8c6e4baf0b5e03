"""Section `corruption` of params.yaml."""

from typing import Annotated

from pydantic import AfterValidator, Field

from detector.base.section import Section

Quality = Annotated[int, Field(ge=1, le=100)]
Sigma = Annotated[float, Field(gt=0, le=16)]


def _are_pairs(pairs: list[list[float]]) -> list[list[float]]:
    for pair in pairs:
        if len(pair) != 2 or not 0 < pair[0] <= 16 or pair[1] not in range(1, 101):
            raise ValueError(f"must be pairs [sigma, quality], 0 to 16 and 1 to 100, not {pair}")
    return pairs


class CorruptionParams(Section):
    """How test images are corrupted before the network sees them, the mildest level first."""

    max_images: Annotated[int, Field(ge=2)] | None
    jpeg: list[Quality]
    blur: list[Sigma]
    noise: list[Annotated[float, Field(gt=0, le=1)]]
    rescale: list[Annotated[float, Field(gt=0, lt=1)]]
    blur_then_jpeg: Annotated[list[list[float | int]], AfterValidator(_are_pairs)]
