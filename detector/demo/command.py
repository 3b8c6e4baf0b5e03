"""Command demo: a page to drop images on."""

from pathlib import Path
from typing import Annotated

import typer

from detector.base.program import ending
from detector.prediction.wording import NO_MEMORY, REFUSED, model_path


def demo(
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH",
            help="File of a network, or its name; may be given more than once. All of models/*.zip "
            "by default.",
            show_default=False,
        ),
    ] = None,
    port: Annotated[int, typer.Option(help="0 takes a free one.")] = 8000,
) -> None:
    """Serve a page that answers for dropped images, to this computer alone, until Ctrl-C.

    Exit codes: 0, it was ended by Ctrl-C; 2, it cannot be served, as the message says.
    """
    with ending(REFUSED, NO_MEMORY):
        from detector.demo.server import serve

        try:
            serve([Path(model_path(name)) for name in model or ()], port)
        except KeyboardInterrupt:  # the way to end it
            raise typer.Exit(0) from None
