"""`python -m packer`: the commands that run where there is an internet."""

from pathlib import Path
from typing import Annotated

import typer

from cascade.errors import run_command_line

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)


@app.callback()
def main() -> None:
    """What the kernel needs, proved before it is pushed."""


@app.command()
def notebooks(folder: Annotated[Path, typer.Argument(help="folder of the notebooks")] = Path("notebooks")) -> None:
    """Checks that every notebook is valid, carries no outputs and keeps its parameters cell."""
    from packer.notebooks import problems

    found = problems(folder)
    for problem in found:
        typer.echo(problem, err=True)
    raise typer.Exit(1 if found else 0)


@app.command()
def vllm_api(
    wheel: Annotated[Path, typer.Argument(help="the kernel's vLLM wheel")],
    out: Annotated[Path | None, typer.Option(help="file to write (default: wheels/vllm-VERSION.json)")] = None,
) -> None:
    """Writes down the names that a vLLM wheel offers, for the tests to hold the code to."""
    from packer.vllm_api import as_json, read_wheel

    extract = read_wheel(wheel)
    out = out or Path("wheels") / f"vllm-{extract['version']}.json"
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_text(as_json(extract), encoding="utf-8")
    typer.echo(f"{out}: vLLM {extract['version']}, {len(extract['engine_arguments'])} engine arguments")


if __name__ == "__main__":
    run_command_line(app)
