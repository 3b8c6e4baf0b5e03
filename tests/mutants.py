"""Change the code in small ways, one at a time, and see whether a test fails: mutmut.

    python -m tests.mutants evaluation       # or data, or networks; an hour of two idle cores

Works in .work/mutants/<area>, a copy of what Git tracks, in an environment of its own, since mutmut
has no part in that of the pipeline. What was tried is kept there, so that the same command goes on
where it was ended. Prints how many mutants were killed, and those that no test noticed.
"""

import argparse
import json
import shutil
import subprocess
import sys
import sysconfig
import venv
from dataclasses import dataclass
from pathlib import Path

from detector.base.program import run

VERSION = "3.8.1"
WORK = Path(".work/mutants")


@dataclass(frozen=True)
class Area:
    """What is changed (patterns of files), and which tests may notice."""

    files: tuple[str, ...]
    tests: tuple[str, ...]
    marked: str = "not slow and not soak"


AREAS = {
    "evaluation": Area(
        ("detector/evaluation/*",),
        (
            "calibration", "comparison", "evaluation", "generalisation", "intervals",
            "intervals_pairs", "judging_stages", "metrics", "predictions", "results", "robustness",
            "selective",
        ),
    ),
    "data": Area(
        ("detector/preprocessing/split.py", "detector/images/decode.py"),
        ("split", "decode", "decode_features", "decode_members", "ingest"),
    ),
    "networks": Area(
        (
            "detector/networks/batches.py", "detector/training/callbacks.py",
            "detector/training/fit.py",
        ),
        ("training", "phases"),
        "not soak",
    ),
}  # fmt: skip

# Forked before a test has run: a process in which TensorFlow has computed cannot be forked. The
# time limits are wide, since nothing here loops for ever but the machine may be busy.
SETTINGS = """\
[mutmut]
source_paths=detector
only_mutate=
    {files}
also_copy=
    conf
    stages
    data/sample
    params.yaml
    dvc.yaml
process_isolation=forkserver
timeout_multiplier=100.0
timeout_constant=60.0
pytest_add_cli_args=
    -m
    {marked}
pytest_add_cli_args_test_selection=
    {tests}
"""


def prepare(area: Area, folder: Path) -> None:
    """Copy what Git tracks to `folder`, and write there what mutmut is to do."""
    listed = subprocess.run(["git", "ls-files", "-z"], stdout=subprocess.PIPE, check=True)
    for name in listed.stdout.decode().split("\0")[:-1]:
        if Path(name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(name, folder / name)
    tests = [f"tests/test_{name}.py" for name in area.tests]
    text = SETTINGS.format(
        files="\n    ".join(area.files), tests="\n    ".join(tests), marked=area.marked
    )
    (folder / "setup.cfg").write_text(text, encoding="utf-8")


def environment(folder: Path) -> Path:
    """Make an environment with mutmut that sees the packages of this one; return its Python."""
    python = folder / "bin/python"
    if not python.exists():
        venv.create(folder, with_pip=True)
        pip = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*pip, f"mutmut=={VERSION}"], check=True)
        (packages,) = folder.glob("lib/python*/site-packages")
        (packages / "pipeline.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.absolute()


def main() -> None:
    """Run mutmut over one area."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("area", choices=list(AREAS))
    area = parser.parse_args().area
    folder = WORK / area
    prepare(AREAS[area], folder)
    mutmut = [environment(WORK / "environment"), "-m", "mutmut"]
    subprocess.run(["nice", "-n", "19", *mutmut, "run"], cwd=folder, check=True)
    subprocess.run([*mutmut, "export-cicd-stats"], cwd=folder, check=True)
    subprocess.run([*mutmut, "results"], cwd=folder, check=True)
    counts = json.loads((folder / "mutants/mutmut-cicd-stats.json").read_text())
    caught = counts["killed"] + counts.get("timeout", 0)
    print(f"{area}: {caught} of {counts['total']} mutants killed ({caught / counts['total']:.1%})")


if __name__ == "__main__":
    sys.exit(run(main))
