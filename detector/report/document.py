"""The report of a run: its order and its words.

Everything is put together once, as sections of blocks; the templates make HTML and Markdown of it.
"""

from typing import Any

import yaml

from detector.comparison import paired as comparison
from detector.report import tables as report_tables
from detector.report.backbones import all_backbones, backbone
from detector.report.blocks import (
    Block,
    Code,
    Items,
    Link,
    Listing,
    Notice,
    Paragraph,
    Section,
    Table,
    anchored,
    render,
)
from detector.report.data import data
from detector.report.inputs import Inputs
from detector.report.sections import figure, generalisation, robustness

CIFAKE_PAGE = Link(
    "CIFAKE on Kaggle",
    "https://www.kaggle.com/datasets/birdy654/cifake-real-and-ai-generated-synthetic-images",
)
FIGURES = (
    "plots/data/corruptions.png",
    "plots/data/samples.png",
    "plots/data/spectra.png",
    "plots/compare/paper.png",
    "plots/compare/curves.png",
    "plots/compare/learning_curves.png",
    "plots/compare/risk_coverage.png",
    "plots/compare/robustness.png",
)
TITLE = "Photograph or generated? Report of a run"


def html(inputs: Inputs) -> str:
    """Give the report as one HTML page that loads nothing."""
    return render("report.html.j2", title=TITLE, sections=report_sections(inputs))


def markdown(inputs: Inputs) -> str:
    """Give the report in Markdown, for a folder beside plots/."""
    return render("report.md.j2", title=TITLE, sections=report_sections(inputs))


def report_sections(inputs: Inputs) -> list[Section]:
    """Give all sections of the report in their order."""
    return anchored(
        [
            _what_this_is(inputs),
            _warning_section(inputs),
            _results(inputs),
            _pairs(inputs),
            Section("Each backbone", all_backbones(inputs)),
            *(backbone(inputs, name) for name in inputs.backbones),
            robustness(inputs),
            *generalisation(inputs),
            data(inputs),
            _cost(inputs),
            _configuration(inputs),
            _reproduce(),
            _limits(inputs),
        ]
    )


def is_cifake(inputs: Inputs) -> bool:
    """Say whether the images are those of the paper."""
    return inputs.data.archive.cifake


def banner(inputs: Inputs) -> list[Block]:
    """Warn where the figures are not of CIFAKE; nothing where they are."""
    if is_cifake(inputs):
        return []
    name = inputs.params.data.name
    return [
        Notice(
            f"Figures of the data set '{name}', not CIFAKE: they say nothing of the paper's "
            "images and cannot be held against the paper's figures, number by number.",
            "Note",
        )
    ]


def _test_n(inputs: Inputs) -> int:
    return next(iter(inputs.backbones.values())).evaluation.test.n


def _what_this_is(inputs: Inputs) -> Section:
    names, images = ", ".join(inputs.backbones), inputs.data.images
    counts = ", ".join(f"{sum(n.values()):,} for {split}" for split, n in images.items())
    cards = [
        ("Model card of ", Link(name, f"cards.md#model-card-{name.lower()}"))
        for name in inputs.backbones
    ]
    return Section(
        "What this is",
        [
            *banner(inputs),
            Paragraph(
                "Networks that decide whether an image is a photograph (REAL, label 1) or was made "
                "by a generative network (FAKE, label 0), after the study CNN Generated Image "
                "Detection: A Study in Machine Learning Approaches. Probabilities are of REAL."
            ),
            Paragraph(
                f"Backbones of this run: {names}. Data set: {inputs.params.data.name}, {counts}. "
                + comparison.caption(
                    inputs.params.data.name,
                    is_cifake(inputs),
                    _test_n(inputs),
                    inputs.data.exact_duplicates["test_and_train_or_val"],
                )
            ),
            Items(cards),
        ],
    )


def audit_warnings(inputs: Inputs) -> list[str]:
    """Give the warnings of the audits of the archive and of the external sets, and of networks.

    Each once. A network is warned of whose input is smaller than the images.
    """
    audit, bad = inputs.data, inputs.data.bad_files.count
    found = list(audit.warnings)
    if bad:
        found.append(f"files that could not be used and were left out: {bad:,}")
    for of_one in inputs.backbones.values():
        found += of_one.evaluation.warnings
    size = inputs.params.data.image_size
    for name in inputs.backbones:
        side = inputs.backbones[name].evaluation.size.input_pixels
        if side < size:
            found.append(
                f"{name} looks at {side}x{side} pixels, {100 * (side / size) ** 2:.2g} % of the "
                f"{size}x{size} of the images: traces finer than that are averaged away "
                f"(model.{name}.input_size)"
            )
    for name, of_set in inputs.external.sets.items():
        found += [f"set {name}: {warning}" for warning in of_set.warnings]
    return list(dict.fromkeys(found))


