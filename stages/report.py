"""Stage report: all results of the run as one page, in Markdown, and the cards of the models."""

import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd

from detector import timings
from detector.base.errors import ExpectedError
from detector.base.files import parse_json, replacing
from detector.base.finite import why_not_finite
from detector.base.params import read_tree
from detector.base.program import run
from detector.evaluation.decision import read_decision
from detector.report import document as report
from detector.report.backbones import BACKBONE_FIGURES
from detector.report.blocks import is_png
from detector.report.inputs import (
    HISTORY_COLUMNS,
    ROBUSTNESS_COLUMNS,
    BackboneInputs,
    DataAudit,
    Evaluation,
    ExternalAudit,
    ExternalResult,
    Inputs,
    Pair,
    RobustnessSummary,
    parse,
)
from detector.report.model_card import model_card

RESULTS = Path("data/results")
REPORT = Path("docs/report")
PACKAGES = ("tensorflow", "keras", "numpy", "scikit-learn", "pillow", "dvc")


def main() -> None:
    """Write report/: index.html, index.md and cards.md, and print what was timed."""
    inputs = read_inputs(read_tree())
    html, markdown = report.html(inputs), report.markdown(inputs)
    with (
        replacing(REPORT / "index.html") as page,
        replacing(REPORT / "index.md") as text,
        replacing(REPORT / "cards.md") as cards,
    ):
        page.write_text(html, encoding="utf-8", newline="\n")
        text.write_text(markdown, encoding="utf-8", newline="\n")
        made = [model_card(inputs, name) for name in inputs.backbones]
        cards.write_text("\n".join(made), encoding="utf-8", newline="\n")
    print(f"{REPORT / 'index.html'}: open it in a browser")
    print("Timings are not in the report, whose bytes are the same after every run:")
    for name in inputs.backbones:
        print(*timings.in_words(name), sep="\n")


def read_inputs(tree: dict[str, Any]) -> Inputs:
    """Read everything that the report shows. tree: params.yaml."""
    params = dotted(tree | {"model": {}})
    params.model = {name: dotted(settings) for name, settings in tree["model"].items()}
    compared = read_json("plots/compare/compare.json", dict[str, Any])
    pairs = {name: entry for name, entry in compared.items() if " minus " in name}
    # Only what is shown of a backbone is kept with its results; Git keeps the same pictures in
    # plots/, which the Markdown points to.
    figures = {
        f"plots/{name}/{kind}.png": read_png(RESULTS / name / "test/figures" / f"{kind}.png")
        for name in params.model
        for kind in BACKBONE_FIGURES
    }
    return Inputs(
        params=params,
        tree=tree,
        data=read_json("data/audit.json", DataAudit),
        external=read_json("data/sets/audit.json", ExternalAudit),
        pairs=parse(dict[str, Pair], pairs, "plots/compare/compare.json"),
        backbones={name: read_backbone(RESULTS / name) for name in params.model},
        figures=figures | {path: read_png(Path(path)) for path in report.FIGURES},
        versions=versions(),
    )


def dotted(tree: Any) -> Any:
    """Return a tree of YAML with its keys as attributes."""
    if not isinstance(tree, dict):
        return tree
    return SimpleNamespace(**{key: dotted(value) for key, value in tree.items()})


def read_backbone(folder: Path) -> BackboneInputs:
    """Read the results of one backbone."""
    return BackboneInputs(
        evaluation=read_json(folder / "test/evaluation.json", Evaluation),
        decision=read_decision(folder / "test/decision.json"),
        history=read_table(folder / "test/history.csv", HISTORY_COLUMNS),
        robustness=read_table(folder / "robustness/table.csv", ROBUSTNESS_COLUMNS),
        robustness_summary=read_json(folder / "robustness/summary.json", RobustnessSummary),
        external=read_json(folder / "external/external.json", dict[str, ExternalResult]),
    )


def read_json(path: str | Path, schema: Any) -> Any:
    """Read a JSON file and check it. Raises ExpectedError for any other content."""
    try:
        content = parse_json(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ExpectedError(
            f"{path}: cannot be read as JSON ({' '.join(str(error).split())}); "
            "run 'dvc repro' to make it anew"
        ) from error
    return parse(schema, content, path)


def read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    """Read a CSV file; names stay text. Raises ExpectedError unless all figures are finite."""
    text = {"corruption": str, "level": str}
    try:
        table = pd.read_csv(path, keep_default_na=False, na_values=["", "nan"], dtype=text)
        numbers = [column for column in columns if column not in text]
        table = table[list(columns)].astype(dict.fromkeys(numbers, float))
        if why := why_not_finite((column, table[column]) for column in numbers):
            raise ValueError(why)
    except (OSError, ValueError, KeyError) as error:
        raise ExpectedError(
            f"{path}: not the table that is needed ({' '.join(str(error).split())}); "
            "run 'dvc repro' to make it anew"
        ) from error
    if table.empty:
        raise ExpectedError(f"{path}: has no rows; run 'dvc repro' to make it anew")
    return table


def read_png(path: Path) -> bytes:
    """Read a picture. Raises ExpectedError when it is missing or no whole PNG."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise ExpectedError(
            f"{path}: cannot be read ({error.strerror}); run 'dvc repro' to make it anew"
        ) from error
    if not is_png(content):
        raise ExpectedError(f"{path}: not a whole PNG; run 'dvc repro' to make it anew")
    return content


def versions() -> dict[str, str]:
    """Give the versions of Python and of the packages that figures depend on."""
    found = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "not installed"
    return found


if __name__ == "__main__":
    run(main)
