"""The sentences and tables of README.md and sample/README.md that give measured figures."""

import json
import re
import statistics
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pandas as pd
import yaml
from scipy.stats import binomtest

from detector.params import validate

ROOT = Path(__file__).resolve().parents[2]


def readme() -> list[str]:
    """Return those of README.md. Raises OSError, ValueError or LookupError for other results."""
    return [*on_cifake(), *results(), *why_it_failed(), *speed(), *measured()]


def read(path: str) -> Any:
    """Return the content of a JSON file."""
    return json.loads((ROOT / path).read_text(encoding="utf-8"))


def benchmark(part: str) -> list[dict[str, Any]]:
    """Return the rows of a benchmark's result: what, value, unit, at_most or at_least."""
    return read(f"benchmarks/results/{part}.json")["rows"]


def rows(part: str) -> dict[str, float]:
    """Return the values of a benchmark's result, by what was measured."""
    return {row["what"]: row["value"] for row in benchmark(part)}


def percents(*shares: float, digits: int = 1) -> list[str]:
    """Return 97.2 for 0.97249, from the six digits that metrics are stored with."""
    return [f"{100 * round(share, 6):.{digits}f}" for share in shares]


def on_cifake() -> list[str]:
    """Return the table of the runs on CIFAKE."""
    text = (ROOT / "results/cifake/README.md").read_text(encoding="utf-8")
    run = "results/cifake/cnn32_fast_seed1"
    epochs = yaml.safe_load((ROOT / run / "params.yaml").read_text("utf-8"))["train"]["epochs"]
    n = read(f"{run}/data/results/cnn32/test/evaluation.json")["test"]["n"]
    return [
        f"from random weights, {epochs} epochs (`train=fast`), on all {n:,} test images;",
        re.search(r"(?m)(^\|.*\|\n)+", text)[0].strip(),
    ]


