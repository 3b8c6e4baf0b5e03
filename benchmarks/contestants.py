"""The networks that part accuracy trains, each with its recipe, and the harness that times them."""

import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np

from detector.base.arrays import Split
from detector.networks.batches import TrainingBatches

JUDGED_AT_ONCE = 500  # images


def reference(image_size: int, seed: int) -> keras.Model:
    """Build and compile the network that others train from scratch for CIFAKE.

    Three blocks of two 3x3 convolutions, each with batch normalisation, and pooling; 32, 64 and 128
    filters; global average pooling; two units with softmax, labels 0 and 1. With no bias in the
    convolutions, as usual before batch normalisation, it has exactly the 287,714 trainable
    parameters of leyixu26/cifake-detection, trained there with AdamW (1e-3, weight decay 1e-4),
    batch 128, flip and a crop of 32 from the image padded by 4.
    """
    layers = keras.layers
    keras.utils.set_random_seed(seed)
    images = keras.Input((image_size, image_size, 3), dtype="uint8")
    x = layers.Rescaling(1 / 255)(images)
    x = layers.RandomFlip("horizontal", seed=seed)(x)
    # A crop of the padded image is a shift by whole pixels: 4.5 either way, rounded, gives -4 to 4
    # equal chances.
    x = layers.RandomTranslation(
        4.5 / image_size, 4.5 / image_size, "constant", "nearest", seed=seed + 1
    )(x)
    for width in (32, 64, 128):
        for _ in range(2):
            x = layers.Conv2D(width, 3, padding="same", use_bias=False)(x)
            x = layers.BatchNormalization(momentum=0.9)(x)  # the momentum of PyTorch, their library
            x = layers.ReLU()(x)
        x = layers.MaxPooling2D()(x)
    x = layers.GlobalAveragePooling2D()(x)
    model = keras.Model(images, layers.Dense(2, activation="softmax")(x))
    model.compile(
        keras.optimizers.AdamW(1e-3, weight_decay=1e-4), "sparse_categorical_crossentropy",
        metrics=["accuracy"], jit_compile=False,
    )  # fmt: skip
    return model


class Judge(keras.callbacks.Callback):
    """Stop the clock at fixed times, take the accuracy on the validation images, go on."""

    def __init__(self, split: Split, count: int | None, batch_size: int, limit: float) -> None:
        """count: so many images of the split, evenly spread; None = all. limit: seconds."""
        super().__init__()
        rows = np.linspace(0, len(split) - 1, min(count or len(split), len(split))).astype(int)
        self._images, self._labels = split.images[rows], split.labels[rows]
        # Of equal sizes, since TensorFlow compiles prediction for each size.
        self._blocks = np.array_split(np.arange(len(rows)), -(-len(rows) // JUDGED_AT_ONCE))
        self._batch_size, self._limit = batch_size, limit

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Called by Keras."""
        self.curve: list[dict[str, float]] = []
        self._times = times()
        self._next, self._paused, self._steps = next(self._times), 0.0, 0
        self._start = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras."""
        self._steps = batch + 1  # with steps_per_execution Keras tells of the last one alone
        if (seconds := self._seconds()) < min(self._next, self._limit):
            return
        self._judge()
        if seconds >= self._limit:
            self.model.stop_training = True
        while self._next <= seconds:
            self._next = next(self._times)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Called by Keras."""
        if not self.curve or self.curve[-1]["images"] < self._steps * self._batch_size:
            self._judge()

    def accuracy(self) -> float:
        """Give the share of the validation images predicted by their label, 0 to 1."""
        right = 0
        for rows in self._blocks:
            # REAL is the only unit or the last one.
            real = self.model.predict_on_batch(self._images[rows])[:, -1] > 0.5
            right += int((real == self._labels[rows]).sum())
        return right / len(self._images)

    def _seconds(self) -> float:
        return time.perf_counter() - self._start - self._paused

    def _judge(self) -> None:
        keras.ops.convert_to_numpy(self.model.trainable_variables[-1])  # waits for the device
        seconds, stopped = self._seconds(), time.perf_counter()
        images = self._steps * self._batch_size
        self.curve.append({"seconds": seconds, "images": images, "accuracy": self.accuracy()})
        self._paused += time.perf_counter() - stopped


def times() -> Iterator[float]:
    """Give the seconds at which every network is judged: often at first, then each half minute."""
    for seconds in (1, 2, 3, 4, 5, 6, 8, *range(10, 60, 5)):
        yield float(seconds)
    seconds = 60.0
    while True:
        yield seconds
        seconds += 30.0


class Contestant:
    """A compiled network that can be trained several times from the same weights."""

    def __init__(self, model: keras.Model, train: Split, batch_size: int, seed: int) -> None:
        self.model, self._train, self._seed = model, train, seed
        self.batch_size = min(batch_size, len(train))
        model.optimizer.build(model.trainable_variables)
        self._variables = [*model.variables, *model.optimizer.variables]
        self._initial = [keras.ops.convert_to_numpy(variable) for variable in self._variables]

    def compile_now(self, judge: Judge) -> float:
        """Compile step and prediction by using them. Returns the seconds."""
        start = time.perf_counter()
        self._fit(2, [])
        judge.set_model(self.model)
        judge.accuracy()
        seconds = time.perf_counter() - start
        self.restart()
        return seconds

    def restart(self) -> None:
        """Bring back the weights and the optimizer's state from before all training."""
        for variable, value in zip(self._variables, self._initial, strict=True):
            variable.assign(value)

    def train(self, steps: int, judge: Judge) -> list[dict[str, Any]]:
        """Train for so many steps or to the judge's limit. Returns the curve."""
        self._fit(steps, [judge])
        return judge.curve

    def _fit(self, steps: int, callbacks: list[keras.callbacks.Callback]) -> None:
        batches = TrainingBatches(self._train, self.batch_size, steps, self._seed)
        self.model.fit(batches, shuffle=False, verbose=0, callbacks=callbacks)
