"""Measure what the repository costs, part by part, each in a process of its own.

Writes <out>/<part>.json, table.md with every part found there, and plots.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.common import PARTS, check, child, child_environment, parser, say
from benchmarks.report import write_report
from conf.compose import compose
from detector.base.errors import ExpectedError
from detector.base.program import run


def main() -> None:
    """Run the parts that were asked for and write the table."""
    command = parser(__doc__)
    command.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all")
    options = command.parse_args()
    check(options)
    parts = chosen(options)
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        if options.arrays is None and set(parts) != {"preprocess"}:
            say("decoding the archive")
            options.arrays = decode(options.archive, Path(folder))
        failed = [part for part in parts if not measured(part, options)]
    print(write_report(options.out))
    if failed:
        raise ExpectedError(f"{', '.join(failed)}: failed, see above; the others are in the table")


def chosen(options: argparse.Namespace) -> list[str]:
    """Give the parts to run, in the order of the table. Raises ExpectedError for an unknown one."""
    if unknown := set(options.parts) - set(PARTS):
        raise ExpectedError(f"{', '.join(sorted(unknown))}: no such part; {', '.join(PARTS)}")
    parts = [part for part in PARTS if part in (options.parts or PARTS)]
    if options.archive is None and ("preprocess" in options.parts or options.arrays is None):
        raise ExpectedError("--archive my.zip is needed; --arrays is enough but for preprocess")
    if options.archive is not None and not options.archive.is_file():
        raise ExpectedError(f"{options.archive}: no such file; --archive takes a zip")
    if options.archive is None and "preprocess" in parts:
        say("preprocess: left out, it needs --archive")
        parts.remove("preprocess")
    return parts


def decode(archive: Path, folder: Path) -> Path:
    """Run the stage preprocess on the archive. Returns the folder that has train/ and val/."""
    compose(folder / "params.yaml", ["data=archive", f"data.path={archive.resolve()}"])
    raw = folder / "data/raw/archive.zip"
    raw.parent.mkdir(parents=True)
    raw.symlink_to(archive.resolve())
    done = subprocess.run(
        [sys.executable, "-m", "stages.preprocess"], cwd=folder, env=child_environment()
    )
    if done.returncode:
        raise ExpectedError(f"{archive}: the stage preprocess failed on it, see above")
    return folder / "data"


def measured(part: str, options: argparse.Namespace) -> bool:
    """Run one part; tell whether it wrote its result."""
    result = options.out / f"{part}.json"
    result.unlink(missing_ok=True)
    say(f"{part}:")
    process = subprocess.run(child(part, *passed_on(options)), env=child_environment())
    return process.returncode == 0 and result.exists()


def passed_on(options: argparse.Namespace) -> list[str]:
    """Give the command line of a part: the options without the parts."""
    words = []
    for name, value in vars(options).items():
        key = f"--{name.replace('_', '-')}"
        match value:
            case None | False:
                continue
            case _ if name == "parts":
                continue
            case True:
                words.append(key)
            case list() if name == "set":
                words += [f"{key}={change}" for change in value]
            case list():
                words += [key, *map(str, value)]
            case Path():
                words += [key, str(value.resolve())]
            case _:
                words += [key, str(value)]
    return words


if __name__ == "__main__":
    run(main)
