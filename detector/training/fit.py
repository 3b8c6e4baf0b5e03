"""Train a network by the recipe of params.yaml."""

from collections.abc import Iterable
from contextlib import AbstractContextManager, nullcontext
from itertools import pairwise
from typing import Any

import keras

from detector.base.arrays import Split
from detector.networks.batches import OrderedBatches, TrainingBatches
from detector.networks.runtime import has_gpu
from detector.networks.whitening import fit_first_layer
from detector.training.callbacks import LogLearningRate, StopDiverged
from detector.training.checkpoint import Checkpoint
from detector.training.distribution import Distribution
from detector.training.settings import TrainParams


def make_optimizer(
    recipe: TrainParams, learning_rate: float, steps: int, backbone: Iterable[Any] = ()
) -> Any:
    """Give the optimizer of the recipe.

    steps: length of the training, or of a phase of it, for the schedule. backbone: variables that
    learn at `backbone_rate` times `learning_rate`, weight decay too: discriminative learning rates,
    Howard and Ruder, ACL 2018. They have an optimizer of their own in Keras' MultiOptimizer.
    """
    head = _optimizer(recipe, learning_rate, steps)
    own = {id(variable) for variable in backbone}
    if not own or recipe.backbone_rate == 1:
        return head
    slower = _optimizer(recipe, recipe.backbone_rate * learning_rate, steps)
    return keras.optimizers.MultiOptimizer(lambda v: slower if id(v) in own else head)


def _optimizer(recipe: TrainParams, learning_rate: float, steps: int) -> Any:
    rate = learning_rate
    if recipe.schedule == "cosine":
        rate = _cosine(learning_rate, steps, rising=int(recipe.warmup * steps))
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


def _cosine(highest: float, steps: int, rising: int) -> Any:
    """Give Keras' schedule: up in `rising` equal steps, down to 0 along a cosine in the others."""
    decay = keras.optimizers.schedules.CosineDecay
    if not rising:
        return decay(highest, steps)
    return decay(highest / rising, steps - rising, warmup_target=highest, warmup_steps=rising)


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


class _OneTraining(keras.callbacks.CallbackList):
    """Callbacks that see one training, although each phase is a `fit` of its own."""

    begun, last_phase = False, False

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Called by Keras at the start of each `fit`."""
        if not self.begun:
            super().on_train_begin(logs)
        self.begun = True

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Called by Keras at the end of each `fit`."""
        if self.last_phase:
            super().on_train_end(logs)


class _Phases:
    """The head alone for `head_epochs`, then what `build_model` left to learn; both compiled anew.

    So the first steps, in which a new head gives the backbone large gradients at random, leave its
    weights as they are: keras.io/guides/transfer_learning, Kumar et al., ICLR 2022. A frozen
    BatchNormalization layer runs on its moving statistics.
    """

    def __init__(
        self,
        model: keras.Model,
        recipe: TrainParams,
        rate: float,
        steps: int,
        distribution: Distribution | None = None,
    ) -> None:
        """rate: of the head. steps: batches an epoch."""
        self.model, self.recipe, self.rate, self.steps = model, recipe, rate, steps
        self.distribution = distribution
        cuts = sorted({0, recipe.head_epochs, recipe.epochs})
        self.all = [range(start, stop) for start, stop in pairwise(cuts)]
        self._backbone = [layer for layer in model.layers if isinstance(layer, keras.Model)]
        layers = [layer for backbone in self._backbone for layer in backbone.layers]
        self._learning = [layer for layer in layers if layer.trainable]
        self._now: range | None = None

    def enter(self, phase: range) -> None:
        """Freeze and compile the network for a phase, unless it was the last one entered."""
        if phase == self._now:
            return
        self._now, recipe = phase, self.recipe
        backbone_learns = phase.start >= recipe.head_epochs
        if recipe.head_epochs:
            for layer in self._learning:
                layer.trainable = backbone_learns
        slower = [v for each in self._backbone for v in each.trainable_variables]
        with scope_of(self.distribution):
            self.model.compile(
                make_optimizer(recipe, self.rate, len(phase) * self.steps, slower),
                loss="binary_crossentropy",
                metrics=["accuracy"],
                jit_compile=use_xla(recipe) and self.distribution is None,
                steps_per_execution=recipe.steps_per_execution,
            )
            if self.distribution:
                self.model.optimizer.build(self.model.trainable_variables)

    def of_last(self, done: int) -> range:
        """Give the phase in which the last of `done` epochs lies; the first one for none."""
        return [phase for phase in self.all if phase.start < max(done, 1)][-1]


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
    distribution: Distribution | None = None,
) -> dict[str, list[float]]:
    """Train `model` in place with binary cross-entropy, in one or two phases.

    learning_rate: of the head, above 0. callbacks see accuracy, loss, val_accuracy, val_loss and
    learning_rate (the head's, of the last step) after each epoch; after them the checkpoint is
    written, from which an interrupted training goes on. distribution: where several replicas train,
    in whose scope the network was built; every worker calls this, the chief alone with a
    checkpoint. Returns these values, a list each with a value an epoch. Raises ExpectedError as
    soon as a number is not finite, see callbacks.StopDiverged.
    """
    fit_first_layer(model, train_split.images)
    batches = TrainingBatches(train_split, recipe.batch_size, recipe.steps_per_epoch, seed)
    validation = OrderedBatches(val_split, 256)
    phases = _Phases(model, recipe, learning_rate, len(batches), distribution)
    done = _resume(model, phases, checkpoint, distribution)
    told = _OneTraining(
        [
            keras.callbacks.LambdaCallback(on_epoch_begin=lambda e, logs: batches.start_at(e)),
            LogLearningRate(), StopDiverged(), *callbacks, *([checkpoint] if checkpoint else []),
        ],
        add_history=True, add_progbar=verbose != 0, model=model,
        verbose=verbose, epochs=recipe.epochs, steps=len(batches),
    )  # fmt: skip
    for phase in phases.all:
        told.last_phase = phase.stop == recipe.epochs
        if phase.stop <= done and not told.last_phase:
            continue
        phases.enter(phase)
        start = max(done, phase.start)
        if distribution:
            from detector.training.distributed import DistributedFit  # imports TensorFlow

            epochs = range(start, phase.stop)
            DistributedFit(model, distribution).fit(batches, validation, epochs, told)
            continue
        model.fit(
            batches,
            epochs=phase.stop,
            initial_epoch=start,
            shuffle=False,  # TrainingBatches has an order of its own
            validation_data=validation,
            callbacks=told,
            verbose=verbose,
        )
    if distribution:
        read = (batches.rows_read + validation.rows_read) * train_split.images[0].nbytes
        distribution.tell(f"read {read:,} bytes of images")
    return checkpoint.history if checkpoint else model.history.history


def scope_of(distribution: Distribution | None) -> AbstractContextManager[None]:
    """Give where to build a network: the scope of the distribution, if there is one."""
    return distribution.scope() if distribution else nullcontext()


def _resume(
    model: keras.Model,
    phases: _Phases,
    checkpoint: Checkpoint | None,
    distribution: Distribution | None,
) -> int:
    """Bring the network to where the checkpoint left it; give how many epochs are done."""
    in_file = checkpoint.epochs_done() if checkpoint else 0
    if distribution:
        in_file = int(distribution.chiefs([in_file])[0])
    # A checkpoint holds the optimizer of the phase that it was written in.
    phases.enter(phases.of_last(in_file))
    done = checkpoint.restore(model) if checkpoint else 0
    if distribution:
        done = int(distribution.chiefs([done])[0])
        distribution.align([*model.variables, *model.optimizer.variables])
    return done
