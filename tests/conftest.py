"""Keep the tests away from the account of who runs them: home, Kaggle key, caches."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kaggle_server import SMALL, KaggleServer, Place, serve, use_kaggle

OF_THE_USER = ("KAGGLE_", "KERAS_HOME", "DVC_", "XDG_")

# Hypothesis keeps what it learns from the source even without a database; not in a new folder.
os.environ.setdefault(
    "HYPOTHESIS_STORAGE_DIRECTORY", str(Path(__file__).parent.parent / ".work/hypothesis")
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put files with slow tests first: at the end one process would wait for the other's."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


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


@pytest.fixture(autouse=True)
def figures_end_with_their_test() -> Iterator[None]:
    """Close what a test drew: others look whether a figure stays open."""
    yield
    if pyplot := sys.modules.get("matplotlib.pyplot"):
        pyplot.close("all")


@pytest.fixture
def kaggle() -> Iterator[KaggleServer]:
    with serve(SMALL) as server:
        yield server


@pytest.fixture
def place(tmp_path: Path, kaggle: KaggleServer) -> Place:
    place = Place(tmp_path, kaggle.endpoint)
    use_kaggle(place)
    return place
