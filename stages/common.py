"""What every stage script needs: its declared params, and errors in one sentence."""

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from detector.errors import ExpectedError
from detector.params import Params, validate

PARAMS_FILE = Path("params.yaml")


def run(main: Callable[[], None]) -> None:
    """Run a stage; an ExpectedError becomes one line on stderr and exit code 1.

    SIGINT and SIGTERM end it with 130 and 143, as a shell counts them, once
    `detector.files.replacing` has taken away what is half-written.
    """
    signal.signal(signal.SIGTERM, _end)
    try:
        main()
    except ExpectedError as error:
        sys.exit(f"error: {error}")
    except MemoryError:
        sys.exit(
            "error: the memory of this machine is used up; end other programs, or lower "
            "train.batch_size and evaluate.batch_size"
        )
    except KeyboardInterrupt:
        sys.exit(130)


def _end(number: int, frame: Any) -> None:
    sys.exit(128 + number)


def read_params() -> Any:
    """Check all of params.yaml and give the part that dvc.yaml declares for the running stage.

    A section declared in full is its pydantic model; of a section declared in part only the
    declared fields exist, so that a stage cannot use a value that DVC does not watch.
    Raises ExpectedError for a bad file.
    """
    try:
        tree = yaml.safe_load(PARAMS_FILE.read_text(encoding="utf-8"))
    except MemoryError:
        raise
    except Exception as error:  # besides YAMLError what a value raises: ValueError for 2024-02-30
        raise ExpectedError(
            f"{PARAMS_FILE}: cannot be read ({' '.join(str(error).split())}); "
            f"'git checkout {PARAMS_FILE}' brings the committed one back"
        ) from error
    params = validate(tree)
    stage = os.environ.get("DVC_STAGE")
    if stage is None:  # run by hand, not by DVC
        return params
    import dvc.api  # takes a second to import

    # Without the file's name: of a file that is named, DVC gives all, declared or not.
    return _declared(params, dvc.api.params_show(stages=[stage]))


def _declared(params: Params | Any, tree: dict[str, Any]) -> Any:
    fields = dict(params)
    picked = {
        name: _declared(fields[name], sub) if isinstance(sub, dict) else fields[name]
        for name, sub in tree.items()
    }
    if set(picked) == set(fields) and all(picked[name] is fields[name] for name in fields):
        return params
    return picked if isinstance(params, dict) else SimpleNamespace(**picked)
