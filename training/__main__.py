"""`python -m training`: the LoRA weights and the numbers of a config."""

from pathlib import Path
from typing import Annotated

import typer

from cascade.errors import run_command_line

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
Data = Annotated[Path, typer.Option(help="folder whose train.csv is trained on")]
Config = Annotated[Path, typer.Option(help="the run's TOML file")]
Out = Annotated[Path, typer.Option(help="the adapter's folder; replaced")]


@app.command("retriever")
def train_retriever(data: Data = Path("sample"), out: Out = Path("sample/adapters/retriever-minilm")) -> None:
    """Trains the dense retriever's adapter."""
    from training import retriever

    retriever.train(data, out)


@app.command("cross-encoder")
def train_cross_encoder(
    config: Config = Path("configs/sample.toml"),
    data: Data = Path("sample"),
    out: Out = Path("sample/adapters/cross-encoder-minilm"),
) -> None:
    """Trains the cross-encoder's adapter on negatives of the config's first retrieval."""
    from cascade.config import load
    from training import cross_encoder

    cross_encoder.train(data, load(config), out)


@app.command("tiny-models")
def train_tiny_models(
    data: Data = Path("sample"),
    models: Annotated[Path, typer.Option(help="folder of the model's folder, which is replaced")] = Path(
        "sample/models"
    ),
    adapters: Annotated[Path, typer.Option(help="folder of the adapters' folders, which are replaced")] = Path(
        "sample/adapters"
    ),
) -> None:
    """Trains a tiny LLM from scratch, and its pointwise and listwise adapters."""
    from training import tiny

    tiny.train(data, models, adapters)


@app.command()
def weights(
    config: Config = Path("configs/sample.toml"),
    data: Data = Path("sample"),
    scratch: Annotated[Path, typer.Option(help="folder for the folds and their adapters")] = Path("build/weights"),
    folds: Annotated[int, typer.Option(min=2)] = 3,
    used: Annotated[int, typer.Option(min=1, help="fit on so many of the folds")] = 2,
) -> None:
    """Fits blend weights, gate, fusion weights and boost on folds of train.csv and prints them."""
    from training.weights import fit

    typer.echo(fit(config, data, scratch, folds, used))


if __name__ == "__main__":
    run_command_line(app)
