"""Train a network by the recipe of params.yaml."""

from typing import Any

import keras

from detector.arrays import Split
from detector.batches import OrderedBatches, TrainingBatches
from detector.params import TrainParams


def make_optimizer(recipe: TrainParams, learning_rate: float, steps: int) -> Any:
    """Give the optimizer of the recipe. steps: length of the whole training, for the schedule."""
    rate = learning_rate
    if recipe.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    match recipe.optimizer:
        case "adam":
            return keras.optimizers.Adam(rate)
        case "adamw":
            return keras.optimizers.AdamW(rate)
        case "sgd":
            return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    raise AssertionError(recipe.optimizer)  # the schema lets no other through


class LogLearningRate(keras.callbacks.Callback):
    """Put the learning rate that the last step had into the logs of each epoch."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras; callbacks after this one see the value."""
        if logs is not None:
            logs["learning_rate"] = float(
                keras.ops.convert_to_numpy(self.model.optimizer.learning_rate)
            )


def train(
    model: keras.Model,
    train_split: Split,
    val_split: Split,
    recipe: TrainParams,
    learning_rate: float,
    seed: int,
    callbacks: list[keras.callbacks.Callback],
    verbose: int = 2,
) -> dict[str, list[float]]:
    """Train `model` in place with binary cross-entropy.

    callbacks see accuracy, loss, val_accuracy, val_loss and learning_rate after each epoch.
    Returns these, a list each with a value an epoch.
    """
    batches = TrainingBatches(train_split, recipe.batch_size, recipe.steps_per_epoch, seed)
    model.compile(
        make_optimizer(recipe, learning_rate, recipe.epochs * len(batches)),
        loss="binary_crossentropy",
        metrics=["accuracy"],
        jit_compile=False,
    )
    history = model.fit(
        batches,
        epochs=recipe.epochs,
        shuffle=False,  # TrainingBatches has an order of its own
        validation_data=OrderedBatches(val_split, 256),
        callbacks=[LogLearningRate(), *callbacks],
        verbose=verbose,
    )
    return history.history
