"""`python -m detector.demo`: what `python -m detector demo` does."""

import typer

from detector.commands.demo import demo

if __name__ == "__main__":
    app = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
    app.command()(demo)
    app(prog_name="python -m detector.demo")
