"""The section of the report on the data."""

from detector.evaluation.metrics import percent
from detector.report.blocks import Block, Code, Items, Paragraph, Section, Table
from detector.report.inputs import Inputs
from detector.report.sections import figure
from detector.report.tables import NONE


def data(inputs: Inputs) -> Section:
    """Say what the images are and what they give away."""
    audit = inputs.data
    blocks: list[Block] = [image_counts(inputs), _duplicates(inputs)]
    examples = [
        f"{first} and {second}"
        for first, second in (
            *audit.near_duplicates.test_and_train_examples,
            *audit.near_duplicates.fake_and_real_examples,
        )
    ]
    if examples:
        blocks += [Paragraph("Near-duplicates, the first of each kind:"), Items(examples)]
    blocks += [_codecs(inputs), _file_sizes(inputs), _pixels(inputs)]
    blocks += _left_out(inputs)
    blocks += [
        figure(
            inputs,
            "plots/data/spectra.png",
            "Mean spectra of the REAL and the FAKE images",
            "Peaks or a slope that one class has and the other has not are traces of how the "
            "images were made, or of how they were coded.",
        ),
        figure(
            inputs,
            "plots/data/samples.png",
            "Random training images of both classes, enlarged",
            "If you can tell the classes apart at a glance, so can a network, and by the same "
            "sign.",
        ),
    ]
    return Section("Data", blocks)


def image_counts(inputs: Inputs) -> Table:
    """Give the number of images of each split and class."""
    images = inputs.data.images
    labels = list(dict.fromkeys(label for counts in images.values() for label in counts))
    rows = [
        [split, *(f"{counts.get(label, 0):,}" for label in labels), f"{sum(counts.values()):,}"]
        for split, counts in images.items()
    ]
    return Table(
        ["images", *labels, "together"],
        rows,
        "Where the classes are not of equal number look at the balanced accuracy first.",
    )


def _duplicates(inputs: Inputs) -> Table:
    near = inputs.data.near_duplicates
    rows = [
        [f"the same pixels, {name.replace('_', ' ')}", f"{count:,}"]
        for name, count in inputs.data.exact_duplicates.items()
    ]
    limit = f"near-duplicates (RMS at most {near.rms_at_most:g})"
    for name in ("test_and_train", "fake_and_real"):
        found, asked = getattr(near, name), getattr(near, f"{name}_asked")
        rows.append([f"{limit}, {name.replace('_', ' ')}", f"{found:,} of {asked:,}"])
    return Table(
        ["duplicates", "images"],
        rows,
        "All but the rows within one split should be 0: a test image that was trained on is no "
        "test, and one picture in both classes has no true label.",
    )


def _codecs(inputs: Inputs) -> Table:
    codecs = inputs.data.codecs
    totals = {label: max(1, sum(counts.values())) for label, counts in codecs.items()}
    names = dict.fromkeys(codec for counts in codecs.values() for codec in counts)
    rows = [
        [codec, *(f"{counts.get(codec, 0):,} ({percent(counts.get(codec, 0) / totals[label])} %)"
                  for label, counts in codecs.items())]
        for codec in names
    ]  # fmt: skip
    return Table(
        ["coder", *codecs],
        rows,
        "The columns should have equal shares: a network learns the coder if that tells the "
        "classes apart.",
    )


def _file_sizes(inputs: Inputs) -> Table:
    sizes = inputs.data.file_bytes
    rows = [
        [
            label,
            *(f"{found[key]:,.0f}" if key in found else NONE for key in ("5%", "median", "95%")),
        ]
        for label, found in sizes.items()
        if isinstance(found, dict)
    ]
    auc = sizes.get("auc")
    tells = "" if auc is None else f" (here the size alone has an AUC of {auc:.4f}, 0.5 is chance)"
    return Table(
        ["bytes of a file", "5 % are below", "median", "5 % are above"],
        rows,
        f"Classes of different file sizes hold different amounts of detail{tells}.",
    )


def _pixels(inputs: Inputs) -> Table:
    rows = [
        [f"{label}, {key}", *(f"{value:.2f}" for value in values)]
        for label, found in inputs.data.pixels.items()
        for key, values in found.items()
    ]
    return Table(
        ["pixels, 0 to 255", "red", "green", "blue"],
        rows,
        "Means that are apart by more than a grey level or two let a network tell the classes by "
        "colour alone.",
    )


def _left_out(inputs: Inputs) -> list[Block]:
    bad, ignored = inputs.data.bad_files, inputs.data.ignored_files
    repeated = inputs.data.dropped_duplicates
    if not bad.count and not ignored.count and not repeated:
        return [Paragraph("No file of the archive was left out.")]
    words = (
        f"Files of the archive that could not be used: {bad.count:,}, all listed in ",
        Code("data/bad_files.csv"),
        f", as are {repeated:,} with the pixels of an image of a later split; files that are no "
        f"images of the layout: {ignored.count:,}. The first of each:",
    )
    items = [f"{name}: {reason}" for name, reason in bad.first]
    items += [f"{name}: ignored" for name in ignored.first]
    return [Paragraph(words), Items(items)]
