"""The part of params.yaml that a stage works by."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml
from pydantic import ConfigDict, create_model

from detector.base.errors import ExpectedError
from detector.base.section import Section, check

PARAMS_FILE = Path("params.yaml")


class _Some(Section):
    """Some sections of the file; the others are for other stages."""

    model_config = ConfigDict(extra="ignore")


def read_params(**schemas: Any) -> Any:
    """Return sections of params.yaml, each checked by its schema, as attributes.

    schemas: by the name of the section, such as `train=TrainParams`. Under DVC only what dvc.yaml
    declares for the running stage is there: a section declared in full is its pydantic model, of
    one declared in part only the declared fields exist, so that a stage cannot use a value that
    DVC does not watch. Raises ExpectedError for a file that cannot be read or holds a wrong value.
    """
    fields = {name: (schema, ...) for name, schema in schemas.items()}
    params = check(create_model("Params", __base__=_Some, **fields), read_tree())
    stage = os.environ.get("DVC_STAGE")
    if stage is None:  # run by hand, not by DVC
        return params
    import dvc.api  # takes a second to import

    # Without the name of the file: with it DVC gives the whole file, whatever is declared.
    return _declared(params, dvc.api.params_show(stages=[stage]))


def read_tree() -> Any:
    """Return what YAML makes of params.yaml. Raises ExpectedError when it is not YAML."""
    try:
        return yaml.safe_load(PARAMS_FILE.read_text(encoding="utf-8"))
    except MemoryError:
        raise
    except Exception as error:  # besides YAMLError what a value raises: ValueError for 2024-02-30
        raise ExpectedError(
            f"{PARAMS_FILE}: cannot be read ({' '.join(str(error).split())}); "
            f"'git checkout {PARAMS_FILE}' brings the committed one back"
        ) from error


def _declared(params: Any, tree: dict[str, Any]) -> Any:
    fields = dict(params)
    picked = {
        name: _declared(fields[name], sub) if isinstance(sub, dict) else fields[name]
        for name, sub in tree.items()
    }
    if set(picked) == set(fields) and all(picked[name] is fields[name] for name in fields):
        return params
    return picked if isinstance(params, dict) else SimpleNamespace(**picked)
