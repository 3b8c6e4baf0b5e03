"""Files and folders that appear complete or not at all; JSON with numbers that are some."""

import json
import math
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from detector.base.errors import ExpectedError


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


def write_json(path: str | os.PathLike[str], content: Any) -> None:
    """Write JSON with an indent of two spaces and a line break at its end, in UTF-8.

    Raises ExpectedError when a number in `content` is NaN or infinite: it is no result.
    """
    path = Path(path)
    for key, value in _not_finite(content, ""):
        raise ExpectedError(
            f"{path.name.removeprefix('.partial.')}: {key or 'its content'} would be {value}, "
            "which is no result; if it comes of a network, its training diverged: train it again "
            "with a smaller learning_rate"
        )
    path.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")


def parse_json(text: str | bytes) -> Any:
    """Return what JSON holds. Raises ValueError for other text and for numbers not finite."""
    return json.loads(text, parse_constant=_finite, parse_float=_finite)


def _finite(text: str) -> float:
    if not math.isfinite(float(text)):
        raise ValueError(f"{text} is no finite number")
    return float(text)


def _not_finite(tree: Any, place: str) -> Iterator[tuple[str, float]]:
    """Give the numbers that are not finite, each with its keys, as a.b.0."""
    match tree:
        case dict() | list() | tuple():
            items = tree.items() if isinstance(tree, dict) else enumerate(tree)
            for key, value in items:
                yield from _not_finite(value, f"{place}.{key}" if place else str(key))
        case float() if not math.isfinite(tree):
            yield place, tree
