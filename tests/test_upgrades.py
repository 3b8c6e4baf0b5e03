"""What must be seen when Python or a library moves: docs/upgrading.md says what to do then."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
import warnings
from functools import cache
from pathlib import Path

import pytest
import yaml
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

from tests.clone import Clone
from tests.helpers import ROOT
from tests.strict import DEPRECATIONS, MODULES, OURS, strict

DOCUMENT = (ROOT / "docs/upgrading.md").read_text(encoding="utf-8")
CI = yaml.safe_load((ROOT / ".github/workflows/ci.yml").read_text(encoding="utf-8"))


TESTS = ("tests", "test_", "conftest")


# Deprecated uses


@pytest.mark.parametrize("category", DEPRECATIONS)
def test_a_deprecated_use_is_an_error_in_our_code_and_in_no_other(category):
    for module in ["__main__", *MODULES]:
        with pytest.raises(category):
            warnings.warn_explicit("old", category, "file.py", 1, module=module)
    for module in ("keras.src.models", "statesman", "dvc.testing", "confuse", "toolsets.a"):
        with warnings.catch_warnings(record=True) as caught:
            warnings.warn_explicit("old", category, "file.py", 1, module=module)
        assert len(caught) == 1


def test_a_deprecated_use_in_a_process_is_an_error_in_our_code_and_in_no_other(tmp_path):
    (tmp_path / "other.py").write_text("import warnings\nwarnings.warn('old', FutureWarning)\n")
    (tmp_path / "detector/base").mkdir(parents=True)
    (tmp_path / "detector/base/errors.py").write_text((tmp_path / "other.py").read_text())
    for statement, code in (("import other", 0), ("import detector.base.errors", 1)):
        done = subprocess.run(
            [sys.executable, "-c", statement],
            cwd=tmp_path, env=strict(), capture_output=True, text=True,
        )  # fmt: skip
        assert (done.returncode, "FutureWarning: old" in done.stderr) == (code, True)


def test_the_clones_that_tests_run_in_are_strict(tmp_path):
    (tmp_path / "detector/base").mkdir(parents=True)
    code = "import warnings\nwarnings.warn('old', FutureWarning)\n"
    (tmp_path / "detector/base/errors.py").write_text(code)
    clone = Clone(tmp_path)
    assert "FutureWarning: old" in clone("python -c 'import detector.base.errors'", fails=True)


@pytest.mark.slow
def test_every_module_is_imported_without_a_deprecated_use():
    imports = "; ".join(f"import {name}" for name in MODULES if not name.startswith(TESTS))
    done = subprocess.run(
        [sys.executable, "-c", imports],
        cwd=ROOT, env={**strict(), "PYTHONPATH": "data/sample"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr


# The lowest and the newest Python


def minor(version):
    return tuple(map(int, version.split(".")[:2]))


def lowest_and_newest():
    """Give the lowest Python of our code (ruff's target) and the newest of TensorFlow."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    ours = minor(settings["tool"]["ruff"]["target-version"].replace("py3", "3."))
    classifiers = importlib.metadata.metadata("tensorflow").get_all("Classifier")
    theirs = [re.fullmatch(r"Programming Language :: Python :: (3\.\d+)", c) for c in classifiers]
    supported = sorted(minor(found[1]) for found in theirs if found)
    assert supported[0] <= ours <= supported[-1]
    return [f"{major}.{of}" for major, of in (ours, supported[-1])]


VERSIONS = lowest_and_newest()


def test_every_file_says_the_same_lowest_python():
    lowest = VERSIONS[0]
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert f"sys.version_info < {minor(lowest)}" in makefile
    assert f"--python-version {lowest} " in makefile
    assert f"Python {lowest} or newer" in (ROOT / "README.md").read_text(encoding="utf-8")


def test_ci_runs_on_both():
    assert CI["jobs"]["lint-and-test"]["strategy"]["matrix"]["python"] == VERSIONS


@cache
def interpreter(version):
    """Give the path of that Python, or skip the test where there is none."""
    name = f"python{version}"
    pyenv = Path(os.environ.get("PYENV_ROOT", "/nowhere"))
    places = [sys.executable, shutil.which(name), *sorted(pyenv.glob(f"versions/*/bin/{name}"))]
    question = "import sys; print('%d.%d' % sys.version_info[:2])"
    for place in filter(None, places):
        done = subprocess.run([place, "-c", question], capture_output=True, text=True)
        if done.stdout.strip() == version:  # a shim of pyenv may be there without what it starts
            return place
    pytest.skip(f"no Python {version} on this machine; CI has it")


@pytest.mark.parametrize("version", VERSIONS)
def test_our_code_compiles_without_a_warning(version):
    program = "import sys\nfor p in sys.argv[1:]: compile(open(p, 'rb').read(), p, 'exec')"
    done = subprocess.run(
        [interpreter(version), "-W", "error", "-c", program, *OURS], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def names_of_the_standard_library(tree):
    """Give each `module`, and each `module.name` of it, that a file uses."""
    modules, found = {}, set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules |= {alias.asname or alias.name: alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and ast.unparse(node.value) in modules:
            found.add(f"{modules[ast.unparse(node.value)]}.{node.attr}")
    found |= set(modules.values())
    return {name for name in found if name.split(".")[0] in sys.stdlib_module_names}


LOOK_UP = """
import pkgutil, sys, warnings
warnings.simplefilter("error")
for name in sys.stdin.read().split():
    try:
        pkgutil.resolve_name(name)
    except (ImportError, AttributeError, Warning) as error:
        print(f"{name}: {error}")
"""


def missing_from(version, names):
    done = subprocess.run(
        [interpreter(version), "-c", LOOK_UP],
        input="\n".join(sorted(names)), capture_output=True, text=True, check=True,
    )  # fmt: skip
    return done.stdout


@pytest.mark.parametrize("version", VERSIONS)
def test_what_our_code_uses_of_the_standard_library_is_there(version):
    trees = [ast.parse(path.read_text(encoding="utf-8")) for path in OURS]
    used = set().union(*map(names_of_the_standard_library, trees))
    assert {"hashlib.file_digest", "tomllib.loads"} <= used
    assert missing_from(version, used) == ""
    assert missing_from(version, {"json.loads", "json.load_all"}).startswith("json.load_all: ")


# What is pinned


def pins(file, version):
    """Give the version of each package that a file pins for a Python on this kind of machine."""
    of_it = {"python_version": version, "python_full_version": f"{version}.0", "extra": ""}
    environment = default_environment() | of_it
    found = {}
    for line in re.findall(r"(?m)^[a-zA-Z0-9].*?(?= \\$)", (ROOT / file).read_text("utf-8")):
        requirement = Requirement(line)
        if requirement.marker is None or requirement.marker.evaluate(environment):
            name = canonicalize_name(requirement.name)
            assert name not in found, f"{file}: two versions of {name} for Python {version}"
            (found[name],) = [each.version for each in requirement.specifier]
    return found, environment


def needs(distribution, extras, environment):
    """Give name and extras of what an installed package needs in another environment."""
    for line in distribution.requires or []:
        requirement = Requirement(line)
        cases = [{**environment, "extra": extra} for extra in ("", *extras)]
        if requirement.marker is None or any(map(requirement.marker.evaluate, cases)):
            yield canonicalize_name(requirement.name), tuple(sorted(requirement.extras))


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("file", ["requirements.txt", "requirements/test.txt"])
def test_everything_that_is_needed_is_pinned_and_takes_this_python(file, version):
    pinned, environment = pins("requirements.txt", version)
    pinned |= pins(file, version)[0]
    named = {"requirements.txt": "requirements/requirements.in"}.get(file, file)
    source = (ROOT / named).with_suffix(".in").read_text(encoding="utf-8")
    wanted = [Requirement(line.split("#")[0]) for line in re.findall(r"(?m)^[a-z].*", source)]
    todo = [(canonicalize_name(each.name), tuple(sorted(each.extras))) for each in wanted]
    seen, refusing, absent = set(), [], []
    while todo:
        name, extras = todo.pop()
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        if name not in pinned:
            absent.append(name)
            continue
        distribution = next(iter(importlib.metadata.distributions(name=name)), None)
        if distribution is None or distribution.version != pinned[name]:
            continue  # for another Python than this one
        takes = distribution.metadata.get("Requires-Python")
        if takes and f"{version}.99" not in SpecifierSet(takes):
            refusing.append(f"{name} {takes}")
        todo += needs(distribution, extras, environment)
    assert len(seen) > 10
    assert (absent, refusing) == ([], [])


# The document


def test_every_file_that_the_document_names_exists():
    named = re.findall(r"`((?:detector|stages|conf|docs|data)/[\w/.]+)`", DOCUMENT)
    assert len(named) > 10
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_package_with_a_version_of_its_own_has_a_section():
    source = (ROOT / "requirements/requirements.in").read_text(encoding="utf-8")
    pinned = re.findall(r"(?m)^([a-z-]+)(?:\[.*\])?==", source)
    assert {"tensorflow", "keras", "dvc", "dvclive", "kaggle", "numpy"} <= set(pinned)
    headings = " ".join(re.findall(r"(?m)^## (.*)", DOCUMENT)).lower()
    assert [name for name in pinned if name not in re.findall(r"[\w-]+", headings)] == []


PROMISED = {"_exit", "_asdict", "_fields", "_replace"}  # of os and of named tuples


def internals(tree):
    """Give what a file uses of a library that the library does not promise to keep."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute) or node.attr.startswith("__"):
            continue
        whole, owner = ast.unparse(node), ast.unparse(node.value)
        private = node.attr.startswith("_") and owner not in ("self", "cls")
        if ".src." in whole or (private and node.attr not in PROMISED):
            yield whole if ".src." in whole else node.attr


def test_every_internal_of_a_library_that_our_code_uses_is_in_the_document():
    ours = [path for path in OURS if path.parts[len(ROOT.parts)] in ("detector", "stages", "conf")]
    used = {name for path in ours for name in internals(ast.parse(path.read_text("utf-8")))}
    assert "_flatten_layers" in used
    assert [name for name in sorted(used) if name not in DOCUMENT] == []
