"""dvc.yaml is true: what a stage imports and reads is what it declares."""

import ast
import shutil
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from detector.files import replacing
from tests.helpers import composed_params

ROOT = Path(__file__).parent.parent
PACKAGES = ("detector", "stages", "conf")
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = sorted(PIPELINE["stages"])
# What detector/__init__.py gives on demand, and the file that it comes from.
ON_DEMAND = {"detector.load": "detector/deployment/detector.py"}
SUBPACKAGES = sorted(f"detector/{p.parent.name}" for p in (ROOT / "detector").glob("*/__init__.py"))


def declaration(stage):
    return PIPELINE["stages"][stage].get("do", PIPELINE["stages"][stage])


def module_files(path):
    """Give the files of this repository that the module at `path` imports, anywhere in its code."""
    for node in ast.walk(ast.parse((ROOT / path).read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports are not followed here"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        for name in names:
            file = Path(ON_DEMAND.get(name, "/".join(name.split(".")) + ".py"))
            if name.split(".")[0] in PACKAGES and (ROOT / file).exists():
                yield file.as_posix()


def closure(path):
    found, todo = set(), [path]
    while todo:
        file = todo.pop()
        if file not in found:
            found.add(file)
            todo += module_files(file)
    return found


def test_the_walk_sees_imports_inside_functions():
    assert "detector/networks/model.py" in closure("stages/train.py")
    assert "detector/networks/backbones.py" in closure("stages/train.py")


@pytest.mark.parametrize("stage", STAGES)
def test_every_imported_module_is_a_dependency_and_no_other(stage):
    declared = {dep for dep in declaration(stage)["deps"] if dep.endswith(".py")}
    assert declared == closure(f"stages/{stage}.py")


@pytest.mark.parametrize("package", ["stages", "detector", *SUBPACKAGES])
def test_package_files_hold_nothing_to_depend_on(package):
    docstring, *code = ast.parse((ROOT / package / "__init__.py").read_text()).body
    assert isinstance(docstring.value, ast.Constant)
    names = [getattr(node, "name", type(node)) for node in code]
    on_demand = ["__getattr__"] if package == "detector" else []
    assert names == on_demand, "code in an __init__.py is a dependency that no stage declares"


def test_what_the_package_gives_on_demand_is_followed_to_its_file(tmp_path):
    (tmp_path / "user.py").write_text("from detector import load\n")
    assert list(module_files(tmp_path / "user.py")) == list(ON_DEMAND.values())
    imported = set(module_files("detector/__init__.py"))
    assert imported == set(ON_DEMAND.values())


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_says_what_it_does_and_runs_its_own_script(stage):
    assert declaration(stage)["desc"]
    assert declaration(stage)["cmd"].startswith(f"python -m stages.{stage}")


def test_training_depends_on_its_file_of_weights_and_nothing_else_does(tmp_path):
    composed_params(tmp_path, "model.cnn32.weights=my.weights.h5")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        depend = {stage.name: {d.def_path for d in stage.deps} for stage in repo.index.stages}
    assert [name for name in depend if "my.weights.h5" in depend[name]] == ["train@cnn32"]
    assert "conf/named_weights.md" in depend["train@resnet50"] - depend["train@cnn32"]


def test_judging_does_not_depend_on_what_other_stages_are_told():
    """Another number of damaged images changes nothing that evaluate writes."""
    judging = [name for name in declaration("evaluate")["params"] if name.startswith("evaluate")]
    assert sorted(judging) == [
        f"evaluate.{key}" for key in ("batch_size", "resamples", "sure_error", "threshold")
    ]


def test_data_files_of_the_package_are_declared():
    assert "detector/evaluation/paper_results.json" in declaration("compare")["deps"]
    assert "detector/report/templates" in declaration("report")["deps"]
    assert "detector/evaluation/paper_results.json" in declaration("report")["deps"]
    files = [p.relative_to(ROOT / "detector").as_posix() for p in (ROOT / "detector").rglob("*.*")]
    # What the page of detector/demo is made of: no stage shows it.
    other = [n for n in files if not n.endswith((".py", ".pyc")) and not n.startswith("demo/")]
    assert {str(Path(name).parent) for name in other} == {"evaluation", "report/templates"}
    assert [n for n in other if n.startswith("evaluation")] == ["evaluation/paper_results.json"]


def test_uncached_outs_are_plots_or_metrics_so_that_the_run_cache_works():
    for stage in ("preprocess", "train", "evaluate"):
        for out in declaration(stage).get("outs", []):
            assert isinstance(out, str), f"{stage}: {out}"


def test_what_a_killed_stage_left_changes_no_dependency(tmp_path, monkeypatch):
    """In the folders that stages depend on: data/results, plots/data, ..."""
    monkeypatch.chdir(tmp_path)
    results = Path("data/results/cnn32")
    (results / "test").mkdir(parents=True)
    (results / "test/predictions.csv").write_text("first")
    Path("dvc.yaml").write_text("stages: {a: {cmd: exit 0, deps: [data/results]}}")
    with Repo.init(".", no_scm=True) as repo:
        shutil.copy(ROOT / ".dvcignore", ".")
        repo.reproduce()
        assert repo.status() == {}
        with pytest.raises(KeyboardInterrupt), replacing(results / "external") as partial:
            partial.mkdir()
            (partial / "half.csv").write_text("half")
            shutil.copytree(partial, kept := tmp_path / "kept")
            raise KeyboardInterrupt
        kept.rename(partial)  # as if it had been a kill
        (results / "test/.partial.predictions.csv").write_text("half")
    with Repo(".") as repo:
        assert repo.status() == {}
        (results / "test/predictions.csv").write_text("second")
        assert "a" in str(repo.status())
