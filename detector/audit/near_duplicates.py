"""Search for images that are almost another image: no pair is missed, at a bounded cost.

Two images are near-duplicates when the root mean square difference of their luma, means taken off,
is at most so many grey levels. The distance of their low frequencies is a lower bound of it
(Parseval's theorem), as is the difference of any one of these. So images are sorted by the one that
varies most, those within reach are held against each other on all low frequencies, and what is left
on all pixels: matrix products, which are bounded whatever the images. A tree over the low
frequencies takes 50 times as long where they say little, as for textures.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Self

import joblib
import numpy as np
from threadpoolctl import threadpool_limits

from detector.base.arrays import at_once
from detector.images.decode import luma

Pixels = Callable[[np.ndarray], np.ndarray]

BLOCK, CHUNK = 256, 2048  # rows of the products: their results stay in the cache of a core
ROUNDING = 0.25  # squared grey levels, above what the products lose in float32
SAMPLE = 512
# Pairs of images of 32 pixels that may be compared on all pixels: 10 s on two cores
MOST_PAIRS = 2**28


def near_pairs(
    asking: np.ndarray,
    answering: np.ndarray,
    features: np.ndarray,
    pixels: Pixels,
    rms: float,
    most: int,
) -> tuple[list[tuple[int, int]], int]:
    """Return a pair for each row of `asking` with a near-duplicate in `answering`, sorted.

    asking, answering: int64, row numbers without a common one. features: float32 N,K, of
    `decode.low_frequencies`. pixels: gives uint8 M,S,S,3 for M row numbers, in any thread. rms:
    grey levels, at least 0. At most `most` rows are asked about, evenly spread, and fewer where
    the low frequencies leave more than MOST_PAIRS pairs; returns their number, too.
    """
    asking = _spread(asking, most)
    if not len(asking) or not len(answering):
        return [], len(asking)
    side = pixels(asking[:1]).shape[1]
    search = _Search.of(answering, features, pixels, rms, at_once(CHUNK, side))
    # A thread a block: those of one product wait for each other longer than they work.
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(joblib.cpu_count()) as pool:
        budget = at_once(MOST_PAIRS, side)
        if len(asking) * len(answering) > budget:
            sample = _spread(asking, SAMPLE)
            pairs = sum(pool.map(search.count, search.blocks(sample))) / len(sample)
            asking = _spread(asking, max(1, int(budget / max(pairs, 1))))
        found = pool.map(search.find, search.blocks(asking))
        return sorted(chain.from_iterable(found)), len(asking)


def _spread(rows: np.ndarray, most: int) -> np.ndarray:
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]


@dataclass(frozen=True)
class _Search:
    """The images to be found, sorted by one of their features, and how to compare with them."""

    rows: np.ndarray
    factors: np.ndarray  # float32 M,K+2: products with those of _left are squared distances
    features: np.ndarray
    axis: int  # the feature that is sorted by
    pixels: Pixels
    rms: float
    step: int  # images whose pixels are held at a time

    @classmethod
    def of(
        cls, rows: np.ndarray, features: np.ndarray, pixels: Pixels, rms: float, step: int
    ) -> Self:
        axis = int(features[rows].var(axis=0).argmax())
        rows = rows[np.argsort(features[rows, axis], kind="stable")]
        of_rows = features[rows]
        ones = np.ones((len(rows), 1), np.float32)
        factors = np.hstack([of_rows, _square(of_rows)[:, None], ones])
        return cls(rows, factors, features, axis, pixels, rms, step)

    def blocks(self, asking: np.ndarray) -> list[np.ndarray]:
        """Part rows so that those of a block lie together."""
        asking = asking[np.argsort(self.features[asking, self.axis], kind="stable")]
        return [asking[i : i + BLOCK] for i in range(0, len(asking), BLOCK)]

    def candidates(self, block: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield rows to be found, C, and bool B,C: which the low frequencies leave possible."""
        asking = self.features[block]
        ones = np.ones((len(block), 1), np.float32)
        left = np.hstack([-2 * asking, ones, _square(asking)[:, None]])
        reach = np.sqrt(self.rms**2 + ROUNDING)
        ends = [asking[0, self.axis] - reach, asking[-1, self.axis] + reach]
        first, last = np.searchsorted(self.factors[:, self.axis], ends)
        product = np.empty((len(block), CHUNK), np.float32)
        for start in range(first, last, CHUNK):
            stop = min(start + CHUNK, last)
            squared = np.matmul(left, self.factors[start:stop].T, out=product[:, : stop - start])
            possible = squared <= reach**2
            if possible.any():
                yield self.rows[start:stop], possible

    def count(self, block: np.ndarray) -> int:
        """Return how many pairs the low frequencies leave."""
        return sum(np.count_nonzero(possible) for _, possible in self.candidates(block))

    def find(self, block: np.ndarray) -> list[tuple[int, int]]:
        """Return for each row that has a near-duplicate the pair."""
        found: dict[int, int] = {}
        for rows, possible in self.candidates(block):
            possible[[row in found for row in block.tolist()]] = False
            asking, answering = block[possible.any(axis=1)], rows[possible.any(axis=0)]
            for i in range(0, len(asking), self.step):
                of_asking = luma(self.pixels(asking[i : i + self.step]))
                for j in range(0, len(answering), self.step):
                    of_answering = luma(self.pixels(answering[j : j + self.step]))
                    for a, b in _near(of_asking, of_answering, self.rms):
                        found.setdefault(int(asking[i + a]), int(answering[j + b]))
        return list(found.items())


def _near(first: np.ndarray, second: np.ndarray, rms: float) -> Iterator[tuple[int, int]]:
    """Yield for each of float32 N,S,S that is near to one of M,S,S its number and the other's."""
    flat, other = (_centred(images) for images in (first, second))
    squared = _square(flat)[:, None] + _square(other) - 2 * (flat @ other.T)
    near = squared <= (rms**2 + ROUNDING) * flat.shape[1]
    while near.any():
        a = np.flatnonzero(near.any(axis=1))
        b = near[a].argmax(axis=1)
        # Taken apart, the last bits do not depend on the kind of processor.
        measured = (first[a] - second[b]).std(axis=(1, 2)) <= rms  # the std takes means off
        near[a, b] = False
        near[a[measured]] = False
        yield from zip(a[measured], b[measured], strict=True)


def _centred(images: np.ndarray) -> np.ndarray:
    flat = images.reshape(len(images), -1)
    return flat - flat.mean(axis=1, keepdims=True)


def _square(rows: np.ndarray) -> np.ndarray:
    return np.einsum("ij,ij->i", rows, rows)
