"""What every part needs: options, parameters, rows of the table, the result file."""

import argparse
import json
import math
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import yaml

from benchmarks import machine
from conf.compose import compose
from detector.base.errors import ExpectedError
from detector.base.files import replacing
from detector.base.program import run
from detector.params import Params, validate

ROOT = Path(__file__).resolve().parent.parent
PARTS = (
    "step", "preprocess", "accuracy", "input_path", "execution", "growth", "throughput", "predict",
)  # fmt: skip
Measured = tuple[dict[str, Any], list[dict[str, Any]]]  # figures, rows of the table


def parser(description: str | None) -> argparse.ArgumentParser:
    """Give the options that the command and its parts share."""
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--archive", type=Path, help="zip as for -S data.path, e.g. CIFAKE's")
    made.add_argument("--arrays", type=Path, help="folder with its train/ and val/, if decoded")
    made.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder")
    made.add_argument("--repeats", type=int, default=3, help="of each measurement; pairs, seeds")
    made.add_argument("--seconds", type=float, default=10, help="of one timed stretch, about")
    made.add_argument("--quick", action="store_true", help="only show that every part works")
    made.add_argument("--recipe", default="fast", help="file of conf/train for cnn32")
    made.add_argument(
        "--set", action="append", default=[], metavar="KEY=VALUE",
        help="change of cnn32's parameters as for -S; may be given more than once",
    )  # fmt: skip
    made.add_argument("--validation", type=int, help="accuracy: only so many validation images")
    made.add_argument("--reference-minutes", type=float, default=15, help="accuracy")
    made.add_argument("--cnn32-minutes", type=float, default=3, help="accuracy")
    made.add_argument(
        "--cnn32-epochs", type=float, nargs=3, metavar="EPOCHS",
        help="accuracy: lengths of its three runs, instead of what fits into their times",
    )  # fmt: skip
    return made


def check(options: argparse.Namespace) -> None:
    """Raise ExpectedError for values that make no sense."""
    if options.repeats < 1 or options.seconds <= 0:
        raise ExpectedError("--repeats must be 1 or more and --seconds above 0")
    if options.quick:
        options.repeats, options.seconds = min(options.repeats, 2), 0.3
        options.reference_minutes, options.cnn32_minutes = 2 / 60, 1.5 / 60


def params(*overrides: str) -> Params:
    """Compose conf/ with `overrides` as for -S. Raises ExpectedError for a wrong one."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "params.yaml")
        compose(path, list(overrides))
        return validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def params_of(name: str, options: argparse.Namespace) -> Params:
    """Give the parameters that a backbone is measured with: of train=quick, but cnn32's own."""
    if name == "cnn32":
        return params("model=cnn32", f"train={options.recipe}", *options.set)
    return params(f"model={name}", "train=quick")


def run_part(name: str, measure: Callable[[argparse.Namespace], Measured], doc: str | None) -> None:
    """Run one part as a program of its own and write <out>/<name>.json."""

    def main() -> None:
        options = parser(doc).parse_args()
        check(options)
        figures, rows = measure(options)
        write(name, figures, rows, options)

    run(main)


def write(
    name: str, figures: dict[str, Any], rows: list[dict[str, Any]], options: argparse.Namespace
) -> None:
    """Write the result of a part with the machine that it was measured on."""
    result = {
        "part": name,
        "quick": options.quick,
        "repeats": options.repeats,
        "rows": rows,
        "figures": figures,
        "machine": machine.describe(),
    }
    with replacing(options.out / f"{name}.json") as path:
        path.write_text(json.dumps(rounded(result), indent=2) + "\n", encoding="utf-8")


def row(
    what: str,
    value: float | None,
    unit: str,
    at_most: float | None = None,
    at_least: float | None = None,
) -> dict[str, Any]:
    """Give one row of the table; a bar, where there is one, is met or not by the value.

    value: None where it was never reached, which meets no bar.
    """
    entry: dict[str, Any] = {"what": what, "value": value, "unit": unit}
    if at_most is not None:
        entry |= {"at_most": at_most, "met": value is not None and value <= at_most}
    if at_least is not None:
        entry |= {"at_least": at_least, "met": value is not None and value >= at_least}
    return entry


def median(values: Sequence[float | None]) -> float | None:
    """Give the median; a None counts as later than everything, and may be the median itself."""
    found = statistics.median([math.inf if value is None else value for value in values])
    return None if math.isinf(found) else found


def pairs(numerators: Sequence[float], denominators: Sequence[float]) -> dict[str, Any]:
    """Give the ratio of each pair and the median of the ratios."""
    ratios = [a / b for a, b in zip(numerators, denominators, strict=True)]
    return {"ratios": ratios, "median_ratio": statistics.median(ratios)}


def rounded(tree: Any) -> Any:
    """Round every float of a tree to 5 significant digits."""
    match tree:
        case dict():
            return {key: rounded(value) for key, value in tree.items()}
        case list() | tuple():
            return [rounded(value) for value in tree]
        case float():
            return float(f"{tree:.5g}")
    return tree


def say(line: str) -> None:
    """Tell how far the measurement is."""
    print(line, flush=True)


def child_environment() -> dict[str, str]:
    """Give the environment in which a process finds this repository from any folder."""
    return {
        "TF_CPP_MIN_LOG_LEVEL": "3",
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "PYTHONUNBUFFERED": "1",
    }


def child(module: str, *arguments: str) -> list[str]:
    """Give the command that runs a module of this folder with the same Python."""
    return [sys.executable, "-m", f"benchmarks.{module}", *arguments]
