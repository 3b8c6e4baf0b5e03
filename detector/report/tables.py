"""The tables of the report and the sentences that carry figures. Nothing is measured here."""

from scipy.special import expit

from detector.comparison import paired as comparison
from detector.evaluation.calibration import logit
from detector.evaluation.decision import Decision
from detector.evaluation.intervals import share_interval
from detector.evaluation.metrics import percent
from detector.report.blocks import Items, Paragraph, Table
from detector.report.inputs import Confusion, Evaluation, Inputs, Interval, Metrics

# Where there is no figure.
NONE = "–"  # noqa: RUF001

# Name, field of Intervals, key of the paper's figures, unit.
_ROWS = (
    ("accuracy, %", "accuracy", "accuracy", "percent"),
    ("balanced accuracy, %", "balanced_accuracy", None, "percent"),
    ("area under the ROC curve", "roc_auc", None, "plain"),
    ("average precision of REAL", "average_precision", None, "plain"),
    ("log loss, nats", "log_loss", None, "plain"),
    ("precision of REAL, %", "precision", "precision", "percent"),
    ("recall of REAL, %", "recall", "recall", "percent"),
    ("F1 of REAL, %", "f1", "f1", "percent"),
    ("recall of FAKE (specificity), %", "specificity", "specificity", "percent"),
)


def with_ends(found: float | Interval | None, unit: str = "percent") -> str:
    """Give a figure with the ends of its interval and its n, as far as it has them.

    Of a figure of both classes n is given for each: the smaller one decides what it is worth.
    """
    write = percent if unit == "percent" else "{:.4f}".format
    if found is None:
        return NONE
    if not isinstance(found, Interval):
        return write(found)
    return f"{write(found.value)} ({write(found.low)} to {write(found.high)}){_n(found)}"


def _n(found: Interval) -> str:
    if found.n_fake is not None:
        return f", n = {found.n_fake:,} FAKE, {found.n_real:,} REAL"
    return "" if found.n is None else f", n = {found.n:,}"


def headline(inputs: Inputs) -> Table:
    """Give the metrics at 0.5 of the raw probability, the paper's beside them."""
    paper = comparison.paper_results()
    columns, cells = [""], []
    for name, backbone in inputs.backbones.items():
        evaluation = backbone.evaluation
        columns.append(f"{name}, here")
        cells.append(
            [with_ends(evaluation.val.intervals.accuracy), *_metric_cells(evaluation.test)]
        )
        if rest := evaluation.test_without_leaked:
            columns.append(f"{name}, here without leaked images")
            cells.append([NONE, *_metric_cells(rest)])
        published = paper.get(inputs.params.model[name].builder)
        if published:
            columns.append(f"{name}, paper (as published, CIFAKE)")
            keys = ["validation_accuracy", *(key for *_, key, _ in _ROWS), None]
            cells.append([percent(published[key]) if key in published else NONE for key in keys])
    names = ["validation accuracy, %", *(name for name, *_ in _ROWS), "precision of FAKE, %"]
    return Table(
        columns,
        [list(row) for row in zip(names, *cells, strict=True)],
        "Read a row from left to right: a figure on the test images at probability 0.5, in "
        "brackets the 95 % interval that chance in drawing n images leaves, and beside it what "
        "the paper printed, where it printed anything.",
    )


def at_threshold(inputs: Inputs) -> Table:
    """Give the metrics of the calibrated probability at the frozen threshold."""
    found = {name: b.evaluation.test_at_threshold for name, b in inputs.backbones.items()}
    names = ["threshold", *(name for name, *_ in _ROWS), "precision of FAKE, %"]
    cells = [
        [f"{inputs.backbones[name].decision.threshold:.4f}", *_metric_cells(metrics)]
        for name, metrics in found.items()
    ]
    return Table(
        ["", *found],
        [list(row) for row in zip(names, *cells, strict=True)],
        "The same figures as a user gets them, from calibrated probabilities at the threshold "
        "that was frozen on validation; an accuracy that is far from the one at 0.5 says that "
        "0.5 was a bad place to cut.",
    )


def _metric_cells(metrics: Metrics) -> list[str]:
    cells = [with_ends(getattr(metrics.intervals, field), unit) for _, field, _, unit in _ROWS]
    return [*cells, with_ends(fake_precision(metrics.confusion))]


