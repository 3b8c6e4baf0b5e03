"""More images than a study has, and larger ones: seconds and memory of preprocess and of an epoch.

    python -m benchmarks.large [--counts 120000 350000 1000000] [--large-count 10000]

Archives are made by benchmarks/generated.py in a temporary folder (6 GB for a million images) and
pass the stage preprocess and an epoch of cnn32, each in processes of their own. Memory is the peak
of what these hold for themselves: anonymous pages and shared memory of the whole process tree, each
page counted once (Pss_Anon and Pss_Shmem of Linux' smaps_rollup, looked at ten times a second).
Pages of files, such as the arrays that are mapped, are not in it: the system takes them back when
it needs room. Writes <out>/large.json and prints the table.
"""

import argparse
import json
import tempfile
from pathlib import Path
from typing import Any

import psutil
from tabulate import tabulate

from benchmarks.common import Measured, child, row, say, write
from benchmarks.generated import write_archive
from benchmarks.growth import growth_exponent
from benchmarks.preprocess import prepare, watched
from detector.base.program import run

LINEAR = 1.05  # exponent
MEMORY = 2 * 1024  # MiB
Run = dict[str, float]


def main() -> None:
    """Measure every size, write the result and print its rows."""
    command = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    command.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder")
    command.add_argument(
        "--counts", type=int, nargs="*", default=[120_000, 350_000, 1_000_000],
        help="images of 32 pixels",
    )  # fmt: skip
    command.add_argument("--large-count", type=int, default=10_000, help="images of 256 pixels")
    command.add_argument("--quick", action="store_true", help="only show that it works")
    options = command.parse_args()
    options.repeats = 1
    if options.quick:
        options.counts, options.large_count = [400, 800], 100
    figures, rows = measure(options)
    write("large", figures, rows, options)
    say(tabulate(rows, headers="keys", floatfmt=".4g"))


def measure(options: argparse.Namespace) -> Measured:
    """Give what every size took, and the rows of the table."""
    small = [measured(count, 32, options.quick) for count in options.counts]
    large = [measured(options.large_count, 256, options.quick)] if options.large_count else []
    rows = []
    for part in ("preprocess", "epoch"):
        if len(small) > 1:
            seconds = [found[part]["seconds"] for found in small]
            exponent = growth_exponent(options.counts, seconds)
            rows.append(row(f"{part}: exponent of its seconds by images", exponent, "", LINEAR))
        for found in [*small[-1:], *large]:
            name = f"{part}, {found['images']:,} images of {found['size']} pixels"
            rows += [
                row(f"{name}: peak memory", found[part]["peak_mib"], "MiB", at_most=MEMORY),
                row(name, found[part]["seconds"], "s"),
            ]
    return {"runs": small + large}, rows


def measured(count: int, size: int, quick: bool) -> dict[str, Any]:
    """Make an archive, decode it and train an epoch of cnn32 on it."""
    with tempfile.TemporaryDirectory() as folder:
        archive, place = Path(folder, "made.zip"), Path(folder, "place")
        place.mkdir()
        write_archive(archive, count, size)
        prepare(place, archive, f"data.image_size={size}")
        decoded = taken(child("preprocess", "--stage"), place)
        say(f"{count:,} images of {size} pixels: decoded, {words(decoded)}")
        arguments = ["--one-epoch", "--arrays", str(place / "data/train")]
        if size > 32:  # cnn32 has a map of every pixel: smaller batches
            arguments += ["--set", "train.batch_size=32"]
        if quick:
            arguments += ["--set", "train.batch_size=16"]
        epoch = taken(child("growth", *arguments), place)
        say(f"{count:,} images of {size} pixels: an epoch, {words(epoch)}")
        arrays = sum(path.stat().st_size for path in place.glob("data/*/images.npy"))
        return {
            "images": count,
            "size": size,
            "archive_bytes": archive.stat().st_size,
            "array_bytes": arrays,
            "audit": json.loads((place / "data/audit.json").read_text())["near_duplicates"],
            "preprocess": decoded,
            "epoch": epoch,
        }


def words(found: Run) -> str:
    """Say what a process took."""
    return f"{found['seconds']:.1f} s, at most {found['peak_mib']:.0f} MiB"


def taken(command: list[str], folder: Path) -> Run:
    """Run a command in a folder; give its seconds and the peak memory of its tree."""
    start, end, peak = watched(command, folder, own_memory)
    return {"seconds": end - start, "peak_mib": peak}


def own_memory(process: psutil.Process) -> int:
    """Give the bytes of anonymous and shared memory of a process and its children, pages once."""
    kib = 0
    try:
        for member in [process, *process.children(recursive=True)]:
            lines = Path(f"/proc/{member.pid}/smaps_rollup").read_text().splitlines()
            fields = dict(line.split(maxsplit=1) for line in lines[1:])
            kib += sum(int(fields[f"Pss_{kind}:"].split()[0]) for kind in ("Anon", "Shmem"))
    except (psutil.NoSuchProcess, OSError, KeyError):
        pass  # it ended between two looks
    return kib * 1024


if __name__ == "__main__":
    run(main)
