"""What every training does after a step or an epoch."""

import math

import keras

from detector.base.errors import ExpectedError
from detector.base.finite import WHAT_TO_TRY, why_not_finite


class LogLearningRate(keras.callbacks.Callback):
    """Put the learning rate of the epoch's last step, the head's, into the logs of each epoch."""

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras; callbacks after this one see the value."""
        if logs is not None:
            optimizer = self.model.optimizer
            optimizer = getattr(optimizer, "inner_optimizer", optimizer)  # of float16's scaling
            logs["learning_rate"] = max(  # the backbone's is never higher
                map(_last_rate, getattr(optimizer, "optimizers", [optimizer]))
            )


def _last_rate(optimizer: keras.optimizers.Optimizer) -> float:
    """Give the rate of the last step taken. `learning_rate` is that of the step to come."""
    rate = optimizer._learning_rate
    if isinstance(rate, keras.optimizers.schedules.LearningRateSchedule):
        rate = rate(keras.ops.maximum(optimizer.iterations - 1, 0))
    return float(keras.ops.convert_to_numpy(rate))


class StopDiverged(keras.callbacks.Callback):
    """End a training whose numbers are not finite, before any other callback hears of them.

    The loss is looked at after every step; the values of the epoch, the weights with the moving
    statistics, and the optimizer's variables after every epoch. With mixed_float16 Keras leaves out
    steps whose gradients are not finite and halves what it scales them by: that ends the training
    when they are not finite unscaled either, or when no step was left.
    """

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras, with the mean of the epoch so far, which stays not finite once it is."""
        loss = (logs or {}).get("loss", 0.0)
        if not math.isfinite(loss):
            self._end(f"the loss is {loss} at step {batch + 1}")

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras."""
        self._epoch = epoch + 1

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Called by Keras after validation."""
        optimizer = self.model.optimizer
        for key, value in (logs or {}).items():
            if not math.isfinite(value):
                self._end(f"{key} is {value}")
        variables = [*self.model.variables, *optimizer.variables]
        if why := why_not_finite((v.path, keras.ops.convert_to_numpy(v)) for v in variables):
            self._end(f"of the weights and the optimizer {why}")
        scale = float(keras.ops.convert_to_numpy(getattr(optimizer, "dynamic_scale", 1)))
        last = self._epoch == self.params["epochs"]
        if scale < 1 or (last and not int(keras.ops.convert_to_numpy(optimizer.iterations))):
            self._end("the gradients are not finite in half precision")

    def _end(self, why: str) -> None:
        raise ExpectedError(
            f"the training of {self.model.name} diverged in epoch {self._epoch}: {why}; "
            f"{WHAT_TO_TRY}"
        )
