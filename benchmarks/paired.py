"""Test two results of the same images against each other: another recipe, seed or commit.

    cp -r data/results/cnn32 .work/before        # then run an experiment
    python -m benchmarks.paired data/results/cnn32 .work/before

Each is a folder as data/results/<backbone>. A copy lies elsewhere: data/results is of the backbones
of the last run alone. Prints McNemar's exact test at the frozen thresholds and the difference over
corrupted images.
"""

import argparse
from pathlib import Path

from detector.base.program import run
from detector.comparison.paired import add_robustness, paired_tests, pairs_in_words
from detector.comparison.results import read_result, require_same_images


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
    require_same_images({f"{folders[name]}": result for name, result in found.items()})
    pairs = paired_tests(
        found["first"].test["label"].to_numpy(),
        {name: result.test["probability"].to_numpy() for name, result in found.items()},
        {name: result.right for name, result in found.items()},
        arguments.resamples,
        arguments.seed,
    )
    corrupted = {name: result.corrupted_right for name, result in found.items()}
    add_robustness(pairs, found["first"].corrupted_labels, corrupted)
    for name, result in found.items():
        print(
            f"{name}: {folders[name]}: accuracy {result.right.mean():.4f} at the frozen threshold, "
            f"mean over corrupted images {result.corrupted_right[1:].mean():.4f}"
        )
    print(pairs_in_words(pairs))


if __name__ == "__main__":
    run(main)
