"""Ask the page of `make demo` from several clients at once, and time its answers.

    python -m benchmarks.demo_load [--model models/cnn32.zip] [--requests 200] [--clients 8]

Starts the page as a program of its own and prints one JSON object: for the sample's test images of
32 pixels, and for photographs of 12 million pixels, a quarter as many, how many requests got no
answer, the 50th and 95th percentile and the largest of the seconds that one took, and requests a
second. Each client asks again as soon as it was answered; there is no second try. A hostile upload
stands between the two, which must be refused. Peak memory is that of the program.
"""

import argparse
import io
import json
import re
import signal
import subprocess
import sys
import time
import zipfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
from PIL import Image

from benchmarks import machine
from benchmarks.common import ROOT, child_environment, rounded
from detector.base.errors import ExpectedError
from detector.base.program import run
from detector.networks.runtime import start_keras

SAMPLE = ROOT / "data/sample/sample.zip"
PHOTOGRAPH = (4000, 3000)  # pixels


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--model", type=Path, default=Path("models/cnn32.zip"))
    options.add_argument("--requests", type=int, default=200)
    options.add_argument("--clients", type=int, default=8)
    given = options.parse_args()
    with served(given.model) as (address, process):
        small = asked(address, sample_images(given.requests), given.clients)
        refused = httpx.post(f"{address}api/predict", content=b"<svg/>").status_code
        large = asked(address, photographs(max(1, given.requests // 4)), given.clients)
        peak = psutil.Process(process.pid).memory_full_info()
    start_keras(0)  # which machine.describe asks, and here it is quiet
    found = {
        "clients": given.clients,
        "sample images": small,
        "status of a hostile upload": refused,
        "photographs of 12 million pixels": large,
        "memory_mib_at_the_end": peak.rss / 2**20,
        "machine": machine.describe(),
    }
    print(json.dumps(rounded(found), indent=2))


@contextmanager
def served(model: Path) -> Iterator[tuple[str, subprocess.Popen]]:
    """Start the page and give its address. Raises ExpectedError where it does not start."""
    process = subprocess.Popen(
        [sys.executable, "-m", "detector.demo", "--port", "0", "--model", str(model)],
        env=child_environment(),
        cwd=ROOT if not model.is_absolute() else None,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        found = re.search(r"http://\S+", process.stdout.readline())
        if not found:
            raise ExpectedError("demo_load: the page did not start, see above")
        yield found[0], process
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def sample_images(count: int) -> list[bytes]:
    """Give test images of the embedded sample, REAL and FAKE in turn."""
    with zipfile.ZipFile(SAMPLE) as archive:
        names = sorted(name for name in archive.namelist() if name.startswith("test/"))
        half = len(names) // 2
        turns = [name for pair in zip(names[:half], names[half:], strict=True) for name in pair]
        return [archive.read(turns[i % len(turns)]) for i in range(count)]


def photographs(count: int) -> list[bytes]:
    """Give JPEG files as telephones make them: a sample image each, enlarged, with noise."""
    rng = np.random.default_rng(0)
    noise = rng.integers(0, 24, (PHOTOGRAPH[1], PHOTOGRAPH[0], 1), dtype=np.uint8)
    files = []
    for coded in sample_images(min(count, 8)):
        image = Image.open(io.BytesIO(coded)).resize(PHOTOGRAPH, Image.Resampling.BICUBIC)
        buffer = io.BytesIO()
        Image.fromarray(np.asarray(image) // 2 + noise).save(buffer, "JPEG", quality=90)
        files.append(buffer.getvalue())
    return [files[i % len(files)] for i in range(count)]


def asked(address: str, files: Sequence[bytes], clients: int) -> dict[str, Any]:
    """Ask for all files from so many clients at once."""

    def of_one(rows: range) -> list[tuple[bool, float]]:
        with httpx.Client(base_url=address, timeout=120) as client:
            return [_answered(client, files[row]) for row in rows]

    start = time.perf_counter()
    with ThreadPoolExecutor(clients) as pool:
        parts = pool.map(of_one, [range(i, len(files), clients) for i in range(clients)])
        replies = [reply for part in parts for reply in part]
    whole = time.perf_counter() - start
    seconds = [taken for _, taken in replies]
    return {
        "requests": len(replies),
        "bytes_each": round(np.mean([len(file) for file in files])),
        "without_answer": sum(not good for good, _ in replies),
        "p50_s": float(np.percentile(seconds, 50)),
        "p95_s": float(np.percentile(seconds, 95)),
        "max_s": max(seconds),
        "requests_per_second": len(replies) / whole,
    }


def _answered(client: httpx.Client, file: bytes) -> tuple[bool, float]:
    start = time.perf_counter()
    try:
        reply = client.post("/api/predict", content=file)
        good = reply.status_code == 200 and reply.json()["verdict"] in ("REAL", "FAKE", "UNSURE")
    except (httpx.HTTPError, ValueError, KeyError):
        good = False
    return good, time.perf_counter() - start


if __name__ == "__main__":
    run(main)
