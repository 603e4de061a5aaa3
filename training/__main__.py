"""`python -m training`: the LoRA weights and the numbers of a config."""

from pathlib import Path
from typing import Annotated

import typer

from cascade.base.command_line import ShowVersion, new_app, run_command_line
from cascade.base.errors import StageError
from cascade.competitions.registry import sample_of

app = new_app()
Data = Annotated[Path | None, typer.Option(help="folder with the train.csv to train on; default: the sample's")]
Config = Annotated[Path, typer.Option(help="the run's TOML file")]
Out = Annotated[
    Path | None, typer.Option(help="folder for the adapter, which is replaced (default: in the sample, or in build/)")
]
SAMPLE, BUILD = Path("sample"), Path("build")


@app.callback()
def main(version: ShowVersion = False) -> None:
    """Trains LoRA adapters, and fits the numbers of a config."""


def place(data: Path, out: Path | None, name: str, option: str = "--out") -> Path:
    """Where what is trained on `data` goes: into the sample what the sample's own train.csv gives, else under build/.

    StageError for other data's in the sample.
    """
    own = data.resolve() == SAMPLE.resolve()
    found = out or (SAMPLE if own else BUILD) / name
    if not own and found.resolve().is_relative_to(SAMPLE.resolve()):
        raise StageError(
            f"belongs to the sample, but {data} is other data", path=found, mend=f"pass {option} with another folder"
        )
    return found


@app.command("retriever")
def train_retriever(config: Config = Path("configs/sample.toml"), data: Data = None, out: Out = None) -> None:
    """Trains the dense retriever's adapter."""
    from training import retriever

    data = data or sample_of(config)
    retriever.train(data, place(data, out, "adapters/retriever-minilm"))


@app.command("cross-encoder")
def train_cross_encoder(
    config: Config = Path("configs/cross-encoder.toml"),
    data: Data = None,
    out: Out = None,
) -> None:
    """Trains the cross-encoder's adapter, with wrong candidates of the config's first retrieval as negatives."""
    from cascade.config.schema import load
    from training import cross_encoder

    data, run = data or sample_of(config), load(config)
    if cross_encoder.first_cross_encoder(run) is None:
        typer.echo(f"{config} has no [[pipeline]] of kind 'cross-encoder': none is trained")
        return
    cross_encoder.train(data, run, place(data, out, "adapters/cross-encoder-minilm"))


@app.command("reranker")
def train_reranker(
    stage: Annotated[str, typer.Argument(help="name of the [[pipeline]], which asks an LLM")],
    config: Config = Path("configs/sample-llm.toml"),
    data: Data = None,
    out: Out = None,
    queries: Annotated[int | None, typer.Option(min=1, help="train on so many of its queries; default: all")] = None,
    epochs: Annotated[float, typer.Option(min=0.01, help="how often each of them is read")] = 1.0,
) -> None:
    """Trains an LLM pipeline's adapter, with negatives of the config's first retrieval, and makes its canaries."""
    from cascade.config.schema import load
    from training import reranker

    run, data = load(config), data or sample_of(config)
    adapter = reranker.pipeline_of(run, stage).adapter or stage
    reranker.train(data, run, stage, place(data, out, f"adapters/{adapter}"), queries, epochs)


@app.command("tiny-models")
def train_tiny_models(
    data: Annotated[Path, typer.Option(help="folder with the train.csv to train on")] = SAMPLE,
    models: Annotated[Path | None, typer.Option(help="parent folder of the model, which is replaced")] = None,
    adapters: Annotated[Path | None, typer.Option(help="parent folder of the adapters, which are replaced")] = None,
) -> None:
    """Trains a tiny LLM from scratch, and its pointwise and listwise adapters."""
    from training import tiny

    tiny.train(data, place(data, models, "models", "--models"), place(data, adapters, "adapters", "--adapters"))


@app.command()
def weights(
    config: Config = Path("configs/sample.toml"),
    data: Data = None,
    scratch: Annotated[Path, typer.Option(help="folder for the folds and their adapters")] = Path("build/weights"),
    folds: Annotated[int, typer.Option(min=2, help="how many folds")] = 3,
    used: Annotated[int, typer.Option(min=1, help="how many of the folds to fit on")] = 2,
) -> None:
    """Fits the config's weights, gate and boost on folds of train.csv, and prints them."""
    from cascade.base.manifest import sha256
    from training.weights import fit

    data = data or sample_of(config)
    # Of the data's own: adapters that lie there from a stopped fit are gone on with.
    typer.echo(fit(config, data, scratch / sha256(data / "train.csv")[:12], folds, used))


def command_line() -> None:
    """The program, as the installed script starts it."""
    run_command_line(app)


if __name__ == "__main__":
    command_line()
