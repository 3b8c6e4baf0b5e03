"""Compose conf/ into params.yaml without running anything (`make params`).

It does what `dvc exp run` does before it runs, by DVC's own function. Arguments are
overrides as for `-S`: python -m conf.compose data=cifake train.epochs=3
"""

import sys
from pathlib import Path

from dvc.utils.hydra import compose_and_dump
from hydra.errors import HydraException
from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException

from detector.base.errors import ExpectedError
from detector.base.files import replacing
from detector.base.params import PARAMS_FILE
from detector.base.program import run

CONF = Path(__file__).resolve().parent


def compose(target: Path, overrides: list[str]) -> None:
    """Write conf/, with `overrides`, to `target`.

    Raises ExpectedError for a wrong override, a file in conf/ that cannot be read, which it names
    with the line, and a target that cannot be written.
    """
    with replacing(target) as path:
        try:
            compose_and_dump(path, str(CONF), None, "config", "", overrides)
        except (HydraException, OmegaConfBaseException) as error:
            raise ExpectedError(f"conf: {in_one_line(error)}") from error
        except MemoryError:
            raise
        except Exception as error:  # Hydra lets through what a YAML parser raises
            for file in sorted(CONF.rglob("*.yaml")):
                require_readable(file)
            if isinstance(error, OSError):
                raise  # it is of the target
            raise ExpectedError(f"conf: {in_one_line(error)}") from error


def require_readable(path: Path) -> None:
    """Raise ExpectedError, with the name and the line, for a file that is no YAML in UTF-8."""
    try:
        OmegaConf.load(path)
    except MemoryError:
        raise
    except Exception as error:  # besides YAMLError what a value raises, such as ValueError
        place = path.relative_to(CONF.parent).as_posix()
        if mark := getattr(error, "problem_mark", None):
            place += f", line {mark.line + 1}"
        elif isinstance(error, UnicodeDecodeError):
            place += f", line {error.object[: error.start].count(10) + 1}"
        first = str(error).split("\n")[0]
        raise ExpectedError(
            f"{place}: cannot be read as YAML ({getattr(error, 'problem', first)})"
        ) from error


def in_one_line(error: Exception) -> str:
    """Return what an error says, or else what caused it; its kind where neither has words."""
    words = str(error) or str(error.__cause__ or "") or type(error).__name__
    return " ".join(words.split())


if __name__ == "__main__":
    run(lambda: compose(PARAMS_FILE, sys.argv[1:]))
