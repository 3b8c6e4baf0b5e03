"""Part preprocess: the stage against a bare loop that decodes, and how its cost grows.

Both are measured by benchmarks/preprocess.py; this part gives them the form of the others.
"""

import argparse
import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from benchmarks.common import Measured, child, child_environment, row, run_part, say
from detector.errors import ExpectedError

WRITE, AUDIT, LINEAR = 0.75, 0.5, 1.05  # of the bare loop's time, twice; exponent


def measure(options: argparse.Namespace) -> Measured:
    """Run both measurements; --quick leaves the growth out."""
    pairs = figures_of(options)
    growth = None if options.quick else figures_of(options, "--growth")
    return {"pairs": pairs, "growth": growth}, rows(pairs, growth)


def rows(pairs: dict[str, Any], growth: dict[str, Any] | None) -> list[dict[str, Any]]:
    """Give the rows of the table."""
    found = [
        row("decode, split, write / bare loop", pairs["write"]["median_ratio"], "ratio", WRITE),
        row("audit / bare loop", pairs["audit"]["median_ratio"], "ratio", AUDIT),
        row("whole stage / bare loop", pairs["stage"]["median_ratio"], "ratio"),
        row("peak memory of the stage's processes", pairs["peak_tree_mib"], "MiB"),
    ]
    if growth:
        what = "stage: exponent of its seconds by images"
        found.append(row(what, growth["exponents"]["stage"], "", LINEAR))
        what = "stage: peak memory, growth an image, arrays included"
        found.append(row(what, growth["memory_bytes_per_image"] / 1024, "KiB"))
    return found


def figures_of(options: argparse.Namespace, *more: str) -> dict[str, Any]:
    """Run benchmarks/preprocess.py and give what it wrote."""
    if options.archive is None:
        raise ExpectedError("preprocess: --archive my.zip is needed")
    say(f"preprocess: {' '.join(more) or 'pairs'}")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "figures.json")
        known = ("--archive", str(options.archive), "--repeats", str(options.repeats))
        command = child("preprocess", *known, *more, "--out", str(path))
        done = subprocess.run(command, env=child_environment())
        if done.returncode:
            raise ExpectedError("preprocess: the measurement failed, see above")
        return json.loads(path.read_text(encoding="utf-8"))


if __name__ == "__main__":
    run_part("preprocess", measure, __doc__)
