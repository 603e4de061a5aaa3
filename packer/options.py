"""What the packer's commands share: options, the run that they are about, a line for a person."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade.base.printable import printable

if TYPE_CHECKING:
    from cascade.config.schema import Config
    from packer.wheels.images import Image

KernelConfig = Annotated[
    Path | None, typer.Option("--config", help="the run's TOML file (default: t4x2.toml; without GPUs sample.toml)")
]
OfAdapters = Annotated[
    Path | None,
    typer.Option("--adapters", help="only the adapters' dataset, with the config's adapters in this folder"),
]


def echo(text: str, err: bool = False) -> None:
    """A line for a person: Kaggle's logs, names and messages stand in many."""
    typer.echo(printable(text), err=err)


def load_run(config: Path | None, image: "Image", adapters: Path | None = None) -> "Config":
    """The run that is for that image, the same for every command that leads to the kernel; with other adapters."""
    from cascade.config.schema import load

    run = load(config or Path("configs") / ("t4x2.toml" if image.gpus else "sample.toml"))
    return run if adapters is None else run.model_copy(update={"adapters": str(adapters.resolve())})


def kinds_of(run: "Config", adapters: Path | None) -> list[str]:
    """The datasets that a command is about: all of the run's, or the adapters' alone where their folder is given."""
    from packer.datasets import contents

    return contents.kinds(run) if adapters is None else ["adapters"]
