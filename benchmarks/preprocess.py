"""Time the preprocess stage against a bare loop that only decodes every member, in turn.

    python -m benchmarks.preprocess --archive my.zip [--repeats 3]

Prints one JSON object: seconds of each run, the ratio stage / bare of each pair and its median,
and the peak memory of the stage's whole process tree (sum of resident sets, so that pages shared
by its processes count more than once).
"""

import argparse
import io
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import zipfile
from pathlib import Path

import numpy as np
import psutil
from PIL import Image

from conf.compose import compose

ROOT = Path(__file__).resolve().parent.parent


def bare(archive: str) -> None:
    """Decode every image of the zip in one process, and do nothing with it."""
    with zipfile.ZipFile(archive) as opened:
        for member in opened.namelist():
            if not member.endswith("/"):
                np.asarray(Image.open(io.BytesIO(opened.read(member))).convert("RGB"))


def timed(command: list[str], folder: Path) -> tuple[float, float]:
    """Run a command; give its seconds and the peak of its tree's resident sets in MiB."""
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    process = subprocess.Popen(
        command, cwd=folder, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    watched, peak = psutil.Process(process.pid), 0
    while process.poll() is None:
        peak = max(peak, tree_memory(watched))
        time.sleep(0.1)
    if process.returncode:
        sys.exit(f"{' '.join(command)}: exited with {process.returncode}")
    return time.perf_counter() - start, peak / 2**20


def tree_memory(process: psutil.Process) -> int:
    """Sum the resident sets of a process and its children in bytes."""
    total = 0
    try:
        for member in [process, *process.children(recursive=True)]:
            total += member.memory_info().rss
    except psutil.NoSuchProcess:
        pass  # it ended between two looks
    return total


def main() -> None:
    """Run the pairs and print the figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--archive", required=True, type=Path)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--bare", action="store_true", help="only the loop, once")
    arguments = parser.parse_args()
    archive = arguments.archive.resolve()
    if arguments.bare:
        bare(str(archive))
        return
    stages, bares, peaks = [], [], []
    with tempfile.TemporaryDirectory() as folder:
        compose(Path(folder, "params.yaml"), ["data=archive", f"data.path={archive}"])
        Path(folder, "data/raw").mkdir(parents=True)
        Path(folder, "data/raw/archive.zip").symlink_to(archive)
        loop = [sys.executable, "-m", "benchmarks.preprocess", "--bare", "--archive", str(archive)]
        for _ in range(arguments.repeats):
            seconds, _ = timed(loop, Path(folder))
            bares.append(seconds)
            seconds, peak = timed([sys.executable, "-m", "stages.preprocess"], Path(folder))
            stages.append(seconds)
            peaks.append(peak)
        report = json.loads(Path(folder, "metrics/data.json").read_text())
    ratios = [stage / loop for stage, loop in zip(stages, bares, strict=True)]
    print(
        json.dumps(
            {
                "images": sum(sum(counts.values()) for counts in report["images"].values()),
                "bare_seconds": [round(s, 2) for s in bares],
                "stage_seconds": [round(s, 2) for s in stages],
                "ratios": [round(r, 3) for r in ratios],
                "median_ratio": round(statistics.median(ratios), 3),
                "peak_tree_mib": round(max(peaks)),
                "cpu": platform.processor() or platform.machine(),
                "cores": os.cpu_count(),
                "python": platform.python_version(),
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
