"""A trained network that answers: images in, probabilities and verdicts out.

from detector import load

detector = load("models/cnn32.zip")
probability = detector.predict(images).probability  # of REAL; images: uint8 N,32,32,3
"""

import os
import random
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from detector.base.errors import ExpectedError
from detector.base.finite import require_finite
from detector.deployment import familiarity
from detector.deployment.model_archive import (
    ModelDescription,
    read_description,
    refusal,
    unpacked_weights,
)

if TYPE_CHECKING:
    from detector.evaluation.decision import Decision


class Predictions(NamedTuple):
    """What a network says of N images, row for row.

    raw: float64 N, 0 to 1, its own probability of REAL. probability: float64 N, 0 to 1, the
    calibrated one, to be shown. verdict: str N, "REAL", "FAKE", or "UNSURE" where the probability
    is too near to the threshold for an answer.
    """

    raw: np.ndarray
    probability: np.ndarray
    verdict: np.ndarray


class Detector:
    """A network with what is known of it. Made by `load`.

    description: what its archive says. network: the Keras model, uint8 N,S,S,3 to float32 N,1.
    decision: how its probabilities become verdicts. One thread at a time may call it.
    """

    def __init__(self, description: ModelDescription, network: Any, decision: "Decision") -> None:
        self.description = description
        self.network = network
        self.decision = decision
        self._infer = _inference(network, description.image_size)

    def predict(self, images: np.ndarray, batch_size: int = 256) -> Predictions:
        """Answer for uint8 N,S,S,3, S = description.image_size, in RGB; N may be 0.

        batch_size: images at a time, at least 1. It changes the answer by rounding: by up to 2e-7
        in the raw probability, 2e-6 in its logit, for the trained ResNet-50 on one processor;
        how much and for which images depends on network and processor. So a verdict can change
        in another batch where a probability is that near to the threshold or the end of the band.
        Raises ValueError for other arrays and ExpectedError when an answer is no number.
        """
        self._check(images)
        if batch_size < 1:
            raise ValueError(f"a batch has at least one image, not {batch_size}")
        raw = np.empty(len(images), np.float64)
        for first in range(0, len(images), batch_size):
            rows = slice(first, first + batch_size)
            batch = images[rows]
            # One image alone goes through other products of matrices, which round more differently.
            pair = np.repeat(batch, 2, axis=0) if len(batch) == 1 else batch
            raw[rows] = self._infer(pair)[: len(batch), 0]
        require_finite([("the network", raw)], f"the answers of {self.description.name}")
        probability = self.decision.calibrate(raw)
        return Predictions(raw, probability, self.decision.verdicts(probability))

    def explain(self, images: np.ndarray, predicted: np.ndarray) -> np.ndarray:
        """Show which places of each image spoke for what it is predicted (Grad-CAM).

        images: as for `predict`. predicted: N, 0 = FAKE, 1 = REAL. Returns float32 N,S,S, 0 to 1;
        see networks.gradcam. Raises ValueError for other arrays.
        """
        self._check(images)
        predicted = np.asarray(predicted)
        if predicted.shape != (len(images),) or not np.isin(predicted, (0, 1)).all():
            raise ValueError(
                f"predicted is 0 or 1 for each of {len(images)} images, not {predicted}"
            )
        from detector.diagnosis.gradcam import grad_cam

        return grad_cam(self.network, images, predicted=predicted)

    def unfamiliar(
        self, images: np.ndarray, codecs: Sequence[str] | None = None
    ) -> list[tuple[str, ...]]:
        """Say of each image in what it is unlike the training images; see familiarity.

        codecs: their coders, as deployment.images.Opened has them.
        """
        self._check(images)
        return familiarity.unfamiliar(images, self.description.familiar, codecs)

    def of_100(self, probability: float) -> tuple[int, int]:
        """Say what test images with about this calibrated probability of REAL were.

        Returns how many of 100 of them were FAKE, rounded, and how many of them there are; (0, 0)
        where there are none. It holds where FAKE is as frequent as in the test set. Raises
        ValueError unless `probability` is from 0 to 1.
        """
        fake, real = self.description.scores.counts(probability)
        n = fake + real
        return (round(100 * fake / n) if n else 0), n

    def _check(self, images: np.ndarray) -> None:
        side = self.description.image_size
        shape, dtype = getattr(images, "shape", None), getattr(images, "dtype", type(images))
        if dtype != np.uint8 or len(shape) != 4 or shape[1:] != (side, side, 3):
            raise ValueError(f"images are uint8 N,{side},{side},3, not {dtype} {shape}")


def load(path: str | os.PathLike[str]) -> Detector:
    """Open a model that the package stage wrote, models/<backbone>.zip; nothing else is needed.

    It starts Keras as the evaluate stage does: in float32, with operations that give the same bits
    again for the same batches. So the answers are those of its predictions, up to the rounding that
    `predict` tells of. The dtype policy and random numbers of the caller stay; TensorFlow's own
    seed, and whether its operations must be deterministic, do not. Raises ExpectedError for any
    other file.
    """
    from detector.networks.runtime import start_keras

    description = read_description(path)
    with unpacked_weights(path) as weights, _state_kept():
        start_keras(seed=0, threads=None)  # nothing is random in here
        from detector.evaluation.decision import Decision
        from detector.networks.model import load_trained

        try:
            network = load_trained(weights, description.settings, description.image_size)
        except ExpectedError as error:
            reason = str(error.__cause__ or error).strip().splitlines()[0][:200]
            raise refusal(path, f"weights.h5 does not fit model.json: {reason}") from error
    return Detector(description, network, Decision(**description.decision.model_dump()))


def _inference(network: Any, side: int) -> Callable[[np.ndarray], np.ndarray]:
    """Give the function uint8 B,S,S,3 to float32 B,1, without the input pipeline of `predict`."""
    import keras

    if keras.backend.backend() != "tensorflow":
        return network.predict_on_batch
    import tensorflow as tf

    # Traced once for all sizes of a batch; predict_on_batch traces anew for the second one.
    images = tf.TensorSpec((None, side, side, 3), tf.uint8)
    traced = tf.function(lambda x: network(x, training=False), input_signature=[images])
    return lambda batch: traced(tf.convert_to_tensor(batch)).numpy()


@contextmanager
def _state_kept() -> Iterator[None]:
    """Let the caller's random numbers and dtype policy go on as if Keras had not been started."""
    from detector.networks.runtime import import_keras

    import_keras()
    import keras

    of_python, of_numpy = random.getstate(), np.random.get_state()
    policy = keras.config.dtype_policy()
    try:
        yield
    finally:
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        keras.config.set_dtype_policy(policy)
