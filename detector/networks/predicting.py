"""What a network answers for a whole split, with a progress bar where somebody sees it."""

import keras
import numpy as np
from tqdm import tqdm

from detector.base.arrays import Split
from detector.base.finite import require_finite
from detector.networks.batches import OrderedBatches


def probabilities(model: keras.Model, split: Split, batch_size: int, what: str) -> np.ndarray:
    """Return the raw probability of REAL of each image of a split, float32 N.

    what: the images, in words. Raises ExpectedError when an answer is not finite.
    """
    with tqdm(total=len(split), desc=what, unit="img", mininterval=0.5, disable=None) as bar:
        told = keras.callbacks.LambdaCallback()
        told.on_predict_batch_end = lambda batch, logs=None: bar.update(
            min(batch_size, len(split) - bar.n)
        )
        batches = OrderedBatches(split, batch_size)
        answers = model.predict(batches, verbose=0, callbacks=[told])[:, 0]
    require_finite([(what, answers)], f"the answers of {model.name}")
    return answers
