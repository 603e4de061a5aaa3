"""What the packer's commands share: options, the run that they are about, a line for a person."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from cascade.base.printable import printable

if TYPE_CHECKING:
    from cascade.config.schema import Config
    from packer.wheels.images import Image

DEFAULTS = "t4x2.toml; without GPUs sample.toml; without models cpu.toml"
KernelConfig = Annotated[Path | None, typer.Option("--config", help=f"the run's TOML file (default: {DEFAULTS})")]
OfAdapters = Annotated[
    Path | None,
    typer.Option("--adapters", help="only the adapters' dataset, with the config's adapters in this folder"),
]


def echo(text: str, err: bool = False) -> None:
    """A line for a person: Kaggle's logs, names and messages stand in many."""
    typer.echo(printable(text), err=err)


def load_run(config: Path | None, image: "Image", adapters: Path | None = None) -> "Config":
    """The run that is for that image, the same for every command that leads to the kernel; with other adapters.

    ImageError where its wheels have no torch, and the run has a model; adapters alone require no wheels.
    """
    from cascade.config.schema import load
    from packer.wheels import images

    default = "t4x2.toml" if image.gpus else "sample.toml" if image.has_models else "cpu.toml"
    run = load(config or Path("configs") / default)
    if adapters is not None:
        return run.model_copy(update={"adapters": str(adapters.resolve())})
    images.require_models(image, run)
    return run


def kinds_of(run: "Config", adapters: Path | None) -> list[str]:
    """The datasets that a command is about: all of the run's, or the adapters' alone where their folder is given."""
    from packer.datasets import contents

    return contents.kinds(run) if adapters is None else ["adapters"]
