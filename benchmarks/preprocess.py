"""Part preprocess: the stage against a bare loop that only decodes every member, and its growth.

Each run of the stage follows one of the loop, and its seconds are divided by the loop's. Two parts
are told apart: from the start of the process until the arrays of all splits are written, and the
audit, from there to the end. Memory is the peak of the stage's whole process tree as the sum of
resident sets, so that pages shared by its processes count more than once.

Then the stage alone runs on an eighth, a quarter, a half and the whole of the archive. --growth
does only this.
"""

import argparse
import io
import json
import statistics
import subprocess
import tempfile
import time
import zipfile
from collections import defaultdict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image
from tabulate import tabulate

from benchmarks.common import Measured, check, child, child_environment, pairs, parser, row, say
from benchmarks.common import write as write_result
from conf.compose import compose
from detector.base.errors import ExpectedError
from detector.base.program import run

WRITTEN = Path("written.txt")  # holds the time at which the arrays were written
SHARES = (8, 4, 2, 1)  # an eighth, ...
PARTS = {"stage": "whole stage", "write": "decode, split, write", "audit": "audit"}
WRITE_BAR, AUDIT_BAR = 0.75, 0.5  # of the bare loop's time
MEMORY_BAR = 1.2 * 1024  # MiB
LINEAR = 1.05  # exponent
Run = dict[str, float]


def measure(options: argparse.Namespace) -> Measured:
    """Time the pairs, unless only growth is asked for, and the growth, unless it is a trial."""
    if options.archive is None:
        raise ExpectedError("preprocess: --archive my.zip is needed")
    figures, rows = {}, []
    kinds = {"pairs": measure_pairs, "growth": measure_growth}
    if options.growth:
        del kinds["pairs"]
    elif options.quick:
        del kinds["growth"]
    for name, kind in kinds.items():
        with tempfile.TemporaryDirectory() as folder:
            figures[name], some = kind(options.archive.resolve(), options.repeats, Path(folder))
        rows += some
    return figures, rows


def measure_pairs(archive: Path, repeats: int, folder: Path) -> Measured:
    """Time the bare loop and the stage in turn."""
    prepare(folder, archive)
    loops, runs = [], []
    for _ in range(repeats):
        start, end, _ = timed(["--bare", "--archive", str(archive)], folder)
        loops.append(end - start)
        runs.append(timed_stage(folder))
        say(f"preprocess: bare loop {loops[-1]:.2f} s, stage {runs[-1]['stage']:.2f} s")
    ratios = {part: pairs([run[part] for run in runs], loops) for part in PARTS}
    peak = max(run["peak_mib"] for run in runs)
    figures = {"images": images(folder), "bare_seconds": loops, "runs": runs, **ratios}
    bars = {"write": WRITE_BAR, "audit": AUDIT_BAR}
    return figures, [
        *(
            row(f"{words} / bare loop", ratios[part]["median_ratio"], "ratio", bars.get(part))
            for part, words in PARTS.items()
        ),
        row("peak memory of the stage's process tree", peak, "MiB", at_most=MEMORY_BAR),
    ]


def measure_growth(archive: Path, repeats: int, folder: Path) -> Measured:
    """Time the stage on parts of the archive, all parts in turn."""
    runs: dict[int, list[Run]] = {share: [] for share in SHARES}
    for share in SHARES:
        place = folder / str(share)
        prepare(place, part_of(archive, share, place))
    for _ in range(repeats):
        for share in SHARES:
            runs[share].append(timed_stage(folder / str(share)))
            say(f"preprocess: 1/{share} of the archive in {runs[share][-1]['stage']:.2f} s")
    counts = [images(folder / str(share)) for share in SHARES]
    keys = (*PARTS, "peak_mib")
    medians = {
        key: [statistics.median(run[key] for run in runs[share]) for share in SHARES]
        for key in keys
    }
    exponents = {
        part: float(np.polyfit(np.log(counts), np.log(medians[part]), 1)[0]) for part in PARTS
    }
    slope = float(np.polyfit(counts, medians["peak_mib"], 1)[0]) * 2**20
    figures = {
        "images": counts,
        "runs": [runs[share] for share in SHARES],
        "medians": medians,
        "exponents": exponents,
        "bytes_an_image": slope,
        "array_bytes_an_image": array_bytes(folder / "1") / counts[-1],
    }
    return figures, [
        *(
            row(f"{words}: exponent of its seconds by images", exponents[part], "", LINEAR)
            for part, words in PARTS.items()
        ),
        row("peak memory for each further image", slope, "bytes"),
    ]


