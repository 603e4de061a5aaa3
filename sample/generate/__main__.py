"""`python -m sample.generate --seed 1 --out sample`: the same seed gives the same bytes."""

from pathlib import Path
from typing import Annotated

import typer

from cascade.base.command_line import run_command_line
from sample.generate.dataset import generate


def main(
    out: Annotated[Path, typer.Option(help="folder that gets the four CSV files")],
    seed: Annotated[int, typer.Option(help="another seed, another sample")] = 1,
    questions: Annotated[int, typer.Option(min=400, help="questions in train.csv and test.csv together")] = 480,
    test: Annotated[int, typer.Option(min=1, help="how many of them are the test")] = 80,
) -> None:
    """Writes train.csv, test.csv, test_labels.csv and misconception_mapping.csv in the competition's format."""
    typer.echo(generate(out, seed, questions, test))


if __name__ == "__main__":
    run_command_line(lambda: typer.run(main))
