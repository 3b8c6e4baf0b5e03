"""What the figures were measured on, and how fast it multiplies matrices.

Needs no more than NumPy and Keras, so that the runner can use it on any backend.
"""

import os
import platform
import time
from importlib import metadata
from pathlib import Path
from typing import Any

from detector.networks.runtime import has_gpu, import_keras

VERSIONS = ("numpy", "keras", "tensorflow", "jax", "torch")


def describe() -> dict[str, Any]:
    """Give processor, cores, memory, GPU, system and versions; no name of a host, no path."""
    import_keras()
    import keras

    return {
        "cpu": cpu_model(),
        "cores": usable_cores(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "gpu": gpu_name(),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "keras_backend": keras.backend.backend(),
        "versions": {name: version for name in VERSIONS if (version := _version(name))},
    }


def usable_cores() -> int:
    """Count the cores that this process may use."""
    try:
        return len(os.sched_getaffinity(0))
    except AttributeError:  # not on macOS
        return os.cpu_count() or 1


def cpu_model() -> str:
    """Give the processor's name as Linux tells it, or what Python knows elsewhere."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def gpu_name() -> str | None:
    """Give the name of the first GPU that the Keras backend computes on; None without one."""
    import keras

    if not has_gpu():
        return None
    match keras.backend.backend():
        case "tensorflow":
            import tensorflow as tf

            card = tf.config.list_physical_devices("GPU")[0]
            return tf.config.experimental.get_device_details(card).get("device_name")
        case "jax":
            import jax

            return jax.devices()[0].device_kind
        case _:
            import torch

            return torch.cuda.get_device_name()


def matmul_peak(precision: str = "float32", seconds: float = 3.0) -> float:
    """Measure the most floating-point operations a second of a large square product.

    precision: dtype of the matrices. Returns 2 n^3 over the seconds of one product, of the best of
    several rounds that together take about `seconds`; n is 2048 on a CPU, 8192 on a GPU.
    """
    import keras

    side, each = (8192, 20) if has_gpu() else (2048, 3)
    a = keras.random.normal((side, side), seed=1)
    a = keras.ops.cast(a / side**0.5, precision)  # products of products stay finite

    def product() -> float:
        start, x = time.perf_counter(), a
        for _ in range(each):
            x = keras.ops.matmul(x, a)
        # Reading one number waits for a device that works on while Python does.
        keras.ops.convert_to_numpy(keras.ops.cast(x[0, 0], "float32"))
        return (time.perf_counter() - start) / each

    product()
    times = [product()]
    while len(times) < 3 or sum(times) * each < seconds:
        times.append(product())
    return 2 * side**3 / min(times)


def _version(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None
