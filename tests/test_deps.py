"""dvc.yaml is true: what a stage imports and reads is what it declares."""

import ast
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parent.parent
PACKAGES = ("detector", "stages", "conf")
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = sorted(PIPELINE["stages"])
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
            file = Path(*name.split(".")).with_suffix(".py")
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
    body = ast.parse((ROOT / package / "__init__.py").read_text()).body
    assert len(body) == 1, "code in an __init__.py would be a dependency that no stage declares"
    assert isinstance(body[0].value, ast.Constant)


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_says_what_it_does_and_runs_its_own_script(stage):
    assert declaration(stage)["desc"]
    assert declaration(stage)["cmd"].startswith(f"python -m stages.{stage}")


def test_data_files_of_the_package_are_declared():
    assert "detector/evaluation/paper_results.json" in declaration("compare")["deps"]
    assert "detector/report/templates" in declaration("report")["deps"]
    assert "detector/evaluation/paper_results.json" in declaration("report")["deps"]
    files = [p.relative_to(ROOT / "detector").as_posix() for p in (ROOT / "detector").rglob("*.*")]
    other = [name for name in files if not name.endswith((".py", ".pyc"))]
    assert {str(Path(name).parent) for name in other} == {"evaluation", "report/templates"}
    assert [n for n in other if n.startswith("evaluation")] == ["evaluation/paper_results.json"]


def test_uncached_outs_are_plots_or_metrics_so_that_the_run_cache_works():
    for stage in ("preprocess", "train", "evaluate"):
        for out in declaration(stage).get("outs", []):
            assert isinstance(out, str), f"{stage}: {out}"
