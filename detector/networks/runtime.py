"""Start Keras quietly and make what it computes repeatable."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np

THREADS = 2  # as `threads` in conf/config.yaml


def start_keras(
    seed: int,
    deterministic: bool = True,
    precision: str = "float32",
    threads: int | None = THREADS,
) -> None:
    """Import Keras and seed Python, NumPy and the backend with `seed` (0 to 2^31 - 1).

    deterministic: on TensorFlow, take only operations that give the same bits again, at some cost
    on GPUs. precision: a Keras dtype policy, or auto: mixed_bfloat16 where `has_bfloat16_gpu`, else
    float32. threads: of TensorFlow within one operation on processors; None, as many as there are
    cores. TensorFlow divides sums among them, so that the last bits depend on their number. It
    cannot be changed once something was computed: then RuntimeError. KERAS_BACKEND chooses another
    backend, as always in Keras.
    """
    import_keras()
    import keras

    keras.utils.set_random_seed(seed)
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        if threads:
            tf.config.threading.set_intra_op_parallelism_threads(threads)
        if deterministic:
            tf.config.experimental.enable_op_determinism()
    if precision == "auto":
        precision = "mixed_bfloat16" if has_bfloat16_gpu() else "float32"
    keras.config.set_dtype_policy(precision)


def import_keras() -> None:
    """Import Keras and its backend without the lines that C++ libraries print while they start."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    with _quiet_stderr():
        import keras  # noqa: F401


def has_gpu() -> bool:
    """Tell whether the backend computes on a GPU."""
    import keras

    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            return bool(tf.config.list_physical_devices("GPU"))
        case "jax":
            import jax

            return jax.default_backend() == "gpu"
        case "torch":
            import torch

            return torch.cuda.is_available()
    return False


def has_bfloat16_gpu() -> bool:
    """Tell whether there is a GPU with matrix units for bfloat16: NVIDIA's from Ampere on."""
    import keras

    if not has_gpu():
        return False
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            card = tf.config.list_physical_devices("GPU")[0]
            details = tf.config.experimental.get_device_details(card)
            return details.get("compute_capability", (0, 0)) >= (8, 0)
        case "jax":
            import jax

            return float(jax.devices()[0].compute_capability) >= 8
        case _:
            import torch

            return torch.cuda.get_device_capability() >= (8, 0)


def layer_seed(seed: int, name: str) -> int:
    """Give the seed of one random layer, 0 to 2^31 - 1.

    With one seed for all, the same images would be chosen for each change: with Keras' own layers
    every flipped image would be zoomed out and every other one in.
    """
    return int(np.random.SeedSequence([seed, *name.encode()]).generate_state(1)[0] // 2)


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
    except Exception:  # not an interrupt, which is nobody's failure
        os.dup2(kept, 2)
        os.set_blocking(reader, False)
        os.write(2, os.read(reader, 65536))
        raise
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(reader)
