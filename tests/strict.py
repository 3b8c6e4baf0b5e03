"""Deprecated uses in our own code as errors, in the processes that tests start."""

import os

from tests.helpers import ROOT

FOLDERS = ("detector", "stages", "conf", "docs", "benchmarks", "data", "tests")
OURS = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))
DEPRECATIONS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)


def module_name(path):
    """Give the name by which a module is imported; the sample's scripts have no package."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    if parts[:2] == ("data", "sample") or path.stem.startswith(("test_", "conftest")):
        return path.stem
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


MODULES = [module_name(path) for path in OURS]


def strict():
    """Give the variables under which a deprecated use in our code ends a process of Python.

    A module in PYTHONWARNINGS is its whole name, not a pattern, so each one is listed. A stage is
    `__main__`. Processes that it starts have the same variables.
    """
    names = ["__main__", *MODULES]
    filters = [f"error::{each.__name__}:{name}" for each in DEPRECATIONS for name in names]
    return {**os.environ, "PYTHONWARNINGS": ",".join(filters)}
