"""What is kept of runs on CIFAKE fits together: probabilities, figures, tables; no image."""

import json
import shutil

import numpy as np
import pytest

from benchmarks.published import read_runs, write_tables
from detector.archives.cifake import names
from detector.base.layout import CIFAKE_SHA256
from tests.helpers import ROOT

CIFAKE = ROOT / "results/cifake"
RUNS = sorted(path.parent for path in CIFAKE.glob("*/cost.json"))


def test_the_tables_are_those_of_the_files(tmp_path):
    shutil.copytree(CIFAKE, tmp_path / "cifake")
    (tmp_path / "cifake/README.md").unlink()
    write_tables(tmp_path / "cifake")
    assert (tmp_path / "cifake/README.md").read_bytes() == (CIFAKE / "README.md").read_bytes()
    runs = read_runs(CIFAKE)
    assert len(runs) == len(RUNS) and "no GPU" in runs[0].machine


@pytest.mark.parametrize("run", RUNS, ids=lambda run: run.name)
def test_a_run_is_of_cifake_and_its_figures_follow_from_its_probabilities(run):
    archive = json.loads((run / "data/audit.json").read_text())["archive"]
    assert archive["cifake"] and archive["sha256"] == CIFAKE_SHA256
    test = [name for name in names() if name.startswith("test/")]
    is_real = np.array([name.startswith("test/REAL/") for name in test])
    leaked = {
        line.split(",")[0] for line in (run / "data/leaked.csv").read_text().split("\n")[1:-1]
    }
    others = np.array([name not in leaked for name in test])
    assert (~others).sum() == 378
    for folder in run.glob("data/results/*/test"):
        raw = np.load(folder / "test_probabilities.npy", allow_pickle=False)
        assert raw.dtype == np.float32 and raw.shape == (20_000,)
        right = (raw >= 0.5) == is_real
        found = json.loads((folder / "evaluation.json").read_text())
        assert found["test"]["accuracy"] == pytest.approx(right.mean(), abs=1e-6)
        rest = found["test_without_leaked"]["accuracy"]
        assert rest == pytest.approx(right[others].mean(), abs=1e-6)


def test_no_picture_shows_an_image():
    shown = {path.name for path in CIFAKE.rglob("*.png")}
    assert shown <= {
        "confusion_matrix.png", "probabilities.png", "reliability.png", "spectra.png", "curves.png",
        "learning_curves.png", "paper.png", "risk_coverage.png", "robustness.png",
    }  # fmt: skip
    assert not [p for p in CIFAKE.rglob("*") if p.suffix in (".jpg", ".html", ".zip", ".h5")]