def results() -> list[str]:
    """Return the section on the default run."""
    compare = read("plots/compare/compare.json")
    params = validate(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")))
    table = re.findall(
        r"(?m)^\|.*\|$", (ROOT / "plots/compare/compare.md").read_text(encoding="utf-8")
    )
    report = (ROOT / "docs/report/index.md").read_text(encoding="utf-8")
    python, tensorflow, keras = (
        re.search(rf"(?m)^\| {name} +\| +(\S+) \|$", report)[1]
        for name in ("Python", "tensorflow", "keras")
    )
    resnet, inception = (
        compare[f"{name} minus cnn32"]["mcnemar"] for name in ("resnet50", "inceptionv3")
    )
    chances = [
        binomtest(pair["only_a"], pair["only_a"] + pair["only_b"]).pvalue
        for pair in (resnet, inception)
    ]
    levels = pd.read_csv(ROOT / "plots/compare/robustness.csv")
    corrupted = levels[levels["corruption"] != "none"].groupby("backbone")["level"].count()
    means = percents(*(read(f"metrics/{name}.json")["corrupted_accuracy"] for name in params.model))
    images = counts(params.data.path)
    trained = round(images["train"].total() * (1 - params.preprocess.validation_fraction))
    tests = images["test"].total()
    return [
        f"(`data=sample model=default train=quick`, seed {params.seed}, "
        f"{tests} test images, of which half are REAL; random "
        f"weights, {params.train.epochs} epochs of {trained:,} images; ResNet-50 and cnn32 at "
        f"{size('cnn32')['input_pixels']} pixels, InceptionV3 at "
        f"{size('inceptionv3')['input_pixels']}) on two cores of an Intel Xeon, "
        f"Python {python}, TensorFlow {tensorflow}, Keras {keras}.",
        "\n".join(table),
        f"cnn32 is our own network of {size('cnn32')['parameters']:,} parameters",
        f"it is right on {resnet['only_b']} images that ResNet-50 is wrong on, and wrong on "
        f"{resnet['only_a']} that ResNet-50 is right on (McNemar's exact p = {chances[0]:.2g}); "
        f"against InceptionV3 it is {inception['only_b']} to {inception['only_a']} "
        f"(p = {chances[1]:.2g}).",
        f"mean accuracy over {corrupted.max() // 1} levels is {means[0]} %, {means[1]} % and "
        f"{means[2]} % (n = {levels['n'].iloc[0]}).",
    ]


def size(name: str) -> dict[str, int]:
    """Return parameters and operations of a backbone of the default run."""
    return read("plots/compare/compare.json")[name]["size"]


def why_it_failed() -> list[str]:
    """Return the section on the paper's ResNet-50."""
    paper = read("detector/comparison/paper_results.json")["backbones"]["ResNet50"]
    found = read("benchmarks/results/collapse.json")
    ways = {
        (r["preprocessing"], r["batchnorm"], r["trainable_layers"], r["bn_momentum"]): r
        for r in found["runs"]
    }

    def way(*key: Any, run: dict[str, Any] | None = None) -> list[str]:
        run = run or ways[key]
        judged = run["accuracy"]
        return percents(run["training_accuracy"][-1], judged["moving"], judged["batch"])

    lasting = [r for key, r in ways.items() if key[0] == "rescale" and key[2] != "all"]
    low, high = (
        f"{100 * pick(r['training_accuracy'][-1] for r in lasting):.0f}" for pick in (min, max)
    )
    apart = [
        statistics.median(layer["mean"] for layer in r["layers"] if layer["learns"])
        for key, r in ways.items()
        if key[1:3] == ("train", "all") and key != ("rescale", "train", "all", 0.99)
    ]
    (moving,) = {f"{100 * r['accuracy']['moving']:.0f}" for r in lasting}
    lines = [
        "| 0 to 1 | trained, momentum .99 | all | {} % | **{} %** | {} % |".format(
            *way("rescale", "train", "all", 0.99)
        ),
        "| 0 to 1 | trained, momentum .9 | all | {} % | **{} %** | {} % |".format(
            *way("rescale", "train", "all", 0.9)
        ),
        "| as pretrained | trained, momentum .99 | all | {} % | **{} %** | {} % |".format(
            *way("imagenet", "train", "all", 0.99)
        ),
        "| as pretrained | frozen | all | {} % | {} % | {} % |".format(
            *way("imagenet", "frozen", "all", 0.99)
        ),
        "| as pretrained | trained, momentum .99 | last 2/7 | {} % | {} % | {} % |".format(
            *way("imagenet", "train", "last 2/7", 0.99)
        ),
        f"| 0 to 1 | trained or frozen | last 2/7, or none | {low} to {high} % | {moving} % | "
        f"{moving} % |",
    ]
    seeds = [read(f"benchmarks/results/collapse_seed{seed}.json")["runs"] for seed in (2, 3)]
    two, three = ([way(run=r) for r in runs] for runs in seeds)
    return [
        f"The paper's ResNet-50 reached {100 * paper['train_accuracy'][-1]:.0f} % in training and "
        f"{100 * paper['validation_accuracy']:.0f} % in validation",
        f"Two epochs of {found['steps']} steps of 64, the paper's recipe at 64 pixels, seed "
        f"{found['seed']}, {found['images']['val']} validation images, {found['seconds'] / 60:.0f} "
        "minutes on two cores",
        "\n".join(lines),
        f"(median of the layers; {min(apart):.1f} to {max(apart):.1f} in the rows below in which "
        "all of them learn)",
        f"with seeds 2 and 3: {two[0][0]} and {three[0][0]} % in training, {two[0][1]} and "
        f"{three[0][1]} % in validation, {two[0][2]} and {three[0][2]} % by batch statistics; "
        f"cured (as pretrained, momentum .9) {two[1][1]} and {three[1][1]} %",
    ]


def speed() -> list[str]:
    """Return what is said of each backbone's speed and of cnn32."""
    networks = read("benchmarks/results/throughput.json")["figures"]["networks"]
    shares = [networks[n]["prediction_share_of_peak"] for n in ("resnet50", "inceptionv3", "cnn32")]
    trials = read("benchmarks/results/ablation.json")["variations"]
    base = trials["cnn32 as it is"]

    def worse(name: str) -> str:
        return f"{100 * abs(base['mean'] - trials[name]['mean']):.1f}"

    lines = [
        f"| {title} | {pixels} | {size(name)['parameters']:,} | "
        f"{size(name)['flops_per_image'] / 1e6:.0f} | "
        f"{networks[name]['training_images_per_second']:,.0f} | "
        f"{networks[name]['prediction_images_per_second']:,.0f} |"
        for title, name, pixels in (
            ("ResNet-50", "resnet50", 32),
            ("InceptionV3", "inceptionv3", 75),
            ("cnn32", "cnn32", 32),
        )
    ]
    residual = trials["residual blocks"]["flops_per_image"] / base["flops_per_image"]
    peak, way = rows("throughput")["float32 matrix multiplication, best"], rows("input_path")
    augmented, keras = way["ours_with_the_paper_augmentation"], way["image_data_generator"]
    return [
        "\n".join(lines),
        f"the whitening ({worse('first layer from random weights')} points), full resolution in "
        f"the first layer ({worse('first layer with stride 2')}), the one-cycle schedule "
        f"({worse('constant rate 0.001')} against a constant rate) and its high rate "
        f"({worse('rate 0.001')} against a third of it).",
        f"residual blocks gain {worse('residual blocks')} points for {residual:.1f} times the "
        "operations.",
        *accuracy(),
        f"it makes {augmented:.0f} images a second, {augmented / keras:.1f} times "
        f"`ImageDataGenerator`'s {keras:.0f}. Predicting takes {100 * min(shares):.0f} to "
        f"{100 * max(shares):.0f} % of the machine's best float32 matrix product "
        f"({peak:.0f} GFLOP/s) with ResNet-50, InceptionV3 and cnn32; training cnn32 "
        f"{100 * networks['cnn32']['training_share_of_peak']:.0f} %.",
    ]


def accuracy() -> list[str]:
    """Return what is said of the time to an accuracy, and rows whose words hold a figure."""
    found, named = read("benchmarks/results/accuracy.json")["figures"], rows("accuracy")
    budgets = ("1/5 of bird_lotfi's time", "the given minutes", "bird_lotfi's time")
    seeds, ends = found["by_seed"], []
    for budget in budgets:
        ends.append(100 * statistics.median(of["cnn32_accuracy"][budget] for of in seeds))
        ends.append(statistics.median(of["cnn32_seconds"][budget] for of in seeds))
    predict, growth = rows("predict"), rows("growth")
    best = [
        max(p["accuracy"] for p in r["curve"]) for r in found["runs"] if r["name"] == "reference"
    ]
    return [
        "cnn32 ends at {:.1f} % after {:.0f} s, {:.1f} % after {:.0f} s and {:.1f} % after "
        "{:.0f} s (medians".format(*ends),
        f"it ends at {named['reference network: accuracy at its end']:.1f} %, and its best moment "
        f"within the {found['reference_minutes']:.0f} minutes has {100 * min(best):.1f} to "
        f"{100 * max(best):.1f} %",
        f"the accuracy of `bird_lotfi` after {found['bird_lotfi_epochs']} epochs "
        f"({named['bird_lotfi: accuracy at its end']:.1f} %, {named['bird_lotfi: seconds']:.0f} s)",
        f"after {found['reference_minutes']:.0f} minutes "
        f"({named['reference network: accuracy at its end']:.1f} %) | "
        f"{named['cnn32: seconds to that accuracy']:.0f} s | {60 * found['cnn32_minutes']:.0f} s |",
        f"loading the weights ({predict['import and weights alone']:.1f} s) | "
        f"{predict['one image / that']:.2f} times | 1.3 |",
        f"images ({growth['epoch of cnn32 over 120,000 images']:.0f} s) | "
        f"{growth['epoch of cnn32: exponent of its seconds by images']:.2f} | 1.05 |",
    ]


def measured() -> list[str]:
    """Return the rows of the table of what is measured, with the bars of the benchmarks."""
    lines = []
    for words, part, names, values, bars in MEASURED:
        found = [row for name in names for row in benchmark(part) if row["what"] == name]
        limits = [f"{row.get('at_most', row.get('at_least', 0)):,.4g}" for row in found]
        said = values.format(*(row["value"] for row in found))
        lines.append(f"{words} | {said} | {bars.format(*limits)} |")
    return lines


INPUT_PATH = "step with input path / step on a resident batch"
BIRD = "cnn32: points over bird_lotfi, in the same time"
LARGE = "1,000,000 images of 32 pixels: peak memory"
EXECUTION = [
    f"cnn32: step, {what} / by default"
    for what in ("steps_per_execution 8", "precision mixed_bfloat16", "XLA",
                 "input by tf.data, shuffled in memory")
]  # fmt: skip
# Words of README.md up to the value, part of the benchmarks, rows of it, value, bar.
MEASURED = (
    ("resident batch: cnn32", "step", [f"cnn32: {INPUT_PATH}"], "{:.3f} times", "{}"),
    ("| ResNet-50, InceptionV3", "step", [f"resnet50: {INPUT_PATH}", f"inceptionv3: {INPUT_PATH}"],
     "{:.3f}, {:.3f} times", "{}"),
    ("decoding, dividing, writing", "preprocess", ["decode, split, write / bare loop"],
     "{:.2f} times", "{}"),
    ("| the audit, in addition", "preprocess", ["audit / bare loop"], "{:.2f} times", "{}"),
    ("| peak memory of preprocessing", "preprocess", ["peak memory of the stage's process tree"],
     "{:,.0f} MiB", "{} MiB"),
    ("way at 224 pixels", "input_path", ["ours / image_data_generator"], "{:,.0f} times", "{}"),
    ("`image_dataset_from_directory` at 224 pixels", "input_path",
     ["ours / image_dataset_from_directory"], "{:,.0f} times", "{}"),
    ("as a share of its time", "accuracy", ["cnn32: time to that accuracy / bird_lotfi's time"],
     "{:.2f}", "{}"),
    ("| points over `bird_lotfi` in its time", "accuracy", [BIRD], "{:.1f}", "{}"),
    ("| cnn32: prediction", "throughput", ["cnn32: prediction"], "{:,.0f} images/s", "{}"),
    ("the network alone", "predict", ["10,000 images / network alone"], "{:.2f} times", "{}"),
    ("| its peak memory with 10,000, and with 40,000", "predict",
     ["peak memory, 10,000 images", "peak memory, 40,000 images"],
     "{:,.0f}, {:,.0f} MiB", "{} MiB"),
    ("at 120,000 images against 15,000", "growth",
     ["peak memory beyond the arrays, 120,000 images / 15,000"], "{:.3f} times", "{}"),
    ("preprocessing, peak memory; exponent of its seconds from 120,000", "large",
     [f"preprocess, {LARGE}", "preprocess: exponent of its seconds by images"],
     "{:,.0f} MiB; {:.2f}", "{} MiB; {}"),
    ("| an epoch of cnn32 on them, the same", "large",
     [f"epoch, {LARGE}", "epoch: exponent of its seconds by images"],
     "{:,.0f} MiB; {:.2f}", "{} MiB; {}"),
    ("against the recipe's", "execution", EXECUTION, "{:.2f} / {:.2f} / {:.2f} / {:.2f}", ""),
)  # fmt: skip


def counts(path: str) -> dict[str, Counter[str]]:
    """Return the number of images of each class in an archive, by split."""
    with zipfile.ZipFile(ROOT / path) as archive:
        places = [name.split("/")[:2] for name in archive.namelist()]
    return {split: Counter(kind for s, kind in places if s == split) for split in ("train", "test")}


def sample() -> list[str]:
    """Return those of data/sample/README.md. Raises the same."""
    params = validate(yaml.safe_load((ROOT / "params.yaml").read_text(encoding="utf-8")))
    compared, images = read("plots/compare/compare.json"), counts(params.data.path)
    count = sum(of_split.total() for of_split in images.values())
    megabytes = (ROOT / params.data.path).stat().st_size / 1e6
    resnet, inception = percents(
        *(compared[name]["here"]["accuracy"] for name in ("resnet50", "inceptionv3")), digits=2
    )
    return [
        f"{count:,} JPEG images of 32x32 pixels, {megabytes:.1f} MB",
        f"| train | {images['train']['REAL']:,} | {images['train']['FAKE']:,} |",
        f"| test | {images['test']['REAL']} | {images['test']['FAKE']} |",
        f"| ResNet-50 at 32x32, random weights | {resnet} % |",
        f"| InceptionV3 at 75x75, random weights | {inception} % |",
        f"{images['test'].total()} test images). The",
    ]
