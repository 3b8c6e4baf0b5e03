"""Whether an image is like the training images, by its coder and plain statistics of its pixels.

A network answers anything; what it says of a drawing or of a black square means nothing. These
statistics find the plain cases only: an image within all limits may still be of another world.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Annotated, Self

import numpy as np
from pydantic import Field, model_validator

from detector.base.section import Section

# What is said of an image below and above the limits of each statistic, before "than 99.9 % of the
# training images".
WORDS = {
    "brightness": ("darker", "brighter"),
    "contrast": ("of less contrast", "of more contrast"),
    "colourfulness": ("less colourful", "more colourful"),
    "detail": ("smoother, with less fine detail,", "rougher, with more fine detail,"),
    "evenness": (
        "with fewer neighbouring pixels of exactly one colour",
        "with more areas of exactly one colour, as drawings have them,",
    ),
    "extremes": ("with fewer values at 0 and 255", "with more values cut off at 0 and 255"),
}
NAMES = tuple(WORDS)

SHARE = 0.001  # of the images like those of training that are beyond a limit
MOST_CODECS = 1000  # of a model; there are about 300 of libjpeg's

_PIXELS = 1 << 15  # at a time: what is computed of them stays in the cache of the processor


class Limits(Section):
    """Between what values nearly all training images lie, and how they were coded.

    share: at most so many of images like those of training are below the lower limit, and as many
    above the upper one. n: number of training images. ranges: lower and upper limit of each of
    NAMES; none where n is too small for `share`. codecs: words for the coders of the training
    images (decode.codec_name), the most frequent first; none where new ones are to be expected.
    """

    share: float = Field(ge=0, lt=0.5)
    n: int = Field(ge=1)
    ranges: dict[str, tuple[float, float]]
    codecs: Annotated[tuple[Annotated[str, Field(max_length=64)], ...],
                      Field(max_length=MOST_CODECS)] = ()  # fmt: skip

    @model_validator(mode="after")
    def _are_of_these_statistics(self) -> Self:
        if self.ranges and tuple(self.ranges) != NAMES:
            raise ValueError(f"ranges must be of {', '.join(NAMES)}")
        for name, (low, high) in self.ranges.items():
            if not -np.inf < low <= high < np.inf:
                raise ValueError(f"{name} must be [lowest, highest], not [{low}, {high}]")
        return self


def statistics(images: np.ndarray) -> np.ndarray:
    """Give float64 N,6 of uint8 N,S,S,3, S at least 2: a column for each of NAMES.

    - brightness: mean of the luma 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601), 0 to 255.
    - contrast: standard deviation of the luma, 0 to 127.5.
    - colourfulness: M of Hasler and Suesstrunk, Measuring colourfulness in natural images, SPIE
      5007, 2003, section 7; 0 for grey, above 109 for what people call extremely colourful.
    - detail: share of the luma's variance that is lost when blocks of 2x2 pixels become one, 0 to
      1, so the share of the energy at high frequencies; 0 for an image of one grey.
    - evenness: share of the pixels that equal their right neighbour in all three colours, 0 to 1.
    - extremes: share of the values that are 0 or 255, 0 to 1.

    Raises ValueError for other arrays.
    """
    if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
        raise ValueError(f"images are uint8 N,S,S,3, not {images.dtype} {images.shape}")
    if min(images.shape[1:3]) < 2:
        raise ValueError(f"images have at least 2x2 pixels, not {images.shape[1:3]}")
    values = np.empty((len(images), len(NAMES)))
    step = max(1, _PIXELS // (images.shape[1] * images.shape[2]))
    for first in range(0, len(images), step):
        rows = slice(first, first + step)
        values[rows] = _of_block(np.ascontiguousarray(images[rows]))
    return values


def _of_block(images: np.ndarray) -> np.ndarray:
    planes = np.ascontiguousarray(np.moveaxis(images, 3, 1))  # N,3,S,S: five times as fast
    # Whole numbers in float64: their sums are exact, so that one grey has a variance of 0.
    red, green, blue = planes.swapaxes(0, 1).astype(np.float64)
    luma = 299 * red + 587 * green + 114 * blue  # times 1000
    even = (planes[..., 1:] == planes[..., :-1]).all(axis=1)
    return np.stack(
        [
            luma.mean(axis=(1, 2)) / 1000,
            luma.std(axis=(1, 2)) / 1000,
            _colourfulness(red - green, (red + green) / 2 - blue),
            _detail(luma),
            even.mean(axis=(1, 2)),
            (planes + np.uint8(1) < 2).mean(axis=(1, 2, 3)),  # 255 + 1 is 0
        ],
        axis=1,
    )


def _colourfulness(red_green: np.ndarray, yellow_blue: np.ndarray) -> np.ndarray:
    both = np.stack([red_green, yellow_blue], axis=1)
    std = np.sqrt(both.var(axis=(2, 3)).sum(axis=1))
    return std + 0.3 * np.hypot(*both.mean(axis=(2, 3)).T)


def _detail(luma: np.ndarray) -> np.ndarray:
    # The variance within blocks and that of their means add up to the whole one.
    luma = luma[:, : luma.shape[1] // 2 * 2, : luma.shape[2] // 2 * 2]
    pairs = luma[:, ::2] + luma[:, 1::2]
    blocks = (pairs[:, :, ::2] + pairs[:, :, 1::2]) / 4
    whole, of_blocks = luma.var(axis=(1, 2)), blocks.var(axis=(1, 2))
    share = np.divide(of_blocks, whole, out=np.ones_like(whole), where=whole > 0)
    return np.clip(1 - share, 0, 1)


def limits(
    values: np.ndarray, codecs: Mapping[str, int] | None = None, share: float = SHARE
) -> Limits:
    """Return the limits of float N,6 from `statistics` of the training images, N at least 1.

    codecs: how many of the images each coder coded. share: of new images beyond each limit.

    The limits are the k-th smallest and the k-th largest value with k = floor(share * (N + 1)): a
    new image, if any order of it and the others is as likely, is beyond one of them with a
    probability of at most k / (N + 1) (conformal prediction with its correction for finite samples;
    V. Vovk, A. Gammerman, G. Shafer, Algorithmic Learning in a Random World, 2005, section 2.2).
    Under 1 / share - 1 images, k is 0 and there are no limits. A new image has a coder that none of
    N had with a probability of about the share of coders of one image each (I. J. Good, "The
    population frequencies of species and the estimation of population parameters", Biometrika 40,
    1953): where that is above 2 * share, no coder is known.
    """
    n = len(values)
    k = int(share * (n + 1) + 1e-9)  # 0.001 * 1000 may be a little below 1
    ranges = {}
    if k:
        ordered = np.partition(values, [k - 1, n - k], axis=0)
        pairs = zip(ordered[k - 1].tolist(), ordered[n - k].tolist(), strict=True)
        ranges = dict(zip(NAMES, pairs, strict=True))
    return Limits(share=share, n=n, ranges=ranges, codecs=_known_codecs(codecs or {}, share))


def _known_codecs(codecs: Mapping[str, int], share: float) -> tuple[str, ...]:
    counts = list(codecs.values())
    if counts.count(1) > 2 * share * sum(counts) or len(counts) > MOST_CODECS:
        return ()
    return tuple(name for name, _ in Counter(codecs).most_common())


def unfamiliar(
    images: np.ndarray, known: Limits, codecs: Sequence[str] | None = None
) -> list[tuple[str, ...]]:
    """Say of each of uint8 N,S,S,3 in what it is unlike the training images; () is the usual case.

    codecs: N, their coders in the words of decode.codec_name; without them coders are not compared.
    Each text completes "The image is ...", as in "darker than 99.9 % of the training images". Of
    images like those of training at most 2 * share * 6 get one for a statistic, 1.2 % with SHARE.
    """
    found = _beyond(images, known)
    if codecs is None or not known.codecs:
        return found
    few = ", ".join(known.codecs[:3]) + (", ..." if len(known.codecs) > 3 else "")
    return [
        said
        if codec in known.codecs
        else (f"coded as {codec}, the training images as {few}", *said)
        for said, codec in zip(found, codecs, strict=True)
    ]


def _beyond(images: np.ndarray, known: Limits) -> list[tuple[str, ...]]:
    values = statistics(images)
    found: list[tuple[str, ...]] = [()] * len(images)
    if not known.ranges:
        return found
    low, high = np.array([known.ranges[name] for name in NAMES]).T
    than = f"than {100 * (1 - known.share):g} % of the training images"
    for row in np.flatnonzero(((values < low) | (values > high)).any(axis=1)):
        sides = zip(WORDS.values(), values[row] < low, values[row] > high, strict=True)
        found[row] = tuple(
            f"{words[int(above)]} {than}" for words, below, above in sides if below or above
        )
    return found
