"""Batches from the memory map, by index, in an order that depends on the seed alone."""

from abc import ABC, abstractmethod
from functools import lru_cache

import keras
import numpy as np

from detector.base.arrays import Split

Batch = tuple[np.ndarray, np.ndarray]  # uint8 B,S,S,3 and float32 B,1


class Batches(keras.utils.PyDataset, ABC):
    """What both kinds of batches share; a replica of several can take its part of each."""

    def __init__(self, split: Split) -> None:
        super().__init__(workers=1)
        self.split = split
        self.epoch = 0
        self.rows_read = 0

    @abstractmethod
    def rows(self, step: int, epoch: int) -> np.ndarray:
        """Give the rows of the arrays that a batch holds, in rising order."""

    def __getitem__(self, step: int) -> Batch:
        """Give one batch of the current epoch."""
        return self.part(step, self.epoch)

    def part(self, step: int, epoch: int, replica: int = 0, replicas: int = 1) -> Batch:
        """Give every `replicas`-th row of a batch from number `replica` on, and read no other.

        It is empty when the batch has no more than `replica` rows.
        """
        rows = self.rows(step, epoch)[replica::replicas]
        self.rows_read += len(rows)
        return self.split.images[rows], self.split.labels[rows].astype(np.float32)[:, None]


class TrainingBatches(Batches):
    """Shuffled batches without end: pass after pass over the images, each in an order of its own.

    An epoch of `steps` batches goes on where the one before it stopped, as the paper's generator
    did: 300 steps of 64 images are a quarter of CIFAKE's training set. Epoch e, counted from 0, has
    the batches from number e * steps on. Which images a batch holds depends on the seed and on its
    number only, so a resumed run sees the same. `start_at` says which epoch it is: Keras does not,
    and calls `on_epoch_end` once before the first one.
    """

    def __init__(self, split: Split, batch_size: int, steps: int | None, seed: int) -> None:
        """steps: batches an epoch; None = as many whole batches as the images fill, at least 1."""
        super().__init__(split)
        self.batch_size = min(batch_size, len(split))
        self._steps = steps or max(1, len(split) // self.batch_size)
        self._order = lru_cache(maxsize=2)(
            lambda turn: np.random.default_rng([seed, turn]).permutation(len(split))
        )

    def start_at(self, epoch: int) -> None:
        """Give the batches of this epoch, counted from 0, from now on."""
        self.epoch = epoch

    def __len__(self) -> int:
        return self._steps

    def rows(self, step: int, epoch: int) -> np.ndarray:
        """Give the rows of a batch; the order within it does not matter."""
        first = (epoch * self._steps + step) * self.batch_size
        places = np.arange(first, first + self.batch_size)
        turns, within = np.divmod(places, len(self.split))
        rows = [self._order(int(t))[w] for t, w in zip(turns, within, strict=True)]
        return np.sort(rows)  # in rising order they read the memory map forwards


class OrderedBatches(Batches):
    """Each image once, in the order of the arrays; for validation and prediction."""

    def __init__(self, split: Split, batch_size: int) -> None:
        """batch_size: of all but the last batch, which may be smaller."""
        super().__init__(split)
        self.batch_size = batch_size

    def __len__(self) -> int:
        return -(-len(self.split) // self.batch_size)

    def rows(self, step: int, epoch: int) -> np.ndarray:
        """Give the rows of a batch, the same in every epoch."""
        first = step * self.batch_size
        return np.arange(first, min(first + self.batch_size, len(self.split)))
