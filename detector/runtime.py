"""Start Keras quietly and make what it computes repeatable."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


def start_keras(seed: int) -> None:
    """Import Keras and seed Python, NumPy and the backend with `seed` (0 to 2^31 - 1).

    On TensorFlow every operation is made deterministic, at some cost on GPUs. KERAS_BACKEND
    chooses another backend, as always in Keras.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _quiet_stderr():
        import keras
    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


@contextmanager
def _quiet_stderr() -> Iterator[None]:
    """Hold back what C++ libraries print while they start; show it only if they fail."""
    sys.stderr.flush()
    kept = os.dup(2)
    reader, writer = os.pipe()
    os.set_blocking(writer, False)  # more than the pipe holds is let go rather than waited for
    os.dup2(writer, 2)
    os.close(writer)
    try:
        yield
    except BaseException:
        os.dup2(kept, 2)
        os.set_blocking(reader, False)
        os.write(2, os.read(reader, 65536))
        raise
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(reader)
