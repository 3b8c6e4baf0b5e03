"""Files and folders that appear complete or not at all."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from detector.errors import ExpectedError


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
