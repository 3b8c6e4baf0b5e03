"""Command export: a trained network for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from detector.commands.ending import ending
from detector.commands.wording import model_path, printable
from detector.errors import ExpectedError


def export(
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="What to write, such as cnn32.onnx.")
    ],
    model: Annotated[
        str,
        typer.Option(
            metavar="PATH", help="File of the network. A name such as resnet50: models/resnet50.zip"
        ),
    ] = "models/cnn32.zip",
) -> None:
    """Write a network as ONNX: uint8 N,S,S,3 in RGB to the raw probability of REAL.

    Temperature, threshold and the rest stand in the metadata of the file. Exit codes: 0, it is
    written; 2, it is not, as the message says.
    """
    with ending():
        from detector.deployment.detector import load
        from detector.deployment.onnx_export import export as write
        from detector.files import replacing

        if file.is_dir():
            raise ExpectedError(f"{file}: this is a folder; give the name of a file in it")
        network = load(model_path(model))
        with replacing(file) as partial:
            write(network, partial)
        typer.echo(f"{printable(str(file))} written")
