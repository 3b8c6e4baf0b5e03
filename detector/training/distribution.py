"""More than one device, or more than one machine, for one training: TensorFlow's strategies.

Every replica, that is every GPU of every worker, holds the whole network and computes the gradients
of its rows of each batch; the sum of them changes all copies alike. `batch_size` is that of all
replicas together, so the recipe means the same with any number of them.
"""

import json
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from detector.base.errors import ExpectedError
from detector.training.checkpoint import Fingerprint

# One replica draws other random numbers than the next: this apart are the seeds of their layers.
SEEDS_APART = 1_000_003
TASK = ("type", "index")  # of TF_CONFIG


class Distribution:
    """Where a training runs. Give it to `training.train`; build the network in its scope."""

    def __init__(self, strategy: Any, worker: int = 0, workers: int = 1) -> None:
        """strategy: a tf.distribute.Strategy. worker: number of this process, from 0."""
        self.strategy, self.worker, self.workers = strategy, worker, workers
        self.replicas = int(strategy.num_replicas_in_sync)

    @property
    def chief(self) -> bool:
        """Tell whether this worker is the one that reads checkpoints and writes files."""
        return self.worker == 0

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Make the variables that are created within one for all replicas.

        Keras leaves open how those without gradients are held together, which TensorFlow refuses
        when a replica changes them: moving statistics are means, and of the random layers' states
        each replica has its own.
        """
        import tensorflow as tf

        def choose(create: Callable[..., Any], **wanted: Any) -> Any:
            if wanted.get("aggregation") == tf.VariableAggregation.NONE:
                if tf.as_dtype(wanted["dtype"]).is_floating:
                    wanted["aggregation"] = tf.VariableAggregation.MEAN
                else:
                    wanted["aggregation"] = tf.VariableAggregation.ONLY_FIRST_REPLICA
                    wanted["synchronization"] = tf.VariableSynchronization.ON_READ
            return create(**wanted)

        with self.strategy.scope(), tf.variable_creator_scope(choose):
            yield

    def require_rows(self, batch_size: int, images: int) -> None:
        """Raise ExpectedError when a replica would have no row of a training batch.

        images: of the training set, of which a batch has no more.
        """
        if batch_size < self.replicas:
            raise ExpectedError(
                f"train.batch_size {batch_size}: is shared by {self.replicas} devices and must "
                f"have a row for each; set -S train.batch_size={self.replicas} or more"
            )
        if images < self.replicas:
            raise ExpectedError(
                f"data/train: {images} images cannot be shared by {self.replicas} devices; "
                "set -S train.strategy=none"
            )

    def require_equal(self, fingerprint: Fingerprint) -> None:
        """Raise ExpectedError, on every worker, unless all workers have the fingerprint.

        All workers must call it. A network would learn from what each of them has.
        """
        if self.workers == 1:
            return
        numbers = np.array([int(part[:12], 16) for part in fingerprint])
        own = np.zeros((self.workers, len(numbers)), np.int64)
        own[self.worker] = numbers
        (all_of_them,) = self._summed([own])
        others = {
            part: [f"worker {i + 1}" for i, of in enumerate(column) if of != column[0]]
            for part, column in zip(fingerprint._fields, all_of_them.T, strict=True)
        }
        wrong = [f"other {part} on {', '.join(who)}" for part, who in others.items() if who]
        if wrong:
            raise ExpectedError(
                f"the workers do not belong together: {'; '.join(wrong)} than on worker 1; bring "
                "params.yaml, data/train, data/val, the code and its packages of worker 1 there"
            )

    def chiefs(self, values: list[Any]) -> list[np.ndarray]:
        """Give every worker the arrays of the chief.

        All workers must call it, each with arrays of the same shapes and dtypes.
        """
        arrays = [np.asarray(value) for value in values]
        return self._summed(arrays if self.chief else [np.zeros_like(each) for each in arrays])

    def _summed(self, values: list[Any]) -> list[np.ndarray]:
        """Give every worker the sums of the workers' arrays, which all must call with their own."""
        import tensorflow as tf

        own_replicas = self.replicas // self.workers

        @tf.function
        def summed(*own: Any) -> Any:
            def of_replica() -> Any:
                number = tf.distribute.get_replica_context().replica_id_in_sync_group
                once = number % own_replicas == 0  # of the replicas of this worker one
                return [tf.where(once, value, tf.zeros_like(value)) for value in own]

            return [
                self.strategy.reduce("SUM", each, axis=None)
                for each in self.strategy.run(of_replica)
            ]

        return [each.numpy() for each in summed(*map(tf.convert_to_tensor, values))]

    def align(self, variables: list[Any]) -> None:
        """Bring the variables of all replicas to the values that the chief has.

        The states of random layers, whole numbers of shape 2, are then set apart by replica.
        """
        import tensorflow as tf

        if self.workers > 1:
            values = self.chiefs([keras.ops.convert_to_numpy(each) for each in variables])
            for variable, value in zip(variables, values, strict=True):
                variable.assign(value)
        states = [each.value for each in variables if "seed_generator_state" in each.path]

        def set_apart() -> None:
            number = tf.distribute.get_replica_context().replica_id_in_sync_group
            shift = tf.stack([number * SEEDS_APART, tf.zeros_like(number)])
            for state in states:
                state.assign_add(tf.cast(shift, state.dtype))

        if states:
            tf.function(lambda: self.strategy.run(set_apart))()

    def wait_for_all(self) -> None:
        """Return when every worker has come here."""
        if self.workers > 1:
            self.chiefs([0])

    def tell(self, sentence: str) -> None:
        """Say something on stderr, and which worker of how many with how many devices says it."""
        devices = f"{self.replicas} device{'s' if self.replicas > 1 else ''}"
        print(
            f"worker {self.worker + 1} of {self.workers}, {devices} in all: {sentence}",
            file=sys.stderr, flush=True,
        )  # fmt: skip


