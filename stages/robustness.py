"""Stage robustness: what one trained backbone predicts of the images of data/corrupted."""

import argparse

import numpy as np
from tqdm import tqdm

from detector.base.files import replacing, write_json
from detector.base.params import read_params
from detector.base.program import run
from detector.base.section import Seed, Threads
from detector.corruption.corruptions import Corrupted, load_corrupted
from detector.evaluation.decision import read_decision
from detector.evaluation.levels import level_table, summary
from detector.evaluation.settings import EvaluateParams
from detector.networks.runtime import start_keras
from detector.networks.settings import Models


def main() -> None:
    """Write the metrics of each kind and level of corruption, and their mean, of `--model`."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", required=True, help="a key of `model` in params.yaml")
    name = parser.parse_args().model
    params = read_params(seed=Seed, threads=Threads, model=Models, evaluate=EvaluateParams)
    corrupted = load_corrupted("data/corrupted")
    decision = read_decision(f"models/{name}.decision.json")
    probabilities = predict(name, params, corrupted)
    judged = (corrupted.labels, probabilities, corrupted.levels, decision)
    table = level_table(*judged, params.evaluate.resamples, params.seed)
    found = summary(*judged)
    with replacing(f"data/results/{name}/robustness") as folder:
        folder.mkdir()
        table.to_csv(folder / "table.csv", index=False)
        np.save(folder / "probabilities.npy", probabilities, allow_pickle=False)
        np.save(folder / "labels.npy", corrupted.labels, allow_pickle=False)
        write_json(folder / "summary.json", found)


def predict(name: str, params, corrupted: Corrupted) -> np.ndarray:
    """Give the raw probability of REAL, float32 (levels, images)."""
    start_keras(seed=0, threads=params.threads)  # nothing is random in here
    from detector.base.finite import require_finite
    from detector.networks.batches import OrderedBatches
    from detector.networks.model import load_trained

    size = corrupted.images.shape[2]
    model = load_trained(f"models/{name}.weights.h5", params.model[name], size)
    levels = range(len(corrupted.levels))
    said = np.stack(
        [
            model.predict(
                OrderedBatches(corrupted.split(level), params.evaluate.batch_size), verbose=0
            )[:, 0]
            for level in tqdm(levels, desc=f"robustness of {name}", unit="level", disable=None)
        ]
    )
    require_finite([("data/corrupted", said)], f"the answers of {name}")
    return said


if __name__ == "__main__":
    run(main)
