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
    """Return a line for each kind of work of a backbone: what it took, if that is known."""
    timed = of_these_weights(name)
    return [
        f"{name}: "
        + (words.format(**timed[work]) if work in timed else f"{work} not timed in this workspace")
        for work, words in IN_WORDS.items()
    ]


def of_these_weights(name: str) -> dict[str, dict[str, Any]]:
    """Return the timing of each kind of work of a backbone that was timed in this workspace.

    Of the weights that are there now alone; a file that was damaged counts as missing.
    """
    timed = {}
    for work, words in IN_WORDS.items():
        try:
            timing = json.loads((FOLDER / name / f"{work}.json").read_text(encoding="utf-8"))
            words.format(**timing)
            if timing["weights_sha256"] == _weights(name):
                timed[work] = timing
        except (OSError, ValueError, LookupError, TypeError):
            continue
    return timed


def _weights(name: str) -> str:
    with open(f"models/{name}.weights.h5", "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
