"""What the mutation tool is told: files and tests that exist, in the form that mutmut reads."""

from configparser import ConfigParser

import pytest

from tests.helpers import ROOT
from tests.mutants import AREAS, prepare


@pytest.mark.parametrize("name", AREAS)
def test_an_area_is_of_files_and_tests_that_exist(name, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    prepare(AREAS[name], tmp_path)
    settings = ConfigParser()
    settings.read(tmp_path / "setup.cfg")
    told = {key: value.split() for key, value in settings["mutmut"].items()}
    assert all(list(tmp_path.glob(pattern)) for pattern in told["only_mutate"])
    tests = told["pytest_add_cli_args_test_selection"]
    assert tests and all((tmp_path / path).is_file() for path in tests)
    assert all((tmp_path / path).exists() for path in told["also_copy"])
    assert settings["mutmut"]["pytest_add_cli_args"].strip().split("\n")[0] == "-m"
    assert (tmp_path / "pyproject.toml").is_file() and "mutmut" not in (
        tmp_path / "pyproject.toml"
    ).read_text()
