"""Part growth: seconds and memory of an epoch of cnn32 for more and more images."""

import argparse
import json
import math
import statistics
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.common import (
    Measured,
    check,
    child,
    child_environment,
    params_of,
    parser,
    row,
    run_part,
    say,
)
from detector.base.arrays import SplitWriter, load_split
from detector.base.errors import ExpectedError
from detector.networks.runtime import start_keras

SIZES, QUICK_SIZES = (15_000, 30_000, 60_000, 120_000), (320, 640)  # images
LINEAR = 1.05  # exponent
FLAT = 1.1  # memory beyond the arrays at the largest size, by that at the smallest


def measure(options: argparse.Namespace) -> Measured:
    """Run an epoch of each size in a process of its own, all sizes in turn."""
    sizes = QUICK_SIZES if options.quick else SIZES
    runs: dict[int, list[dict[str, float]]] = {size: [] for size in sizes}
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            repeat_images(options.arrays / "train", Path(folder, str(size)), size)
        for _ in range(options.repeats):
            for size in sizes:
                runs[size].append(in_process(Path(folder, str(size)), options))
                say(f"growth: {size} images in {runs[size][-1]['epoch_seconds']:.2f} s")
    seconds = [statistics.median(run["epoch_seconds"] for run in runs[size]) for size in sizes]
    memory = [statistics.median(run["beyond_arrays_mib"] for run in runs[size]) for size in sizes]
    exponent = growth_exponent(sizes, seconds)
    figures = {
        "images": list(sizes),
        "runs": [runs[size] for size in sizes],
        "median_epoch_seconds": seconds,
        "median_beyond_arrays_mib": memory,
        "exponent": exponent,
    }
    return figures, [
        row("epoch of cnn32: exponent of its seconds by images", exponent, "", at_most=LINEAR),
        row(f"epoch of cnn32 over {sizes[-1]:,} images", seconds[-1], "s"),
        row(
            f"peak memory beyond the arrays, {sizes[-1]:,} images / {sizes[0]:,}",
            memory[-1] / memory[0], "ratio", at_most=FLAT,
        ),
        row(f"peak memory beyond the arrays, {sizes[-1]:,} images", memory[-1], "MiB"),
    ]  # fmt: skip


def growth_exponent(sizes: Any, seconds: Any) -> float:
    """Give b of the least-squares fit log seconds = a + b log size; 1 is linear."""
    return float(np.polyfit(np.log(sizes), np.log(seconds), 1)[0])


def repeat_images(source: Path, target: Path, count: int, block: int = 10_000) -> None:
    """Write `count` images of a split, from its start on and again when it is used up."""
    split = load_split(source)
    with SplitWriter(target, split.images.shape[1]) as writer:
        for first in range(0, count, block):
            rows = np.arange(first, min(first + block, count)) % len(split)
            columns = (split.labels[rows], split.classes[rows])
            names = [b"%d" % row for row in rows]
            writer.append(
                split.images[rows], *(list(c) for c in columns), [n.decode() for n in names]
            )


def in_process(folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """Run `one_epoch` in a process of its own and give what it printed."""
    overrides = [part for change in options.set for part in ("--set", change)]
    done = subprocess.run(
        child(
            "growth", "--one-epoch", "--arrays", str(folder), "--recipe", options.recipe, *overrides
        ),
        env=child_environment(),
        capture_output=True,
        text=True,
    )
    if done.returncode:
        raise ExpectedError(f"growth: an epoch over {folder.name} images failed: {done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def one_epoch(options: argparse.Namespace) -> dict[str, float]:
    """Train cnn32 for an epoch, all of it but the first steps timed; take the peak memory."""
    params = params_of("cnn32", options)
    split = load_split(options.arrays)
    start_keras(params.seed, params.train.deterministic, params.train.precision)
    from benchmarks.stretches import compiled, fit_seconds

    batch_size = min(params.train.batch_size, len(split))
    steps = max(3, math.floor(len(split) / batch_size))
    start = time.perf_counter()
    model = compiled(params, split.images.shape[1], params.seed)
    fit_seconds(model, split, batch_size, 3)
    compiling = time.perf_counter() - start
    each = fit_seconds(model, split, batch_size, steps)
    status = process_status()
    return {
        "epoch_seconds": each * steps,
        "compile_seconds": compiling,
        "peak_mib": status["VmHWM"],
        "arrays_mib": split.images.nbytes / 2**20,
        "beyond_arrays_mib": status["VmHWM"] - split.images.nbytes / 2**20,
        "anonymous_at_end_mib": status["RssAnon"],
    }


def process_status() -> dict[str, float]:
    """Give the sizes in MiB of Linux' /proc/self/status, such as VmHWM, the peak resident set.

    Raises ExpectedError on another system.
    """
    try:
        lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    except OSError as error:
        raise ExpectedError("growth: peak memory is measured on Linux only") from error
    fields = (line.split() for line in lines if line.endswith(" kB"))
    return {name.rstrip(":"): int(kib) / 1024 for name, kib, _ in fields}


if __name__ == "__main__":
    arguments, others = argparse.ArgumentParser(add_help=False), None
    arguments.add_argument("--one-epoch", action="store_true")
    one, others = arguments.parse_known_args()
    if one.one_epoch:
        options = parser(__doc__).parse_args(others)
        check(options)
        print(json.dumps(one_epoch(options)))
    else:
        run_part("growth", measure, __doc__)
