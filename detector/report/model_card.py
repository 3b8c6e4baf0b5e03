"""The model card of one backbone, with the headings of Mitchell et al., 2019."""

from dataclasses import replace
from typing import Any

from detector.report import tables as report_tables
from detector.report.backbones import frozen
from detector.report.blocks import Block, Items, Paragraph, render
from detector.report.data import image_counts
from detector.report.document import audit_warnings, banner, software
from detector.report.inputs import Inputs
from detector.report.sections import external_table, robustness_summary


def model_card(inputs: Inputs, name: str) -> str:
    """Give the card of one backbone in Markdown, for a file beside the report's index.md."""
    of_one = replace(inputs, backbones={name: inputs.backbones[name]}, pairs={})
    backbone = inputs.backbones[name]
    found = audit_warnings(of_one)
    return render(
        "model_card.md.j2",
        name=name,
        settings=inputs.params.model[name],
        input_pixels=backbone.evaluation.size.input_pixels,
        architecture=architecture(inputs.params.model[name]),
        changes=changes(inputs.params.train.augmentation),
        params=inputs.params,
        audit=inputs.data,
        test_n=backbone.evaluation.test.n,
        decision=backbone.decision,
        banner=banner(inputs),
        warnings=[Items(found)] if found else [],
        sizes=report_tables.cost(of_one),
        versions=[software(inputs)],
        images=[image_counts(inputs)],
        metrics=[report_tables.at_threshold(of_one), *frozen(of_one, name)],
        calibration=[
            report_tables.calibration(backbone.evaluation),
            report_tables.selective(backbone.evaluation),
        ],
        robustness=[robustness_summary(of_one)],
        sets={key: _external_set(of_one, key) for key in backbone.external},
    )


def architecture(settings: Any) -> str:
    """Say in words what the network consists of."""
    where = (
        "detector/networks/small.py"
        if settings.builder.islower()
        else "keras.applications, without its top"
    )
    pooling = {"flatten": "flattening"}.get(settings.pooling, f"global {settings.pooling} pooling")
    parts = [f"{settings.builder} of {where}", pooling]
    if settings.dense_units:
        parts.append(f"a dense layer of {settings.dense_units} (ReLU)")
    if settings.dropout:
        parts.append(f"dropout {settings.dropout}")
    return ", ".join([*parts, "one sigmoid unit"])


def changes(augmentation: Any) -> str:
    """Say in words how training images are changed at random."""
    said = ["horizontal flip"] if augmentation.horizontal_flip else []
    if augmentation.zoom:
        said.append(f"zoom by up to {augmentation.zoom:.0%}")
    for name, unit, values in (
        ("blur", "sigma in pixels", "sigma"),
        ("noise", "standard deviation", "std"),
        ("JPEG", "quality", "quality"),
    ):
        change = getattr(augmentation, name.lower())
        if change:
            low, high = getattr(change, values)
            said.append(f"{name} of {change.probability:.0%} ({unit} {low:g} to {high:g})")
    return ", ".join(said) or "none"


def _external_set(inputs: Inputs, name: str) -> list[Block]:
    audit = inputs.external.sets.get(name)
    found = audit.warnings if audit else []
    warned = Items(found) if found else Paragraph("The audit of this set found nothing to warn of.")
    return [warned, external_table(inputs, name)]