def fake_precision(confusion: Confusion) -> Interval | None:
    """Return the share of those predicted FAKE that are, with Wilson's interval; None if none."""
    hits = confusion.FAKE_predicted_FAKE
    n = hits + confusion.REAL_predicted_FAKE
    return Interval(**share_interval(hits, n)) if n else None


def pairs(inputs: Inputs) -> list[Items | Table]:
    """Give the paired tests in words and as a table; nothing for a single backbone."""
    if not inputs.pairs:
        return []
    tests, rows = {}, []
    for name, pair in inputs.pairs.items():
        counts, gain = pair.mcnemar, pair.difference
        tests[name] = {"mcnemar": counts.model_dump(), "difference": gain.model_dump()}
        found = [counts.both_right, counts.only_a, counts.only_b, counts.both_wrong]
        corrupted = None if pair.robustness is None else pair.robustness.corrupted
        gaps = with_ends(gain.roc_auc, "plain"), with_ends(corrupted)
        rows.append([name, *(f"{n:,}" for n in found), f"{counts.p_value:.2g}", *gaps])
    lines = comparison.pairs_in_words(tests).splitlines()
    columns = ["a minus b", "both right", "only a", "only b", "both wrong", "p", "AUC, a minus b",
               "mean accuracy on changed images, a minus b, points"]  # fmt: skip
    return [
        Items([line.removeprefix("- ") for line in lines if line.startswith("- ")]),
        Table(
            columns,
            rows,
            "Only the images that one of the two alone gets right tell them apart; p is how "
            "often a fair coin would divide those at least so unevenly, and is not corrected for "
            "the number of pairs.",
        ),
    ]


def decision_items(decision: Decision) -> list[str]:
    """Say what was frozen on validation and what it means."""
    goals = {
        "0.5": "fixed, not chosen",
        "balanced": "the highest balanced accuracy (mean of the recalls of REAL and of FAKE)",
    }
    share = decision.goal.removeprefix("fpr_")
    goal = goals.get(decision.goal, f"at most {share} of the REAL images predicted FAKE")
    lean = "too sure" if decision.temperature > 1 else "not sure enough"
    said = "says nothing to change" if decision.temperature == 1 else f"says they were {lean}"
    return [
        f"Threshold {decision.threshold:.4f} of the calibrated probability of REAL: at or above "
        f"it an image is predicted REAL, below it FAKE. Goal {decision.goal!r}: {goal}.",
        f"Temperature {decision.temperature:.4f}, by which the logits are divided; it {said} on "
        f"the {decision.n:,} validation images.",
        _band_in_words(decision),
    ]


def _band_in_words(decision: Decision) -> str:
    allowed = f"{percent(decision.sure_error)} % errors among the answered validation images"
    if decision.abstain is None:
        return f"Unsure band: no distance from the threshold leaves at most {allowed}: all UNSURE."
    if decision.abstain == 0:
        return f"Unsure band: none, since all images answered leave at most {allowed}."
    middle = logit(decision.threshold)
    low, high = expit(middle - decision.abstain), expit(middle + decision.abstain)
    return (
        f"Unsure band: between {low:.4f} and {high:.4f} the verdict is UNSURE, chosen for at most "
        f"{allowed}."
    )


def calibration(evaluation: Evaluation) -> Table:
    """Give ECE, Brier score and log loss before and after temperature scaling."""
    found = evaluation.calibration
    rows = [
        [name, f"{getattr(found.before, key):.4f}", f"{getattr(found.after, key):.4f}"]
        for name, key in (
            ("expected calibration error (15 bins of equal mass)", "ece"),
            ("Brier score", "brier"),
            ("log loss, nats", "log_loss"),
        )
    ]
    return Table(
        ["on the test images", "before", "after"],
        rows,
        "Less is better in each row; where a figure rises from before to after, the temperature "
        "that was right for the validation images is not right for the test images.",
    )


