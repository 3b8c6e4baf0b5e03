"""Train a network by the recipe of params.yaml."""

from typing import Any

import keras

from detector.data.arrays import Split
from detector.networks.batches import OrderedBatches, TrainingBatches
from detector.networks.checkpoint import Checkpoint
from detector.networks.runtime import has_gpu
from detector.networks.whitening import fit_first_layer
from detector.settings import TrainParams


def make_optimizer(recipe: TrainParams, learning_rate: float, steps: int) -> Any:
    """Give the optimizer of the recipe. steps: length of the whole training, for the schedule."""
    rate = learning_rate
    if recipe.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(learning_rate, steps)
    elif recipe.schedule == "onecycle":
        rate = OneCycle(learning_rate, steps)
    match recipe.optimizer:
        case "adam":
            return keras.optimizers.Adam(rate)
        case "adamw":
            return keras.optimizers.AdamW(rate)
        case "sgd":
            return keras.optimizers.SGD(rate, momentum=0.9, nesterov=True)
    raise AssertionError(recipe.optimizer)  # the schema lets no other through


def use_xla(recipe: TrainParams) -> bool:
    """Tell whether the step is compiled by XLA.

    auto: always on JAX, which is made for it; on TensorFlow on GPUs, unless it must be
    deterministic, which TensorFlow's XLA is not.
    """
    if recipe.xla != "auto":
        return recipe.xla
    return keras.backend.backend() == "jax" or (has_gpu() and not recipe.deterministic)


@keras.saving.register_keras_serializable("detector")
class OneCycle(keras.optimizers.schedules.LearningRateSchedule):
    """Up from 0 in a straight line over the first fifth of the steps, down to 0 over the others.

    After Smith and Topin, "Super-Convergence", 2018, without its cycle of the momentum.
    """

    WARM_UP = 0.2

    def __init__(self, highest: float, steps: int) -> None:
        """highest: the rate at the end of the warm-up. steps: of the whole training."""
        super().__init__()
        self.highest = highest
        self.steps = steps

    def __call__(self, step: Any) -> Any:
        """Give the rate of a step, counted from 0; the last one still learns a little."""
        done = (keras.ops.cast(step, "float32") + 1.0) / (self.steps + 1.0)
        rising = done / self.WARM_UP
        falling = (1.0 - done) / (1.0 - self.WARM_UP)
        return self.highest * keras.ops.maximum(keras.ops.minimum(rising, falling), 0.0)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return {"highest": self.highest, "steps": self.steps}


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
    checkpoint: Checkpoint | None = None,
) -> dict[str, list[float]]:
    """Train `model` in place with binary cross-entropy.

    callbacks see accuracy, loss, val_accuracy, val_loss and learning_rate after each epoch; after
    them the checkpoint is written, from which an interrupted training goes on. Returns these
    values, a list each with a value an epoch.
    """
    fit_first_layer(model, train_split.images)
    batches = TrainingBatches(train_split, recipe.batch_size, recipe.steps_per_epoch, seed)
    model.compile(
        make_optimizer(recipe, learning_rate, recipe.epochs * len(batches)),
        loss="binary_crossentropy",
        metrics=["accuracy"],
        jit_compile=use_xla(recipe),
        steps_per_execution=recipe.steps_per_execution,
    )
    done = checkpoint.restore(model) if checkpoint else 0
    batches.start_at(done)
    history = model.fit(
        batches,
        epochs=recipe.epochs,
        initial_epoch=done,
        shuffle=False,  # TrainingBatches has an order of its own
        validation_data=OrderedBatches(val_split, 256),
        callbacks=[LogLearningRate(), *callbacks, *([checkpoint] if checkpoint else [])],
        verbose=verbose,
    )
    return checkpoint.history if checkpoint else history.history
