"""The sections of the report on robustness and on other sets."""

import numpy as np
import pandas as pd

from detector.evaluation.metrics import percent
from detector.report.blocks import Block, Code, Figure, Notice, Paragraph, Section, Table
from detector.report.inputs import ExternalResult, ExternalSet, Inputs, Interval
from detector.report.tables import NONE, with_ends


def figure(inputs: Inputs, path: str, alt: str, reading: str) -> Figure:
    """Give the figure at `path`."""
    return Figure(path, inputs.figures[path], alt, reading)


def robustness(inputs: Inputs) -> Section:
    """Say what is left of the accuracy when the test images are changed."""
    return Section(
        "Robustness",
        [
            Paragraph(
                "The test images are changed in ways that pictures meet on their way through the "
                "world, each at several levels, and judged at the same frozen threshold."
            ),
            robustness_summary(inputs),
            figure(
                inputs,
                "plots/compare/robustness.png",
                "Accuracy of each backbone by kind and severity of the change",
                "A line that falls from left to right loses accuracy as the change gets stronger; "
                "50 % is a coin.",
            ),
            robustness_table(inputs),
            figure(
                inputs,
                "plots/data/corruptions.png",
                "One test image under every change and level",
                "What the changes look like: where you can hardly see the difference and the "
                "accuracy falls all the same, the network looks at something that you do not.",
            ),
        ],
    )


def robustness_summary(inputs: Inputs) -> Table:
    """Give the one number a network, the mean over all changes and levels, and each change's."""
    found = {name: backbone.robustness_summary for name, backbone in inputs.backbones.items()}
    kinds = dict.fromkeys(kind for summary in found.values() for kind in summary.by_corruption)

    def of(kind: str) -> list[str]:
        each = (summary.by_corruption.get(kind) for summary in found.values())
        return [NONE if means is None else percent(means.accuracy) for means in each]

    every = found.values()
    rows = [
        ["unchanged images: accuracy, %", *(with_ends(s.intervals.clean_accuracy) for s in every)],
        ["changed images: mean accuracy, %", *(with_ends(s.intervals.accuracy) for s in every)],
        ["unchanged images: area under ROC", *(f"{s.clean_roc_auc:.4f}" for s in every)],
        ["changed images: mean area under ROC", *(f"{s.roc_auc:.4f}" for s in every)],
        *([f"mean accuracy, {kind.replace('_', ' ')}, %", *of(kind)] for kind in kinds),
    ]
    return Table(
        ["", *found],
        rows,
        "The mean over all changes and levels is the one number to compare by; an area that "
        "stays high while the accuracy falls says that the threshold is off, not the order.",
    )


def robustness_table(inputs: Inputs) -> Table:
    """Give the accuracy at each change and level, the unchanged images first."""
    tables = {
        name: backbone.robustness.set_index(["corruption", "level"])
        for name, backbone in inputs.backbones.items()
    }
    keys = dict.fromkeys(key for table in tables.values() for key in table.index)
    rows = [
        [", ".join(key).replace("_", " "), *(_accuracy(table, key) for table in tables.values())]
        for key in keys
    ]
    return Table(
        ["change, level: accuracy, %", *tables],
        rows,
        "Hold each row against the first, which is of the unchanged images; where the intervals "
        "do not overlap the change matters.",
    )


def _accuracy(table: pd.DataFrame, key: tuple[str, str]) -> str:
    if key not in table.index:
        return NONE
    row = table.loc[key]
    ends = row["accuracy_low"], row["accuracy_high"]
    if np.isnan(row["accuracy"]):
        return NONE
    return with_ends(Interval(value=row["accuracy"], low=ends[0], high=ends[1], n=int(row["n"])))


def generalisation(inputs: Inputs) -> list[Section]:
    """Say how the networks do on sets that they were not trained for; a part a set."""
    names = list(inputs.external.sets)
    for backbone in inputs.backbones.values():
        names += [name for name in backbone.external if name not in names]
    title = "Other sets of images"
    if not names:
        return [
            Section(
                title,
                [
                    Paragraph(
                        "Left out: no external set is configured, so nothing is known of images "
                        "from other cameras or other generators."
                    )
                ],
            )
        ]
    words = (
        "Images from elsewhere, judged at the threshold that was frozen on the validation images "
        "of this data set; nothing was trained or chosen on them. Coders, sizes and files left "
        "out are in ",
        Code("data/sets/audit.json"),
        ".",
    )
    intro = Paragraph(words)
    return [Section(title, [intro]), *(_external_set(inputs, name) for name in names)]


def _external_set(inputs: Inputs, name: str) -> Section:
    audit = inputs.external.sets.get(name, ExternalSet())
    blocks: list[Block] = [Notice(warning) for warning in audit.warnings]
    if not blocks:
        blocks.append(Paragraph("The audit of this set found nothing to warn of."))
    blocks += [external_table(inputs, name), *_left_out(audit)]
    return Section(f"Set {name}", blocks, level=3)


def _left_out(audit: ExternalSet) -> list[Block]:
    """Say what of a set was not judged."""
    bad, ignored = audit.bad_files, audit.ignored_files
    counts = {
        "could not be used": bad.count if bad else 0,
        "is no image": ignored.count if ignored else 0,
        **{f"is over external.max_images ({k})": n for k, n in audit.left_out.items()},
    }
    found = [f"{reason}: {n:,}" for reason, n in counts.items() if n]
    return [Paragraph(f"Files that were left out, by reason: {'; '.join(found)}.")] if found else []


def external_table(inputs: Inputs, name: str) -> Table:
    """Give what each backbone does on one external set."""
    cells = [_external_cells(b.external.get(name)) for b in inputs.backbones.values()]
    names = ["REAL images", "FAKE images", "accuracy, %", "recall of FAKE, %", "recall of REAL, %",
             "area under the ROC curve", "UNSURE, %"]  # fmt: skip
    return Table(
        ["", *inputs.backbones],
        [list(row) for row in zip(names, *cells, strict=True)],
        f"Hold each figure against that of the test images; {NONE} stands where a class is "
        "missing, so that the figure does not exist.",
    )


def _external_cells(found: ExternalResult | None) -> list[str]:
    if found is None:
        return [NONE] * 7
    return [
        f"{found.n_real:,}",
        f"{found.n_fake:,}",
        with_ends(found.accuracy),
        with_ends(found.fake_recall),
        with_ends(found.real_recall),
        with_ends(found.roc_auc, "plain"),
        with_ends(found.unsure),
    ]
