"""What the three command lines share."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Annotated

import typer

from cascade import __version__
from cascade.base.errors import CascadeError
from cascade.base.printable import printable
from cascade.base.streams import survive_output


def _show_version(asked: bool) -> None:
    if asked:
        typer.echo(__version__)
        raise typer.Exit


ShowVersion = Annotated[
    bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Shows the version.")
]


def new_app() -> typer.Typer:
    """A program without commands yet: `-h` beside `--help`, and no traceback of a page."""
    return typer.Typer(
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
    )


def run_command_line(app: Callable[[], object]) -> None:
    """Runs a typer app, whose prints may fail; a CascadeError becomes one line on stderr and exit code 2."""
    survive_output()
    try:
        app()
    except CascadeError as error:
        print(f"error: {printable(str(error))}", file=sys.stderr)
        raise SystemExit(2) from None