def distribute(name: str) -> Distribution | None:
    """Start the strategy that `train.strategy` names; None for none.

    Must be called before anything is computed. mirrored: all GPUs of this machine. multiworker:
    all GPUs of all processes that TF_CONFIG lists. Raises ExpectedError when it cannot be started.
    """
    if name == "none":
        return None
    if keras.backend.backend() != "tensorflow":
        raise ExpectedError(
            f"train.strategy {name}: is of TensorFlow, and KERAS_BACKEND is "
            f"{keras.backend.backend()}; set -S train.strategy=none"
        )
    import tensorflow as tf

    if name == "mirrored":
        return Distribution(tf.distribute.MirroredStrategy(_devices(tf)))
    worker, workers = read_tf_config()
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (tf.errors.OpError, RuntimeError, ValueError) as error:
        raise ExpectedError(
            f"train.strategy multiworker: the workers did not find each other ({first_line(error)})"
            "; start all of them within five minutes, with the same list of addresses"
        ) from error
    return Distribution(strategy, worker, workers)


def _devices(tf: Any) -> list[str] | None:
    """Give what MirroredStrategy is to use: None, all GPUs; without one, each logical CPU."""
    if tf.config.list_physical_devices("GPU"):
        return None
    return [device.name for device in tf.config.list_logical_devices("CPU")]


def read_tf_config() -> tuple[int, int]:
    """Give the number of this worker and how many there are, from the variable TF_CONFIG.

    Raises ExpectedError unless it lists workers, all of one kind, and says which this one is.
    """
    if "TF_CONFIG" not in os.environ:
        raise ExpectedError(
            "train.strategy multiworker: TF_CONFIG is not set, which says who the workers are; see "
            "docs/distributed.md, or set -S train.strategy=mirrored for the GPUs of one machine"
        )
    try:
        config = json.loads(os.environ["TF_CONFIG"])
        workers, kind, index = config["cluster"]["worker"], *map(config["task"].get, TASK)
        wrong = ""
        if set(config["cluster"]) != {"worker"}:
            wrong = f"cluster has {', '.join(sorted(config['cluster']))}, not worker alone"
        elif kind != "worker" or int(index) not in range(len(workers)):
            wrong = f"task is {kind} {index}, which is none of the {len(workers)} workers"
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        wrong = f"{type(error).__name__}: {' '.join(str(error).split())}"
    if wrong:
        raise ExpectedError(
            f"TF_CONFIG: {wrong}; it must be like "
            '{"cluster": {"worker": ["host-0:2222", "host-1:2222"]}, '
            '"task": {"type": "worker", "index": 0}}'
        )
    return int(index), len(workers)


def first_line(error: Exception) -> str:
    """Give the first line of an error's text that says something."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__


@contextmanager
def reporting_lost_workers() -> Iterator[None]:
    """Turn what TensorFlow raises when another worker is gone into one sentence."""
    import tensorflow as tf

    try:
        yield
    except (
        tf.errors.UnavailableError,
        tf.errors.AbortedError,
        tf.errors.DeadlineExceededError,
        tf.errors.CancelledError,
    ) as error:
        lost = [line for line in str(error).splitlines() if "/task:" in line]
        where = f" ({lost[-1].strip()})" if lost else f" ({first_line(error)})"
        raise ExpectedError(
            f"a worker of this training is gone{where}; see what it printed last, then start all "
            "workers again: training goes on after the last finished epoch"
        ) from error
