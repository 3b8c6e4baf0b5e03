"""Time stretches of training: with the real input path, and on one resident batch."""

import itertools
import time
from typing import Any

import keras
import numpy as np

from detector.base.arrays import Split
from detector.networks.batches import TrainingBatches
from detector.networks.model import build_model
from detector.params import Params
from detector.training.fit import make_optimizer, use_xla

WARM_UP = 3  # steps


def compiled(params: Params, image_size: int, seed: int, steps: int = 1_000_000) -> keras.Model:
    """Build the only backbone of `params` and compile it by their recipe.

    steps: length of the training, for the schedule.
    """
    (settings,) = params.model.values()
    recipe = params.train
    keras.utils.set_random_seed(seed)
    model = build_model(settings, image_size, recipe.augmentation, seed)
    model.compile(
        make_optimizer(recipe, settings.learning_rate, steps),
        loss="binary_crossentropy",
        metrics=["accuracy"],
        jit_compile=use_xla(recipe),
        steps_per_execution=recipe.steps_per_execution,
    )
    return model


def wait_for(model: keras.Model) -> None:
    """Wait until the device has done all steps: reading a weight does."""
    keras.ops.convert_to_numpy(model.trainable_variables[-1])


class Stretch(keras.callbacks.Callback):
    """Take the seconds of a step of a `fit`, from about step `skip` to its last.

    With steps_per_execution Keras tells of the last step of each execution alone.
    """

    def __init__(self, skip: int, steps: int) -> None:
        super().__init__()
        self.skip, self.last = skip, skip + steps - 1
        self.seconds_per_step = float("nan")
        self._first: int | None = None

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras with the number of the step, from 0."""
        if self._first is None and batch >= self.skip - 1:
            wait_for(self.model)
            self._first, self._start = batch, time.perf_counter()
        elif self._first is not None and batch >= self.last:
            wait_for(self.model)
            spent = time.perf_counter() - self._start
            self.seconds_per_step = spent / (batch - self._first)


class Turns(keras.callbacks.Callback):
    """Within one `fit` time laps of its steps and laps of a resident batch in turn.

    The first lap, in which the step may still be compiled, is left out. fitted, resident: seconds
    of a step in each lap; a resident lap comes before and after each one of the fit.
    """

    def __init__(self, resident: "Resident", lap: int) -> None:
        """lap: steps, a multiple of the model's steps_per_execution."""
        super().__init__()
        self._resident, self._lap = resident, lap
        self.fitted: list[float] = []
        self.resident: list[float] = []
        self._start: float | None = None

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras with the number of the step, from 0."""
        if (batch + 1) % self._lap:
            return
        wait_for(self.model)
        if self._start is not None:
            self.fitted.append((time.perf_counter() - self._start) / self._lap)
        self.resident.append(self._resident.seconds(self._lap))
        self._start = time.perf_counter()


class Laps(keras.callbacks.Callback):
    """Take the seconds of a step, the mean of each `steps` in a row; on any backend.

    The first lap of an epoch, in which the step is compiled, is left out.
    """

    def __init__(self, steps: int) -> None:
        super().__init__()
        self.steps = steps

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Called by Keras."""
        self.seconds: list[float] = []

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras."""
        self._start: float | None = None

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras with the number of the step, from 0."""
        if (batch + 1) % self.steps:
            return
        float(logs["loss"])  # waits for a device that works on while Python does
        now = time.perf_counter()
        if self._start is not None:
            self.seconds.append((now - self._start) / self.steps)
        self._start = now


def fit_seconds(model: keras.Model, split: Split, batch_size: int, steps: int) -> float:
    """Give the seconds of a step of `fit` over TrainingBatches, after WARM_UP steps."""
    warm_up, steps = (whole(model, count) for count in (WARM_UP, steps))
    stretch = Stretch(warm_up, steps)
    batches = TrainingBatches(split, batch_size, warm_up + steps, seed=1)
    model.fit(batches, shuffle=False, verbose=0, callbacks=[stretch])
    return stretch.seconds_per_step


def tf_data_seconds(model: keras.Model, split: Split, batch_size: int, steps: int) -> float:
    """Give what `fit_seconds` does, with tf.data's usual pipeline over an array in memory."""
    import tensorflow as tf

    warm_up, steps = (whole(model, count) for count in (WARM_UP, steps))
    with tf.device("cpu:0"):
        images = tf.constant(np.asarray(split.images))
        labels = tf.constant(np.asarray(split.labels, np.float32)[:, None])
    batches = tf.data.Dataset.from_tensor_slices((images, labels)).repeat()
    batches = batches.shuffle(len(split), seed=1).batch(batch_size, drop_remainder=True)
    stretch = Stretch(warm_up, steps)
    model.fit(
        batches.prefetch(2), steps_per_epoch=warm_up + steps, shuffle=False, verbose=0,
        callbacks=[stretch],
    )  # fmt: skip
    return stretch.seconds_per_step


def whole(model: keras.Model, steps: int) -> int:
    """Give at least so many steps that are whole executions of a compiled model."""
    return -(-steps // model.steps_per_execution) * model.steps_per_execution


class Resident:
    """The step that `fit` compiled, on one batch that stays on the device, with nothing around it.

    Make it after a `fit`, so that TensorFlow takes that very step. Only for TensorFlow.
    """

    def __init__(self, model: keras.Model, split: Split, batch_size: int) -> None:
        images, labels = TrainingBatches(split, batch_size, 1, seed=1)[0]
        batch: Any = (keras.ops.convert_to_tensor(images), keras.ops.convert_to_tensor(labels))
        self._model = model
        self._batches: Any = itertools.repeat(batch)
        if model.steps_per_execution > 1:  # then Keras asks the iterator from within the graph
            import tensorflow as tf

            self._batches = iter(tf.data.Dataset.from_tensors(batch).repeat())

    def seconds(self, steps: int) -> float:
        """Give the seconds of a step, of at least so many."""
        steps = whole(self._model, steps)
        wait_for(self._model)
        start = time.perf_counter()
        for _ in range(steps // self._model.steps_per_execution):
            self._model.train_function(self._batches)
        wait_for(self._model)
        return (time.perf_counter() - start) / steps


def steps_for(seconds: float, seconds_per_step: float) -> int:
    """Give how many steps take about `seconds`, at least 3."""
    return max(3, round(seconds / seconds_per_step))


def delivered(split: Split, batch_size: int, seconds: float) -> float:
    """Give the images a second that TrainingBatches delivers with no model behind it."""
    batches = TrainingBatches(split, batch_size, None, seed=1)
    batches[0]  # makes the order of the first pass
    images, step, start = 0, 0, time.perf_counter()
    while (spent := time.perf_counter() - start) < seconds:
        images += len(np.asarray(batches[step % len(batches)][0]))
        step += 1
        if step % len(batches) == 0:
            batches.on_epoch_end()
    return images / spent
