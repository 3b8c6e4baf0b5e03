"""What every stage script needs: its declared params, safe outputs, errors in one sentence."""

import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from detector.errors import ExpectedError
from detector.params import Params, validate

PARAMS_FILE = Path("params.yaml")


def run(main: Callable[[], None]) -> None:
    """Run a stage; an ExpectedError becomes one line on stderr and exit code 1.

    SIGINT and SIGTERM end it with 130 and 143, as a shell counts them, once `replacing` has taken
    away what is half-written.
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
        params = validate(yaml.safe_load(PARAMS_FILE.read_text(encoding="utf-8")))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise ExpectedError(
            f"{PARAMS_FILE}: cannot be read ({' '.join(str(error).split())}); "
            f"'git checkout {PARAMS_FILE}' brings the committed one back"
        ) from error
    stage = os.environ.get("DVC_STAGE")
    if stage is None:  # run by hand, not by DVC
        return params
    import dvc.api  # takes a second to import

    return _declared(params, dvc.api.params_show(str(PARAMS_FILE), stages=[stage]))


def _declared(params: Params | Any, tree: dict[str, Any]) -> Any:
    fields = dict(params)
    picked = {
        name: _declared(fields[name], sub) if isinstance(sub, dict) else fields[name]
        for name, sub in tree.items()
    }
    if set(picked) == set(fields) and all(picked[name] is fields[name] for name in fields):
        return params
    return picked if isinstance(params, dict) else SimpleNamespace(**picked)


@contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a path to write to that becomes `path` (file or folder) when the block succeeds.

    After an error nothing is left; after a kill only a hidden `.partial.name` beside it, which
    Git ignores and the next run overwrites. Raises ExpectedError when the disk is full or the
    place cannot be written.
    """
    path = Path(path)
    partial = path.with_name(f".partial.{path.name}")  # h5py and NumPy want the suffix
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove(partial)
        yield partial
        if path.is_dir():
            _remove(path)  # os.replace replaces no folder that has files
        os.replace(partial, path)
    except OSError as error:
        raise ExpectedError(
            f"{_named(error, path)}: cannot be written ({error.strerror or error}); "
            "free some space or mend the permissions and run again"
        ) from error
    finally:
        with suppress(OSError):  # what is left must not hide why
            _remove(partial)


def _named(error: OSError, path: Path) -> Path:
    """Give what the error names, which may be another out written in the block; else `path`."""
    if not isinstance(error.filename, str):
        return path
    return Path(*(part.removeprefix(".partial.") for part in Path(error.filename).parts))


def _remove(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