def selective(evaluation: Evaluation) -> Table:
    """Give what becomes of the errors when the least sure images are not answered."""
    found = evaluation.selective
    error = NONE if found.error_of_the_sure is None else percent(found.error_of_the_sure)
    return Table(
        ["when the least sure are not answered", "test images"],
        [
            ["UNSURE by the band chosen on validation, %", percent(found.unsure)],
            ["answered (n)", f"{found.sure_n:,}"],
            ["errors among the answered, %", error],
            ["could be answered with at most 1 % errors, %", percent(found.coverage_at_1)],
            ["could be answered with at most 2 % errors, %", percent(found.coverage_at_2)],
            ["area under the risk-coverage curve", f"{found.aurc:.4f}"],
        ],
        "The first three rows are what the frozen band does; the next two are the best that any "
        "band could do on these very images, so an upper bound.",
    )


def classes(inputs: Inputs) -> Table | None:
    """Give the accuracy by CIFAR-10 class; None where names do not tell it."""
    found = {n: b.evaluation.test.accuracy_by_cifar_class for n, b in inputs.backbones.items()}
    names = list(dict.fromkeys(name for by_class in found.values() for name in by_class))
    if not names:
        return None
    rows = [
        [name, *(percent(by[name]) if name in by else NONE for by in found.values())]
        for name in names
    ]
    return Table(
        ["accuracy at 0.5, %", *found],
        rows,
        "A class that is far below the others is what the network finds hard; each is of a tenth "
        "of the images or so, hence its interval is some three times as wide as that of all.",
    )


def training(inputs: Inputs) -> Table:
    """Give the last epoch of each training beside the paper's."""
    paper = comparison.paper_results()
    rows = []
    for name, backbone in inputs.backbones.items():
        last = backbone.history.iloc[-1]
        published = paper.get(inputs.params.model[name].builder)
        shares = (percent(last[key]) for key in ("accuracy", "val_accuracy"))
        losses = (f"{last[key]:.4f}" for key in ("loss", "val_loss"))
        theirs = NONE if published is None else percent(published["train_accuracy"][-1])
        rows.append([name, f"{len(backbone.history)}", *shares, *losses, theirs])
    return Table(
        ["", "epochs", "train accuracy, %", "validation accuracy, %", "train loss",
         "validation loss", "paper's train accuracy, %"],
        rows,
        "The last epoch of each training; a train accuracy far above the validation accuracy "
        "says that the network learned its images by heart.",
    )  # fmt: skip


def normalization(inputs: Inputs) -> Table:
    """Give the accuracies by moving and by batch statistics, and how far these are apart."""
    rows = []
    for name, backbone in inputs.backbones.items():
        found = backbone.evaluation.normalization
        moving, batch = map(percent, (found.accuracy.moving, found.accuracy.batch))
        apart = (
            NONE if value is None else f"{value:.2f}"
            for value in (found.mean_apart, found.variance_apart)
        )
        learning = f"{found.layers_that_learn} of {found.layers}"
        rows.append([name, moving, batch, learning, *apart])
    return Table(
        ["", "validation accuracy, %: moving statistics", "batch statistics",
         "BatchNormalization layers that learn", "means apart", "variances apart"],
        rows,
        "The two accuracies are of the same images and should be alike. Where the second is far "
        "above the first, the network has learnt but judges by averages that do not fit: train "
        "longer, or set a lower bn_momentum. Apart, the median of the layers that learn: means in "
        "standard deviations, variances as a logarithm (0.69 is a factor of two).",
    )  # fmt: skip


def cost(inputs: Inputs) -> list[Table | Paragraph]:
    """Give parameters and floating-point operations of each network, and what was not counted."""
    rows, notes = [], []
    for name, backbone in inputs.backbones.items():
        size = backbone.evaluation.size
        pixels = size.input_pixels
        counts = f"{size.parameters:,}", f"{size.trainable_parameters:,}"
        rows.append([name, f"{pixels} x {pixels}", *counts, f"{size.flops_per_image / 1e9:.3f}"])
        if size.uncounted_layers:
            layers = ", ".join(size.uncounted_layers)
            notes.append(
                Paragraph(f"{name}: operations of these layers are not counted: {layers}.")
            )
    table = Table(
        ["", "input, pixels", "parameters", "of them trainable", "GFLOP an image"],
        rows,
        "Parameters say what a network takes up (4 bytes each), GFLOP (1e9 operations, two for a "
        "multiplication with its addition, forward) what one image costs at the input size of "
        "this run.",
    )
    return [table, *notes]
