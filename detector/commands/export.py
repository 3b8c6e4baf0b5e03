"""Command export: a trained network for other programs."""

from pathlib import Path
from typing import Annotated

import typer

from detector.base.errors import ExpectedError
from detector.base.program import ending, printable
from detector.prediction.wording import NO_MEMORY, REFUSED, model_path


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
    with ending(REFUSED, NO_MEMORY):
        from detector.base.files import replacing
        from detector.onnx.export import export as write
        from detector.prediction.detector import load

        if file.is_dir():
            raise ExpectedError(f"{file}: this is a folder; give the name of a file in it")
        network = load(model_path(model))
        with replacing(file) as partial:
            write(network, partial)
        typer.echo(f"{printable(str(file))} written")
