"""Stage robustness: what one trained backbone says of the damaged images of data/corrupted."""

import argparse

import numpy as np
from tqdm import tqdm

from detector.data.corruptions import Corrupted, load_corrupted
from detector.evaluation.decision import read_decision
from detector.evaluation.robustness import level_table, summary
from detector.files import replacing, write_json
from detector.networks.runtime import start_keras
from stages.common import read_params, run


def main() -> None:
    """Write the metrics of each kind and level of damage, and their mean, of `--model`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a key of `model` in params.yaml")
    name = parser.parse_args().model
    params = read_params()
    corrupted = load_corrupted("data/corrupted")
    decision = read_decision(f"models/{name}.decision.json")
    probabilities = predict(name, params, corrupted)
    judged = (corrupted.labels, probabilities, corrupted.levels, decision)
    table = level_table(*judged, params.evaluate.resamples, params.seed)
    found = summary(*judged)
    with (
        replacing(f"data/results/{name}/robustness") as folder,
        replacing(f"metrics/{name}/robustness.json") as metrics,
    ):
        folder.mkdir()
        table.to_csv(folder / "table.csv", index=False)
        np.save(folder / "probabilities.npy", probabilities, allow_pickle=False)
        np.save(folder / "labels.npy", corrupted.labels, allow_pickle=False)
        for path in (folder / "summary.json", metrics):
            write_json(path, found)


def predict(name: str, params, corrupted: Corrupted) -> np.ndarray:
    """Give the raw probability of REAL, float32 (levels, images)."""
    start_keras(seed=0, threads=params.threads)  # nothing is random in here
    from detector.networks.batches import OrderedBatches
    from detector.networks.finite import require_finite
    from detector.networks.model import load_trained

    size = corrupted.images.shape[2]
    model = load_trained(f"models/{name}.weights.h5", params.model[name], size)
    levels = range(len(corrupted.levels))
    said = np.stack(
        [
            model.predict(
                OrderedBatches(corrupted.split(level), params.evaluate.batch_size), verbose=0
            )[:, 0]
            for level in tqdm(levels, desc=f"robustness of {name}", unit="level", mininterval=0.5)
        ]
    )
    require_finite([("data/corrupted", said)], f"the answers of {name}")
    return said


if __name__ == "__main__":
    run(main)
