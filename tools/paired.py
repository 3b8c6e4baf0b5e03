"""Test two results of the same images against each other: another recipe, seed or commit.

    python -m tools.paired data/results/cnn32 elsewhere/data/results/cnn32

Each is a folder data/results/<backbone>, for example a copy made before an experiment. Prints
McNemar's exact test at the frozen thresholds and the difference over damaged images.
"""

import argparse
from pathlib import Path

import numpy as np

from detector.errors import ExpectedError
from detector.evaluation.comparison import add_robustness, paired_tests, pairs_in_words
from detector.evaluation.results import read_result
from stages.common import run


def main() -> None:
    """Print the tests of the first folder's network minus the second's."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=Path, help="a folder data/results/<backbone>")
    parser.add_argument("second", type=Path, help="another one, of the same test images")
    parser.add_argument("--resamples", type=int, default=2000, help="of the bootstrap")
    parser.add_argument("--seed", type=int, default=1, help="of the bootstrap")
    arguments = parser.parse_args()
    folders = {"first": arguments.first, "second": arguments.second}
    found = {name: read_result(folder) for name, folder in folders.items()}
    first, second = found.values()
    if not first.test["name"].equals(second.test["name"]) or not np.array_equal(
        first.damaged_labels, second.damaged_labels
    ):
        raise ExpectedError(
            f"{arguments.first} and {arguments.second} judged different images; a paired test "
            "needs the same data, seed and evaluate.robustness"
        )
    pairs = paired_tests(
        first.test["label"].to_numpy(),
        {name: result.calibrated for name, result in found.items()},
        {name: result.decision.threshold for name, result in found.items()},
        arguments.resamples,
        arguments.seed,
    )
    right = {name: result.damaged_right for name, result in found.items()}
    add_robustness(pairs, first.damaged_labels, right, arguments.resamples, arguments.seed)
    for name, result in found.items():
        clean = (result.calibrated >= result.decision.threshold) == (result.test["label"] == 1)
        print(
            f"{name}: {folders[name]}: accuracy {clean.mean():.4f} at the frozen threshold, "
            f"mean over damaged images {result.damaged_right[1:].mean():.4f}"
        )
    print(pairs_in_words(pairs))


if __name__ == "__main__":
    run(main)
