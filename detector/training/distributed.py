"""The loop of a training on several replicas, with what Keras' `fit` does for one.

Keras 3's own `fit` runs on one process only: with several workers it fails before the first step,
and its numbers of an epoch are means over the replicas, whatever their rows. Here sums are added up
over all replicas, and divided by the number of images once.
"""

from collections.abc import Callable, Iterator
from itertools import product
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from detector.networks.batches import Batches, OrderedBatches, TrainingBatches
from detector.training.distribution import Distribution

Sums = tuple[Any, Any]  # of the loss and of right answers


class DistributedFit:
    """One compiled network in one phase of its training."""

    def __init__(self, model: keras.Model, distribution: Distribution) -> None:
        """model: compiled, in the scope of the distribution."""
        self.model, self.distribution = model, distribution
        self._train = self._looped(self._learn)
        self._judge = self._looped(self._answer)

    def fit(
        self,
        batches: TrainingBatches,
        validation: OrderedBatches,
        epochs: range,
        told: keras.callbacks.CallbackList,
    ) -> None:
        """Train epoch after epoch; `told` hears what it would from Keras' `fit`."""
        told.on_train_begin()
        data = self._parts(batches, epochs)
        at_once = self.model.steps_per_execution
        logs: dict[str, float] = {}
        for epoch in epochs:
            told.on_epoch_begin(epoch)
            sums, images = np.zeros(2), 0
            for first in range(0, len(batches), at_once):
                last = min(first + at_once, len(batches)) - 1
                told.on_train_batch_begin(first)
                sums += self._train(data, last - first + 1)
                images += (last - first + 1) * batches.batch_size
                logs = _means(sums, images)
                told.on_train_batch_end(last, logs)
            logs = logs | {f"val_{key}": of for key, of in self._judged(validation, told).items()}
            told.on_epoch_end(epoch, logs)
        told.on_train_end(logs)

    def _judged(
        self, batches: OrderedBatches, told: keras.callbacks.CallbackList
    ) -> dict[str, float]:
        told.on_test_begin()
        sums = self._judge(self._parts(batches, range(1)), len(batches))
        logs = _means(sums, len(batches.split))
        told.on_test_end(logs)
        return logs

    def _parts(self, batches: Batches, epochs: range) -> Iterator[Any]:
        """Give an iterator from which each replica takes its own rows of each batch in turn."""
        side = batches.split.images.shape[1]
        kinds = (
            tf.TensorSpec((None, side, side, 3), tf.uint8),
            tf.TensorSpec((None, 1), tf.float32),
        )
        count = self.distribution.replicas

        def of_worker(context: tf.distribute.InputContext) -> tf.data.Dataset:
            here = count // context.num_input_pipelines
            own = range(context.input_pipeline_id * here, (context.input_pipeline_id + 1) * here)

            def parts() -> Iterator[Any]:
                for epoch, step in product(epochs, range(len(batches))):
                    for replica in own:
                        yield batches.part(step, epoch, replica, count)

            return tf.data.Dataset.from_generator(parts, output_signature=kinds).prefetch(2)

        return iter(self.distribution.strategy.distribute_datasets_from_function(of_worker))

    def _looped(self, step: Callable[[Any, Any, Any], Sums]) -> Callable[[Any, int], np.ndarray]:
        strategy = self.distribution.strategy

        @tf.function(reduce_retracing=True)
        def steps(data: Any, count: Any) -> Any:
            sums = tf.zeros(2)
            for _ in tf.range(count):
                images, labels = next(data)
                found = strategy.run(step, args=(images, labels))
                sums += tf.stack([strategy.reduce("SUM", each, axis=None) for each in found])
            return sums

        return lambda data, count: steps(data, tf.constant(count)).numpy().astype(np.float64)

    def _learn(self, images: Any, labels: Any) -> Sums:
        """Take one step with one replica's rows. The optimizer adds up all replicas' gradients."""
        model, context = self.model, tf.distribute.get_replica_context()
        with tf.GradientTape() as tape:
            said = model(images, training=True)
            losses = keras.losses.binary_crossentropy(labels, said)
            rows = context.all_reduce("SUM", tf.cast(tf.shape(labels)[0], tf.float32))
            loss = tf.reduce_sum(losses) / rows
            if model.losses:  # of regularisation: the same in each replica
                loss += tf.add_n(model.losses) / self.distribution.replicas
            scaled = model.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, model.trainable_variables)
        model.optimizer.apply(gradients, model.trainable_variables)
        return tf.reduce_sum(losses), _right(labels, said)

    def _answer(self, images: Any, labels: Any) -> Sums:
        def judged() -> Sums:
            said = self.model(images, training=False)
            losses = keras.losses.binary_crossentropy(labels, said)
            return tf.reduce_sum(losses), _right(labels, said)

        # The last batch can have fewer rows than there are replicas; a network takes no empty one.
        return tf.cond(tf.size(labels) > 0, judged, lambda: (tf.zeros(()), tf.zeros(())))


def _right(labels: Any, said: Any) -> Any:
    return tf.reduce_sum(tf.cast((said > 0.5) == (labels > 0.5), tf.float32))


def _means(sums: np.ndarray, images: int) -> dict[str, float]:
    return {"accuracy": float(sums[1] / images), "loss": float(sums[0] / images)}