def prepare(folder: Path, archive: Path, *overrides: str) -> None:
    """Make a folder in which the stage finds params.yaml and the archive."""
    compose(folder / "params.yaml", ["data=archive", f"data.path={archive}", *overrides])
    link = folder / "data/raw/archive.zip"
    link.parent.mkdir(parents=True)
    link.symlink_to(archive)


def part_of(archive: Path, share: int, folder: Path) -> Path:
    """Write every `share`-th member of each folder of a zip to another zip; the whole is kept."""
    folder.mkdir()
    if share == 1:
        return archive
    path, folders = folder / "part.zip", defaultdict(list)
    with zipfile.ZipFile(archive) as source, zipfile.ZipFile(path, "w") as target:
        for name in sorted(source.namelist()):
            folders[name.rpartition("/")[0]].append(name)
        for names in folders.values():
            for name in names[::share]:
                target.writestr(name, source.read(name), source.getinfo(name).compress_type)
    return path


def timed_stage(folder: Path) -> Run:
    """Run the stage; give the seconds of PARTS and the peak memory."""
    start, end, peak = timed(["--stage"], folder)
    written = float((folder / WRITTEN).read_text())
    return {
        "stage": end - start,
        "write": written - start,
        "audit": end - written,
        "peak_mib": peak,
    }


def timed(arguments: list[str], folder: Path) -> tuple[float, float, float]:
    """Run this module in a folder; give start, end and the peak of its tree's memory in MiB."""
    return watched(child("preprocess", *arguments), folder, tree_memory)


def watched(
    command: list[str], folder: Path, memory: Callable[[psutil.Process], int]
) -> tuple[float, float, float]:
    """Run a command in a folder; give start, end and the peak of `memory` (bytes) in MiB.

    Raises ExpectedError with its last line when it fails.
    """
    with tempfile.TemporaryFile("w+") as errors:
        start, peak = now(), 0
        process = subprocess.Popen(
            command, cwd=folder, env=child_environment(), stdout=subprocess.DEVNULL, stderr=errors
        )
        tree = psutil.Process(process.pid)
        while process.poll() is None:
            peak = max(peak, memory(tree))
            time.sleep(0.1)
        end = now()
        if process.returncode:
            errors.seek(0)
            last = errors.read().splitlines()[-1:]
            raise ExpectedError(f"{' '.join(command[1:4])} failed: {' '.join(last)}")
    return start, end, peak / 2**20


def now() -> float:
    """Give seconds of a clock that all processes share."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def tree_memory(process: psutil.Process) -> int:
    """Sum the resident sets of a process and its children in bytes."""
    total = 0
    try:
        for member in [process, *process.children(recursive=True)]:
            total += member.memory_info().rss
    except psutil.NoSuchProcess:
        pass  # it ended between two looks
    return total


def images(folder: Path) -> int:
    """Count what the stage wrote."""
    report = json.loads((folder / "data/audit.json").read_text())
    return sum(sum(counts.values()) for counts in report["images"].values())


def array_bytes(folder: Path) -> int:
    """Give the bytes of the arrays of pixels."""
    return sum(path.stat().st_size for path in folder.glob("data/*/images.npy"))


def bare(archive: Path) -> None:
    """Decode every image of the zip in one process, and do nothing with it."""
    with zipfile.ZipFile(archive) as opened:
        for member in opened.namelist():
            if not member.endswith("/"):
                np.asarray(Image.open(io.BytesIO(opened.read(member))).convert("RGB"))


def stage() -> None:
    """Run the stage in the current folder and note when its arrays are written."""
    from stages import preprocess

    preprocess.write_arrays = partial(noting_the_end, preprocess.write_arrays)
    run(preprocess.main)


def noting_the_end(function: Callable, *arguments: Any) -> Any:
    """Call a function and note when it returned."""
    result = function(*arguments)
    WRITTEN.write_text(str(now()))
    return result


def main() -> None:
    """Measure, write <out>/preprocess.json and print the table."""
    command = parser(__doc__)
    command.add_argument("--growth", action="store_true", help="only the growth")
    for one_run in ("--bare", "--stage"):
        command.add_argument(one_run, action="store_true", help=argparse.SUPPRESS)
    options = command.parse_args()
    if options.stage:
        stage()
    elif options.bare:
        bare(options.archive)
    else:
        check(options)
        figures, rows = measure(options)
        write_result("preprocess", figures, rows, options)
        say(tabulate(rows, headers="keys", floatfmt=".4g"))


if __name__ == "__main__":
    run(main)
