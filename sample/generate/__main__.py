"""`python -m sample.generate --seed 1`: the same seed gives the same bytes."""

from pathlib import Path
from typing import Annotated

import typer

from cascade.base.command_line import run_command_line
from cascade.base.errors import DataError
from cascade.competitions import registry
from cascade.config.schema import load
from sample.generate.competitions import GENERATORS


def main(
    config: Annotated[Path, typer.Option(help="whose competition's files are made")] = Path("configs/sample.toml"),
    out: Annotated[Path | None, typer.Option(help="folder that gets them; default: the sample's, or build's")] = None,
    seed: Annotated[int, typer.Option(help="another seed, another sample")] = 1,
    questions: Annotated[int | None, typer.Option(help="in train.csv and test.csv together; default: few")] = None,
    test: Annotated[int | None, typer.Option(min=1, help="how many of them are the test")] = None,
) -> None:
    """Writes train.csv, test.csv, test_labels.csv and what else the competition has, in its format."""
    competition = registry.of(load(config))
    if competition.name not in GENERATORS:
        raise DataError(
            f"{config}: no data can be made for competition '{competition.name}', only for {', '.join(GENERATORS)}"
        )
    committed = seed == 1 and questions is None and test is None
    to = out or Path(competition.sample if committed else f"build/{competition.sample}-{seed}")
    asked = {"questions": questions, "test": test}
    sizes = {name: size for name, size in asked.items() if size is not None}
    typer.echo(GENERATORS[competition.name](to, seed, **sizes))


if __name__ == "__main__":
    run_command_line(lambda: typer.run(main))
