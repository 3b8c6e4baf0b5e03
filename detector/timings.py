"""How long training and prediction took: no outs, since timings differ from run to run.

They are kept in an ignored folder, each with the hash of the weights that it is of: when DVC brings
other weights from its cache, what was timed before is not theirs.
"""

import hashlib
import json
from pathlib import Path
from typing import Any

from detector.base.files import replacing

FOLDER = Path(".work/cost")
IN_WORDS = {
    "training": "training {train_images_per_second:,.0f} images/s, {seconds_total:,.1f} s in all, "
    "{seconds_to_best_validation:,.1f} s to the best validation accuracy",
    "prediction": "prediction {inference_images_per_second:,.0f} images/s "
    "in batches of {batch_size}",
}


def keep(name: str, work: str, timing: dict[str, Any]) -> None:
    """Keep the timing of a backbone's `work`, a key of IN_WORDS, and print it in one line.

    timing: of detector.training.clock. Raises ExpectedError when it cannot be written.
    """
    with replacing(FOLDER / name / f"{work}.json") as path:
        text = json.dumps(timing | {"weights_sha256": _weights(name)}, indent=2, allow_nan=False)
        path.write_text(text + "\n", encoding="utf-8")
    print(f"{name}: {IN_WORDS[work].format(**timing)}")


def in_words(name: str) -> list[str]:
    """Return a line for each kind of work of a backbone: what it took, if that is known.

    Known is what was timed in this workspace, of the weights that are there now.
    """
    return [f"{name}: {_of_these_weights(name, work)}" for work in IN_WORDS]


def _of_these_weights(name: str, work: str) -> str:
    try:
        timing = json.loads((FOLDER / name / f"{work}.json").read_text(encoding="utf-8"))
        if timing["weights_sha256"] == _weights(name):
            return IN_WORDS[work].format(**timing)
    except (OSError, ValueError, LookupError, TypeError):
        pass  # there is none, or one that was damaged
    return f"{work} not timed in this workspace"


def _weights(name: str) -> str:
    with open(f"models/{name}.weights.h5", "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
