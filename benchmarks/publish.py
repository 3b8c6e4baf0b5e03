"""Keep in Git what a run gave: figures, tables and curves, and no image of the data set.

    dvc exp run -S data=cifake -S model=cnn32 -S train=fast
    python -m benchmarks.publish cnn32_fast            # writes results/cifake/cnn32_fast
    python -m benchmarks.publish                       # only writes the tables anew

Of another experiment: `dvc exp apply` brings it to the workspace first. Each file lies where it lay
in the workspace. `cost.json` is what training and prediction took, on which machine;
`test_probabilities.npy` are the raw probabilities of REAL of the test images, float32, in the order
of their sorted names, of which every figure can be computed again. README.md of results/<data set>
compares all its runs.
"""

import argparse
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import machine
from benchmarks.published import write_tables
from detector import timings
from detector.base.errors import ExpectedError
from detector.base.files import replacing, write_json
from detector.base.params import read_tree
from detector.base.program import run
from detector.evaluation.predictions import read_predictions

RESULTS = Path("results")
FILES = ("params.yaml", "dvc.lock", "data/audit.json", "data/leaked.csv", "docs/report/cards.md")
FOLDERS = ("plots/compare",)
OF_BACKBONE = (
    "metrics/{}.json",
    "plots/{}/confusion_matrix.png",
    "plots/{}/probabilities.png",
    "plots/{}/reliability.png",
    "data/results/{}/test/evaluation.json",
    "data/results/{}/test/decision.json",
    "data/results/{}/test/history.csv",
    "data/results/{}/robustness/table.csv",
    "data/results/{}/robustness/summary.json",
    "data/results/{}/external/external.json",
)
PLOTS, REPORT = ("plots/data/spectra.png",), "docs/report/index.md"
_PICTURE = re.compile(r"!\[.*?\]\((.*?)\)\n?")


def publish(name: str) -> Path:
    """Copy what the workspace's run gave to results/<data set>/<name>, and return that folder.

    Raises ExpectedError when a file of the run is missing.
    """
    params = read_tree()
    backbones = list(params["model"])
    wanted = [*FILES, *PLOTS, *(file.format(b) for b in backbones for file in OF_BACKBONE)]
    for folder in FOLDERS:
        wanted += sorted(path.as_posix() for path in Path(folder).iterdir())
    missing = [path for path in [*wanted, REPORT] if not Path(path).is_file()]
    if missing:
        raise ExpectedError(f"{missing[0]}: is missing; run 'dvc repro' first")
    target = RESULTS / params["data"]["name"] / name
    with replacing(target) as made:
        for path in wanted:
            (made / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, made / path)
        (made / REPORT).write_text(without_pictures(Path(REPORT), made), encoding="utf-8")
        for backbone in backbones:
            keep_probabilities(backbone, made)
        write_json(made / "cost.json", cost(backbones))
    return target


def without_pictures(report: Path, made: Path) -> str:
    """Return the report without those pictures that are not below `made`."""

    def kept(found: re.Match[str]) -> str:
        place = made / report.parent / found[1]
        return found[0] if place.resolve().is_file() else ""

    return _PICTURE.sub(kept, report.read_text(encoding="utf-8"))


def keep_probabilities(backbone: str, made: Path) -> None:
    """Write the raw probabilities of the test images, in the order of their names."""
    folder = f"data/results/{backbone}/test"
    test: pd.DataFrame = read_predictions(f"{folder}/predictions.csv")["test"]
    raw = test.sort_values("name", kind="stable")["probability"].to_numpy(np.float32)
    np.save(made / folder / "test_probabilities.npy", raw, allow_pickle=False)


def cost(backbones: list[str]) -> dict[str, object]:
    """Return what was timed in this workspace by backbone, and the machine.

    Raises ExpectedError where a training was not timed here: DVC brought it from its cache.
    """
    timed = {name: timings.of_these_weights(name) for name in backbones}
    for name, found in timed.items():
        if "training" not in found:
            raise ExpectedError(
                f"{name}: its training was not timed in this workspace; publish where it ran, or "
                f"run 'dvc repro --force --single-item train@{name}'"
            )
    return {"machine": machine.describe(), "backbones": timed}


def main() -> None:
    """Publish the workspace's run under the name that is given, and write the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("run", nargs="?", help="its name; without one only the tables are written")
    name = parser.parse_args().run
    if name:
        if not re.fullmatch(r"[a-z0-9_]+", name):
            raise ExpectedError(f"{name!r}: a run is named by lower-case letters, digits and _")
        print(publish(name))
    for folder in sorted(path for path in RESULTS.iterdir() if path.is_dir()):
        write_tables(folder)


if __name__ == "__main__":
    run(main)
