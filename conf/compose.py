"""Compose conf/ into params.yaml without running anything (`make params`).

It does what `dvc exp run` does before it runs, by DVC's own function. Arguments are
overrides as for `-S`: python -m conf.compose data=cifake train.epochs=3
"""

import sys
from pathlib import Path

from dvc.utils.hydra import compose_and_dump
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from detector.errors import ExpectedError
from stages.common import PARAMS_FILE, run

CONF = Path(__file__).resolve().parent


def compose(target: Path, overrides: list[str]) -> None:
    """Write conf/, with `overrides`, to `target`. Raises ExpectedError for a wrong override."""
    try:
        compose_and_dump(target, str(CONF), None, "config", "", overrides)
    except (HydraException, OmegaConfBaseException) as error:
        raise ExpectedError(f"conf: {' '.join(str(error).split())}") from error


if __name__ == "__main__":
    run(lambda: compose(PARAMS_FILE, sys.argv[1:]))
