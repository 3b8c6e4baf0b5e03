"""Batches from the memory map, by index, in an order that depends on the seed alone."""

from functools import lru_cache

import keras
import numpy as np

from detector.data.arrays import Split


class TrainingBatches(keras.utils.PyDataset):
    """Shuffled batches without end: pass after pass over the images, each in an order of its own.

    An epoch of `steps` batches goes on where the one before it stopped, as the paper's generator
    did: 300 steps of 64 images are a quarter of CIFAKE's training set. Which images a batch holds
    depends on the seed and on its number since the start only, so a resumed run sees the same.
    """

    def __init__(self, split: Split, batch_size: int, steps: int | None, seed: int) -> None:
        """steps: batches an epoch; None = as many whole batches as the images fill, at least 1."""
        super().__init__(workers=1)
        self._split = split
        self._batch_size = min(batch_size, len(split))
        self._steps = steps or max(1, len(split) // self._batch_size)
        self._epoch = 0
        self._order = lru_cache(maxsize=2)(
            lambda turn: np.random.default_rng([seed, turn]).permutation(len(split))
        )

    def start_at(self, epoch: int) -> None:
        """Go on with the batches of this epoch, counted from 0."""
        self._epoch = epoch

    def __len__(self) -> int:
        return self._steps

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Give uint8 B,S,S,3 and float32 B,1."""
        first = (self._epoch * self._steps + step) * self._batch_size
        places = np.arange(first, first + self._batch_size)
        turns, within = np.divmod(places, len(self._split))
        rows = np.array([self._order(int(t))[w] for t, w in zip(turns, within, strict=True)])
        return _gather(self._split, rows)

    def on_epoch_end(self) -> None:
        """Called by Keras after each epoch."""
        self._epoch += 1


class OrderedBatches(keras.utils.PyDataset):
    """Each image once, in the order of the arrays; for validation and prediction."""

    def __init__(self, split: Split, batch_size: int) -> None:
        super().__init__(workers=1)
        self._split = split
        self._batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self._split) // self._batch_size)

    def __getitem__(self, step: int) -> tuple[np.ndarray, np.ndarray]:
        """Give uint8 B,S,S,3 and float32 B,1; the last batch may be smaller."""
        first = step * self._batch_size
        return _gather(
            self._split, np.arange(first, min(first + self._batch_size, len(self._split)))
        )


def _gather(split: Split, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    # Rows in rising order read the memory map forwards; the order within a batch does not matter.
    rows = np.sort(rows)
    return split.images[rows], split.labels[rows].astype(np.float32)[:, None]