def _warning_section(inputs: Inputs) -> Section:
    found = audit_warnings(inputs)
    title = "Warnings of the data audit"
    if not found:
        return Section(title, [Paragraph("The audit found nothing to warn of.")])
    return Section(
        title,
        [Paragraph("Read these before any figure below."), *(Notice(words) for words in found)],
    )


def _results(inputs: Inputs) -> Section:
    n = _test_n(inputs)
    return Section(
        "Results beside the paper's",
        [
            Paragraph(
                f"Metrics on the {n:,} test images. Intervals are of 95 %: Wilson's for shares of "
                "counted images (accuracy, precision, recall), put together from these for "
                "balanced accuracy and F1, a smoothed bootstrap within each class "
                f"({inputs.params.evaluate.resamples:,} resamples) for the areas and the log loss. "
                "n is what a figure is of: all images, those of one class, or those predicted so."
            ),
            report_tables.headline(inputs),
            figure(
                inputs,
                "plots/compare/paper.png",
                "Metrics of each backbone here and in the paper",
                "Compare the two bars of a row, ours and the paper's, only as far as both are of "
                "the same images; the labels are in percent.",
            ),
            Paragraph("At the threshold that was frozen on validation:"),
            report_tables.at_threshold(inputs),
            figure(
                inputs,
                "plots/compare/curves.png",
                "ROC and precision-recall curves of each backbone",
                "The nearer a curve comes to the upper left corner (left) and to the upper right "
                "corner (right), the better it puts the images in order, whatever the threshold.",
            ),
        ],
    )


def _pairs(inputs: Inputs) -> Section:
    blocks = report_tables.pairs(inputs)
    if not blocks:
        blocks = [Paragraph("Left out: a paired test needs two backbones, and this run has one.")]
    else:
        words = (
            "Both networks judged the same images at their frozen thresholds, so they are compared "
            "image by image: McNemar's exact test, and bootstrap intervals of the differences."
        )
        blocks = [Paragraph(words), *blocks]
    return Section("Paired tests", blocks)


def _cost(inputs: Inputs) -> Section:
    timings = (
        "Images a second differ from run to run and machine to machine, so they are not in here: "
        "the stages train, evaluate and report print them, and ",
        Code(".work/cost"),
        " keeps them.",
    )
    return Section("Cost", [*report_tables.cost(inputs), Paragraph(timings)])


def software(inputs: Inputs) -> Table:
    """Give the versions that the run was made with."""
    return Table(
        ["software", "version"],
        [list(pair) for pair in inputs.versions.items()],
        "Other versions may round differently and so give other last digits.",
    )


def _configuration(inputs: Inputs) -> Section:
    archive = inputs.data.archive
    return Section(
        "Configuration, versions, data hash",
        [
            Table(
                ["archive", archive.name],
                [["sha256", archive.sha256], ["bytes", f"{archive.bytes:,}"]],
                "Another sha256 is another set of images, and its figures are others.",
                numbers=False,
            ),
            software(inputs),
            Paragraph(("All values of ", Code("params.yaml"), ":")),
            Listing(_as_yaml(inputs.tree), "yaml"),
        ],
    )


class _Dumper(yaml.SafeDumper):
    """Writes lists on one line."""


_Dumper.add_representer(
    list, lambda dumper, values: dumper.represent_sequence("tag:yaml.org,2002:seq", values, True)
)


def _as_yaml(values: dict[str, Any]) -> str:
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True)


def _reproduce() -> Section:
    commands = (
        "make repro             # sets up .venv, then runs the pipeline of params.yaml\n"
        "source .venv/bin/activate\n"
        "dvc repro              # runs what has changed, and ends with this report\n"
        "dvc exp run -S data=cifake -S train=paper    # the paper's data and recipe\n"
    )
    words = (
        "In a clone of the repository, at the commit that holds this report and its ",
        Code("params.yaml"),
        " and ",
        Code("dvc.lock"),
        ":",
    )
    return Section("How to reproduce", [Paragraph(words), Listing(commands, "console")])


def _limits(inputs: Inputs) -> Section:
    items = [
        "Intervals say what chance in drawing the test images does. They say nothing of another "
        "training seed, another generator or another camera.",
        f"One training run with seed {inputs.params.seed}: another seed gives another network.",
        "Images are small; what holds at this size need not hold for large pictures.",
        "A verdict is a probability, not a proof. Do not accuse anyone on the strength of it.",
        "The paper's figures are as printed. They were not measured here and have no intervals.",
    ]
    papers = (
        "Temperature scaling: ",
        Link("Guo et al., 2017", "https://arxiv.org/abs/1706.04599"),
        ". Grad-CAM: ",
        Link("Selvaraju et al., 2017", "https://arxiv.org/abs/1610.02391"),
        ". Model cards: ",
        Link("Mitchell et al., 2019", "https://arxiv.org/abs/1810.03993"),
        ". Data of the paper: ",
        Link("Bird and Lotfi, 2024", "https://arxiv.org/abs/2303.14126"),
        ", ",
        CIFAKE_PAGE,
        ".",
    )
    return Section("Limits and sources", [Items(items), Paragraph(papers)])
