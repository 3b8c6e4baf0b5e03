"""Ask a trained network about images, without the pipeline: `python -m detector --help`."""

import os
import sys

import typer

from detector.commands.export import export
from detector.commands.predict import predict
from detector.demo.command import demo

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,  # its tracebacks show the values of variables
    rich_markup_mode=None,
    help="Tell photographs (REAL) from generated images (FAKE) with a trained network.",
)
for command, summary in (
    (predict, "Say of images whether they are REAL or FAKE."),
    (export, "Write a network as ONNX."),
    (demo, "Serve a page that answers for dropped images."),
):
    app.command(short_help=summary)(command)

if __name__ == "__main__":
    if sys.stderr is None:  # closed; what is printed there would go to standard output
        sys.stderr = open(os.devnull, "w")  # noqa: SIM115 (as long as the process lives)
    app(prog_name="python -m detector")
