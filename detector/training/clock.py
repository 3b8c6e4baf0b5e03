"""How long training takes: a measurement, never part of a hashed output."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras


@dataclass(frozen=True)
class EpochTime:
    """Times of one epoch.

    training: seconds without validation. ended: seconds from the start of training to the epoch's
    end, validation included. steps: batches.
    """

    training: float
    ended: float
    steps: int


class EpochClock(keras.callbacks.Callback):
    """Time each epoch of one `fit`: the training part, and the whole with validation.

    Give it as the last callback, so that what the others do at an epoch's end counts as well.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        """clock: gives seconds."""
        super().__init__()
        self.epochs: list[EpochTime] = []
        self.earlier: list[EpochTime] = []  # of a run that this one goes on with
        self._clock = clock

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Called by Keras."""
        self.epochs = list(self.earlier)
        self._start = self._clock() - (self.earlier[-1].ended if self.earlier else 0.0)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras."""
        self._epoch_start = self._clock()
        self._trained = None
        self._steps = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras, with `steps_per_execution` only after the last of several."""
        self._steps = batch + 1

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Called by Keras when validation starts."""
        self._trained = self._finished()

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras after validation."""
        now = self._finished()
        trained = now if self._trained is None else self._trained
        self.epochs.append(EpochTime(trained - self._epoch_start, now - self._start, self._steps))

    def _finished(self) -> float:
        # A GPU works on after the last batch was handed to it: reading a weight waits for it.
        keras.ops.convert_to_numpy(self.model.trainable_variables[-1])
        return self._clock()

    def report(self, history: dict[str, list[float]], batch_images: int) -> dict[str, Any]:
        """Sum the training up.

        history: of `fit`, with val_accuracy. batch_images: images a batch. Returns
        train_images_per_second (training part; median over the epochs from the second on, since
        the first one compiles, or of the only one), seconds_total and seconds_to_best_validation
        (both from the start of training, validation included; the latter to the end of the first
        epoch with the best validation accuracy) and best_val_accuracy (0 to 1), all of 4
        significant digits. Raises ValueError when history has another number of epochs.
        """
        accuracies = history["val_accuracy"]
        if not self.epochs or len(accuracies) != len(self.epochs):
            raise ValueError(f"{len(self.epochs)} epochs timed, {len(accuracies)} in the history")
        rates = [epoch.steps * batch_images / epoch.training for epoch in self.epochs]
        best = max(accuracies)
        return {
            "train_images_per_second": _rounded(statistics.median(rates[1:] or rates)),
            "seconds_total": _rounded(self.epochs[-1].ended),
            "seconds_to_best_validation": _rounded(self.epochs[accuracies.index(best)].ended),
            "best_val_accuracy": _rounded(best),
        }


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
