"""The part of the report on each backbone by itself."""

from detector.report import tables as report_tables
from detector.report.blocks import Block, Items, Paragraph, Section
from detector.report.inputs import Inputs
from detector.report.sections import figure

BACKBONE_FIGURES = ("confusion_matrix", "probabilities", "reliability", "gradcam")


def all_backbones(inputs: Inputs) -> list[Block]:
    """Hold the trainings of the backbones, and how sure they are, against each other."""
    by_class = report_tables.classes(inputs)
    return [
        report_tables.training(inputs),
        figure(
            inputs,
            "plots/compare/learning_curves.png",
            "Accuracy and loss by epoch, on training and validation images",
            "A validation curve that turns away from the training curve says when learning became "
            "learning by heart.",
        ),
        report_tables.normalization(inputs),
        figure(
            inputs,
            "plots/compare/risk_coverage.png",
            "Errors among the images answered, by the share that is answered",
            "Go left along a curve to see how many errors are left when only the surest images "
            "are answered; lower is better.",
        ),
        *([by_class] if by_class else []),
    ]


def backbone(inputs: Inputs, name: str) -> Section:
    """Show one backbone's errors, probabilities, calibration and what it looks at."""
    evaluation = inputs.backbones[name].evaluation

    def of(kind: str, alt: str, reading: str) -> Block:
        return figure(inputs, f"plots/{name}/{kind}.png", f"{name}: {alt}", reading)

    return Section(
        f"Backbone {name}",
        [
            of(
                "confusion_matrix",
                "counts of test images by actual class and verdict at the frozen threshold",
                "Rows are the actual classes and columns the predicted ones, so errors stand "
                "off the diagonal.",
            ),
            of(
                "probabilities",
                "histogram of the calibrated probabilities of both classes",
                "The further the two colours are apart the better, and what lies on the wrong "
                "side of the dashed threshold is an error.",
            ),
            *frozen(inputs, name),
            of(
                "reliability",
                "share of REAL images against the probability said, before and after calibration",
                "On the diagonal a probability means what it says; above it the network is too "
                "low, below it too high.",
            ),
            report_tables.calibration(evaluation),
            report_tables.selective(evaluation),
            of(
                "gradcam",
                "test images with the regions that the verdict rests on",
                "Bright regions speak most for the verdict; they say where the network looks, "
                "not why, and a bright border or corner is a reason for doubt.",
            ),
        ],
        level=3,
    )


def frozen(inputs: Inputs, name: str) -> list[Block]:
    """Say what was chosen on validation and how to read it."""
    return [
        Paragraph("Chosen on the validation images, then frozen:"),
        Items(report_tables.decision_items(inputs.backbones[name].decision)),
    ]
