"""Prove that the committed results come again: clone, run from nothing, run once more, compare.

    make verify        # or: python -m tests.verify [--tolerance 0.02] [--report FILE]

Clones the last commit into a temporary folder and runs `dvc repro --force` there twice, with
nothing in DVC's cache. The second run has another hash seed, time zone, locale and temporary
folder, and one CPU where a process can be held to one (Linux). Prints every out with its hash,
whether both runs agree, and whether they agree with the committed dvc.lock. Fails when the two runs
differ.

On another processor the last bits of floating-point sums may differ from the committed ones. Then
this says so, compares the committed metrics with the new ones, and fails when one of them differs
by more than the tolerance.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import yaml
from tabulate import tabulate

from detector.base.errors import ExpectedError
from detector.base.program import run

ROOT = Path(__file__).resolve().parent.parent
Hashes = dict[str, str]
# What must not matter, other than on the first run.
OTHERWISE = {"PYTHONHASHSEED": "4711", "TZ": "Pacific/Kiritimati", "LC_ALL": "C"}


def main() -> None:
    """Run twice in a clone and compare."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--repository", type=Path, default=ROOT, help="what to clone")
    parser.add_argument(
        "--tolerance", type=float, default=0.02, help="of a metric; relative above 1"
    )
    parser.add_argument("--report", type=Path, help="a Markdown file for the table")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="verify-") as folder:
        clone = cloned(options.repository, Path(folder))
        committed, metrics = hashes(clone), metrics_of(clone)
        first = reproduced(clone, Path(folder), {})
        with on_one_cpu() if hasattr(os, "sched_setaffinity") else nullcontext():
            found = [first, reproduced(clone, Path(folder), OTHERWISE)]
        new_metrics = metrics_of(clone)
    table, different, uncommitted = compared(committed, *found)
    print(table)
    print(summary(len(found[0]), different, uncommitted))
    if options.report:
        options.report.write_text(table + "\n", encoding="utf-8")
    if different:
        raise ExpectedError(f"two runs on this machine differ in {', '.join(different)}")
    far = apart(metrics, new_metrics, options.tolerance) if uncommitted else []
    if far:
        raise ExpectedError(
            f"metrics differ from the committed ones by more than {options.tolerance}: "
            + "; ".join(far)
        )


@contextmanager
def on_one_cpu() -> Iterator[None]:
    """Hold what is started in the block to one CPU of those that this process may use."""
    own = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(own)})
    try:
        yield
    finally:
        os.sched_setaffinity(0, own)


def cloned(repository: Path, folder: Path) -> Path:
    """Clone the last commit. Raises ExpectedError for a folder that is no repository."""
    clone = folder / "clone"
    done = subprocess.run(
        ["git", "clone", "--quiet", "--no-local", str(repository), str(clone)],
        capture_output=True, text=True,
    )  # fmt: skip
    if done.returncode:
        raise ExpectedError(f"{repository}: cannot be cloned ({done.stderr.strip()})")
    return clone


def reproduced(clone: Path, folder: Path, more: dict[str, str]) -> Hashes:
    """Run the whole pipeline in the clone. Returns the hashes of its outs."""
    scratch = folder / f"tmp{len(more)}"
    scratch.mkdir()
    environment = {
        **os.environ,
        **more,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "TMPDIR": str(scratch),
    }
    words = " ".join(f"{key}={value}" for key, value in more.items())
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    print(f"dvc repro --force {words}".rstrip(), f"on {cpus} CPU{'s' * (cpus != 1)}", flush=True)
    done = subprocess.run(["dvc", "repro", "--force"], cwd=clone, env=environment)
    if done.returncode:
        raise ExpectedError("dvc repro --force failed in a clone of the last commit, see above")
    return hashes(clone)


def hashes(clone: Path) -> Hashes:
    """Give the hash of every out in dvc.lock, by path."""
    lock = yaml.safe_load((clone / "dvc.lock").read_text(encoding="utf-8"))
    return {
        out["path"]: out["md5"]
        for stage in lock["stages"].values()
        for out in stage.get("outs", [])
    }


def metrics_of(clone: Path) -> dict[str, float]:
    """Give every number in metrics/."""
    found: dict[str, float] = {}
    for path in sorted((clone / "metrics").rglob("*.json")):
        name = path.relative_to(clone).as_posix()
        found |= dict(numbers(json.loads(path.read_text(encoding="utf-8")), name))
    return found


def numbers(tree: Any, name: str) -> Iterator[tuple[str, float]]:
    """Give the numbers of a tree of JSON, each with its path in it."""
    match tree:
        case dict():
            for key, value in tree.items():
                yield from numbers(value, f"{name}:{key}")
        case list():
            for i, value in enumerate(tree):
                yield from numbers(value, f"{name}:{i}")
        case bool():
            pass
        case int() | float():
            yield name, float(tree)


def compared(committed: Hashes, first: Hashes, second: Hashes) -> tuple[str, list[str], list[str]]:
    """Give the table, the outs in which the runs differ, and those that are not as committed."""
    paths = sorted({*committed, *first, *second})
    different = [path for path in paths if first.get(path) != second.get(path)]
    uncommitted = [path for path in paths if first.get(path) != committed.get(path)]
    rows = [
        [
            path,
            first.get(path, "missing"),
            "no" if path in different else "yes",
            "no" if path in uncommitted else "yes",
        ]
        for path in paths
    ]
    heads = ["out", "MD5", "second run the same", "as committed"]
    return tabulate(rows, heads, tablefmt="github"), different, uncommitted


def summary(count: int, different: list[str], uncommitted: list[str]) -> str:
    """Say it in words."""
    sentence = f"{count - len(different)} of {count} outs have the same bytes in both runs"
    if not uncommitted:
        return f"{sentence}, and all are those of the committed dvc.lock."
    return (
        f"{sentence}; {len(uncommitted)} are not those of the committed dvc.lock. Another "
        "processor or other versions round otherwise, so the metrics are compared instead."
    )


def apart(committed: dict[str, float], new: dict[str, float], tolerance: float) -> list[str]:
    """Name the numbers that are missing on one side or differ by more than the tolerance.

    It is the difference of shares, from 0 to 1, and a part of larger numbers, such as counts.
    """
    found = []
    for name in sorted({*committed, *new}):
        before, now = committed.get(name), new.get(name)
        if before is None or now is None or abs(before - now) > tolerance * max(1, abs(before)):
            found.append(f"{name} {before} {now}")
    return found


if __name__ == "__main__":
    run(main)
