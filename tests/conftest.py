"""Keep the tests away from the account of who runs them: home, Kaggle key, caches."""

import os
from pathlib import Path

import pytest

OF_THE_USER = ("KAGGLE_", "KERAS_HOME", "DVC_", "XDG_")


@pytest.fixture(scope="session")
def matplotlib_folder(tmp_path_factory) -> Path:
    """One for all tests: matplotlib looks through the fonts of the machine when it is new."""
    return tmp_path_factory.mktemp("matplotlib")


@pytest.fixture(autouse=True)
def isolated(tmp_path_factory, monkeypatch, matplotlib_folder) -> None:
    for name in list(os.environ):
        if name.startswith(OF_THE_USER):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path_factory.mktemp("home")))
    monkeypatch.setenv("MPLCONFIGDIR", str(matplotlib_folder))
