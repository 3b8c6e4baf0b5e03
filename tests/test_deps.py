"""dvc.yaml is true: what a stage imports lies within its folders, and an edit reruns no other."""

import ast
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml
from dvc.repo import Repo

from detector.base.files import replacing
from tests.helpers import composed_params

ROOT = Path(__file__).parent.parent
PACKAGES = ("detector", "stages", "conf")
PIPELINE = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = sorted(PIPELINE["stages"])
# What detector/__init__.py gives on demand, and the file that it comes from.
ON_DEMAND = {"detector.load": "detector/prediction/detector.py"}
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
    assert "detector/training/distributed.py" in closure("stages/train.py")


def code_of(stage):
    return [dep for dep in declaration(stage)["deps"] if dep.startswith(("detector", "stages"))]


def within(path, dep):
    return path == dep or path.startswith(f"{dep}/")


@pytest.mark.parametrize("stage", STAGES)
def test_what_a_stage_imports_lies_within_its_deps_and_each_is_needed(stage):
    imported, declared = closure(f"stages/{stage}.py"), code_of(stage)
    outside = [path for path in imported if not any(within(path, dep) for dep in declared)]
    assert outside == []
    idle = [dep for dep in declared if not any(within(path, dep) for path in imported)]
    assert idle == []
    assert len(declared) <= 8


def test_no_room_reaches_up():
    """A room imports what lies below it; commands and page are above all, and apart."""
    below = {
        "base": set(),
        "figures": {"base"},
        "images": {"base", "archives"},
        "networks": {"base"},
        "commands": None,
        "demo": None,
    }
    for room, allowed in below.items():
        for path in sorted((ROOT / "detector" / room).glob("*.py")):
            seen = set(module_files(path.relative_to(ROOT))) - {f"detector/{room}/{path.name}"}
            rooms = {Path(file).parts[1] for file in seen if file.startswith("detector/")} - {room}
            if allowed is not None:
                assert rooms <= allowed, path
            assert not {"commands", "demo"} & rooms, path
            assert not any(file.startswith("stages/") for file in seen), path
    for path in sorted((ROOT / "benchmarks").glob("*.py")):
        assert not re.search(r"(?m)^\s*(from|import) (docs|tests)\b", path.read_text()), path
    for path in sorted((ROOT / "detector").rglob("settings.py")):
        rooms = {Path(file).parts[1] for file in module_files(path.relative_to(ROOT))}
        assert rooms - {path.parent.name} <= {"base", "networks"}, path


@pytest.mark.parametrize("package", ["stages", "detector", *SUBPACKAGES])
def test_package_files_hold_nothing_to_depend_on(package):
    docstring, *code = ast.parse((ROOT / package / "__init__.py").read_text()).body
    assert isinstance(docstring.value, ast.Constant)
    names = [getattr(node, "name", type(node)) for node in code]
    on_demand = ["__getattr__"] if package == "detector" else []
    assert names == on_demand, "code in an __init__.py is a dependency that no stage declares"


@pytest.mark.parametrize("stage", STAGES)
def test_every_stage_says_what_it_does_and_runs_its_own_script(stage):
    assert declaration(stage)["desc"]
    assert declaration(stage)["cmd"].startswith(f"python -m stages.{stage}")


def test_training_depends_on_its_file_of_weights_and_nothing_else_does(tmp_path):
    composed_params(tmp_path, "model.cnn32.weights=my.weights.h5")
    shutil.copy(ROOT / "dvc.yaml", tmp_path)
    with Repo.init(str(tmp_path), no_scm=True) as repo:
        depend = {stage.name: {d.def_path for d in stage.deps} for stage in repo.index.stages}
    assert [name for name in depend if "models/start/my.weights.h5" in depend[name]] == [
        "train@cnn32"
    ]
    assert "models/start/none" in depend["train@resnet50"] - depend["train@cnn32"]
    assert (ROOT / "models/start/none").is_file() and (ROOT / "models/start/imagenet").is_file()


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


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the repository's files with the committed dvc.lock; no outs."""
    folder = tmp_path_factory.mktemp("tree")
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).exists() and name.split("/")[0] not in ("docs", "tests", "benchmarks"):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    return folder


def to_run(tree):
    """Give the stages, without @backbone, of which `dvc status` finds code or params changed."""
    with Repo(str(tree)) as repo:
        status = repo.status()
    found = set()
    for stage, changes in status.items():
        for change in changes:
            changed = change.get("changed deps", {}) if isinstance(change, dict) else {}
            # outs are not there at all in this copy
            if any(how != "deleted" for how in changed.values()):
                found.add(stage.split(":")[-1].split("@")[0])
    return found


FIELD = "    augmentation: Augmentation\n"
EDITS = [
    ("conf/model/another.yaml", None, set()),
    ("detector/training/settings.py", (FIELD, FIELD + "    new: int = 1\n"), {"train"}),
    ("detector/report/tables.py", "", {"report"}),
    ("detector/preprocessing/figures.py", "", {"preprocess"}),
    ("detector/corruption/figures.py", "", {"corrupt", "robustness"}),
    ("detector/diagnosis/figures.py", "", {"evaluate"}),
    ("detector/comparison/figures.py", "", {"compare", "report"}),
    ("detector/comparison/paired.py", "", {"compare", "report"}),
    ("detector/onnx/layers.py", "", set()),
    ("detector/demo/app.py", "", set()),
    ("detector/commands/output.py", "", set()),
    ("detector/prediction/images.py", "", set()),
    ("benchmarks/common.py", None, set()),
]


def test_nothing_is_to_run_in_a_copy(tree):
    assert to_run(tree) == set(), "'dvc repro' has not been run on this code"


@pytest.mark.parametrize(("path", "edit", "stages"), EDITS)
def test_an_edit_reruns_only_what_it_can_change(tree, path, edit, stages):
    """And what follows from these: stages whose data change."""
    path = tree / path
    before = path.read_text() if path.exists() else None
    path.parent.mkdir(exist_ok=True)
    if before is None:
        path.write_text((tree / "conf/model/resnet50.yaml").read_text())
    elif edit:
        assert edit[0] in before
        path.write_text(before.replace(*edit))
    else:
        path.write_text(before + "# one line more\n")
    try:
        assert to_run(tree) == stages
    finally:
        path.unlink() if before is None else path.write_text(before)
