"""Part throughput: images a second of each backbone, and the share of the machine's peak."""

import argparse
import statistics
from typing import Any

from benchmarks.common import Measured, params, params_of, row, run_part, say
from benchmarks.machine import matmul_peak
from detector.base.arrays import Split, load_split
from detector.networks.runtime import start_keras

TRAINING = 3  # a backward pass takes two products for each one of the forward pass
FAST_ENOUGH = 3000  # images a second of cnn32
SMALL_ENOUGH = 1_000_000  # parameters of cnn32


def measure(options: argparse.Namespace) -> Measured:
    """Time prediction and training of every backbone of model=all at its quick size."""
    split = load_split(options.arrays / "train")
    start_keras(1)
    peak = matmul_peak("float32", options.seconds / 3)
    names = ("cnn32",) if options.quick else tuple(params("model=all").model)
    networks = {name: speeds(name, split, peak, options) for name in names}
    rows = [row("float32 matrix multiplication, best", peak / 1e9, "GFLOP/s")]
    for name, found in networks.items():
        own = name == "cnn32"
        for kind in ("prediction", "training"):
            bar = FAST_ENOUGH if own and kind == "prediction" else None
            rate = found[f"{kind}_images_per_second"]
            rows.append(row(f"{name}: {kind}", rate, "images/s", at_least=bar))
            share = 100 * found[f"{kind}_share_of_peak"]
            rows.append(row(f"{name}: {kind}, share of that peak", share, "%"))
        bar = SMALL_ENOUGH if own else None
        rows.append(row(f"{name}: parameters", found["parameters"], "", at_most=bar))
    return {"matmul_peak_flops_per_second": peak, "networks": networks}, rows


def speeds(name: str, split: Split, peak: float, options: argparse.Namespace) -> dict[str, Any]:
    """Time one backbone on resident batches."""
    import keras

    from benchmarks.stretches import Resident, compiled, fit_seconds, steps_for
    from detector.diagnosis import cost
    from detector.diagnosis.cost import inference_rate

    chosen = params_of(name, options)
    keras.config.set_dtype_policy("float32")
    model = compiled(chosen, split.images.shape[1], chosen.seed)
    size = cost.size(model)
    batch_size = min(chosen.train.batch_size, len(split))
    predicting = [
        inference_rate(model, split.images, chosen.evaluate.batch_size, options.seconds / 3)
        for _ in range(options.repeats)
    ]
    fit_seconds(model, split, batch_size, 3)
    resident = Resident(model, split, batch_size)
    steps = steps_for(options.seconds / 3, resident.seconds(10))
    training = [batch_size / resident.seconds(steps) for _ in range(options.repeats)]
    predictions = [entry["inference_images_per_second"] for entry in predicting]
    predicted, trained = statistics.median(predictions), statistics.median(training)
    say(f"throughput: {name}: {predicted:.0f} images/s, in training {trained:.0f}")
    flops = size["flops_per_image"]
    return {
        "parameters": size["parameters"],
        "flops_per_image": flops,
        "prediction_batch_size": predicting[0]["batch_size"],
        "prediction_raw": predictions,
        "prediction_images_per_second": predicted,
        "prediction_share_of_peak": flops * predicted / peak,
        "training_batch_size": batch_size,
        "training_raw": training,
        "training_images_per_second": trained,
        "training_share_of_peak": TRAINING * flops * trained / peak,
    }


if __name__ == "__main__":
    run_part("throughput", measure, __doc__)
