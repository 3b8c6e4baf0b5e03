"""Command predict: what a trained network says of image files."""

from pathlib import Path
from typing import Annotated

import typer

from detector.base.program import ending
from detector.prediction.wording import NO_MEMORY, REFUSED, UNREADABLE, model_path


def predict(
    images: Annotated[
        list[str],
        typer.Argument(
            metavar="IMAGE",
            help="Files; folders, with all images below them; quoted patterns such as "
            "'photos/**/*.jpg'; - for an image on standard input. Web addresses are not fetched.",
            show_default=False,
        ),
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="PATH", help="File of the network. A name such as resnet50: models/resnet50.zip"
        ),
    ] = "models/cnn32.zip",
    as_json: Annotated[
        bool,
        typer.Option(
            "--json", help="Write one JSON document: model, images in order, counts; ASCII only."
        ),
    ] = False,
    as_csv: Annotated[
        bool, typer.Option("--csv", help="Write a CSV row for each image, unreadable ones too.")
    ] = False,
    explain: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Write a picture for each image: what the network saw, and where the evidence "
            "for its verdict lies (Grad-CAM).",
            show_default=False,
        ),
    ] = None,
) -> None:
    """Say of images whether they are photographs (REAL) or generated (FAKE), and how surely.

    Each image gets a verdict, REAL, FAKE or UNSURE, by the threshold that was frozen with the
    network, and P(REAL), its calibrated probability. A verdict marked ? is of an image unlike
    those that the network was trained on; the line below it says in which way.

    Exit codes: 0, all images were answered; 1, some cannot be read, which are listed on standard
    error while the others are answered; 2, wrong usage, no such network, or no more memory or
    disk, as the message says.
    """
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv exclude each other")
    with ending(REFUSED, NO_MEMORY):
        # Here, so that --help does not wait for it and an interrupt in it has no traceback.
        from detector.commands.answering import answer

        output = "json" if as_json else "csv" if as_csv else "table"
        whole = answer(images, model_path(model), output, explain)
    if not whole:
        raise typer.Exit(UNREADABLE)
