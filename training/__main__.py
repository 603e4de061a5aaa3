"""`python -m training`: the LoRA weights and the numbers of a config."""

from pathlib import Path
from typing import Annotated

import typer

from cascade.base.command_line import ShowVersion, new_app, run_command_line
from cascade.base.errors import StageError
from cascade.competitions.registry import sample_of
from cascade.config import schema as configs
from training.jobs import models

app = new_app()
Data = Annotated[Path | None, typer.Option(help="folder with the train.csv to train on; default: the sample's")]
Config = Annotated[Path, typer.Option(help="the run's TOML file")]
Out = Annotated[Path | None, typer.Option(help="folder for the adapter (default: in the sample, or in build/)")]
Checkpoints = Annotated[
    Path | None, typer.Option(help="folder for checkpoints, from which the same command goes on after an interruption")
]
Rate = typer.Option(min=1e-6, max=1, help="the learning rate")
Epochs = typer.Option(min=0.01, help="how often each query is read")
Adapters = Annotated[Path | None, typer.Option(help="folder of the retrieval's adapters, in place of the config's own")]
Replace = Annotated[bool, typer.Option("--replace", help="even if another training's adapter is there")]
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


@app.command("run")
def run_all(
    config: Config = Path("configs/sample.toml"),
    data: Data = None,
    root: Annotated[Path | None, typer.Option(help="the training's own folder (default: in build/train/)")] = None,
    folds: Annotated[int, typer.Option(min=2, help="how many folds")] = 3,
    folds_from: Annotated[
        Path | None, typer.Option(help="the folds.json of another training or of `make folds`, for the same folds")
    ] = None,
    queries: Annotated[int | None, typer.Option(min=1, help="train each LLM on so many queries; default: all")] = None,
    only: Annotated[str, typer.Option(help="only the jobs whose names fit this, and those they need: 'fold-0/*'")] = "",
    by: Annotated[str, typer.Option(help="a column, such as ConstructId, that no two folds' tests share")] = "",
    push_too: Annotated[bool, typer.Option("--push", help="packs, checks and pushes the adapters")] = False,
    image: Annotated[str, typer.Option(help="the image that they are pushed for: a name in wheels/")] = "kaggle-t4x2",
    ray: Annotated[
        str | None,
        typer.Option(help="run the jobs on the Ray cluster of this address; local starts one"),
    ] = None,
    cores: Annotated[int | None, typer.Option(min=1, help="with --ray, of each job; default: a whole node's")] = None,
    show: Annotated[bool, typer.Option("--show", help="lists the jobs and what is due, and runs none")] = False,
) -> None:
    """Trains each adapter of the config on every fold and on all data, scores the folds, and fits the config's numbers.

    What is up to date is left as it is, so that a run that was stopped goes on when it is repeated.
    """
    from training.jobs import push, records, runner, starting

    settings, own = configs.load(config), data or sample_of(config)
    board = starting.board(settings, own, root, folds_from or folds, queries, only, by, ray, cores)
    if show:
        starting.show(board)
        return
    if push_too:
        push.check(settings, board, image)
    with records.kept(board, settings):
        runner.run(board)
    if push_too:
        push.push(settings, board.root, image)


@app.command("scores")
def score_fold(
    config: Config,
    data: Annotated[Path, typer.Option(help="folder of data with a labelled test")],
    adapters: Annotated[Path, typer.Option(help="folder of the adapters, in place of the config's")],
    out: Annotated[Path, typer.Option(help="folder for scores.json and a run's tables")],
) -> None:
    """Scores every stage of a config with other adapters on data that they were not trained on."""
    from training import scores

    scores.write(configs.load(config), data, adapters, out)


@app.command("retriever")
def train_retriever(
    adapter: Annotated[str | None, typer.Argument(help="of a retriever of kind 'dense'; default: the first")] = None,
    config: Config = Path("configs/sample.toml"),
    data: Data = None,
    out: Out = None,
    epochs: Annotated[float, Epochs] = 4,
    batch_size: Annotated[int, typer.Option(min=2, help="queries whose labels are one another's negatives")] = 32,
    rate: Annotated[float | None, Rate] = None,
    rank: Annotated[
        int | None, typer.Option(min=1, help="of the adapter: its size, and how much it can hold (128; 32 by LoRA)")
    ] = None,
    hard: Annotated[int, typer.Option(min=0, help="hard negatives a query, found after half of the epochs")] = 0,
    unlabelled: Annotated[
        bool, typer.Option("--unlabelled", help="also labels that train lacks, and that may be unseen, are negatives")
    ] = False,
    whole: Annotated[
        bool | None,
        typer.Option(
            "--whole/--lora", help="train the linear layers and keep them as LoRA, or LoRA alone; default: by the size"
        ),
    ] = None,
    checkpoints: Checkpoints = None,
    replace: Replace = False,
) -> None:
    """Trains a dense retriever's adapter."""
    from training import retriever

    data, run = data or sample_of(config), configs.load(config)
    named = adapter or next(iter(models.retrievers(run)), "")
    settings = retriever.Settings(epochs, batch_size, rate, rank, hard, unlabelled, whole)
    own = place(data, out, f"adapters/{named}")
    retriever.train(data, run, adapter, own, settings, kept=checkpoints, replaces=replace)


@app.command("cross-encoder")
def train_cross_encoder(
    adapter: Annotated[str | None, typer.Argument(help="of a pipeline of that kind; default: the first")] = None,
    config: Config = Path("configs/cross-encoder.toml"),
    data: Data = None,
    out: Out = None,
    adapters: Adapters = None,
    epochs: Annotated[float, Epochs] = 2,
    rate: Annotated[float, Rate] = 5e-4,
    checkpoints: Checkpoints = None,
    replace: Replace = False,
) -> None:
    """Trains a cross-encoder's adapter, with wrong candidates of the config's first retrieval as negatives."""
    from training import cross_encoder, lora

    data, run = data or sample_of(config), configs.load(config)
    named = adapter or next(iter(models.cross_encoders(run)), "")
    given, own = lora.with_adapters(run, adapters), place(data, out, f"adapters/{named}")
    cross_encoder.train(data, given, adapter, own, epochs, rate, kept=checkpoints, replaces=replace)


@app.command("reranker")
def train_reranker(
    stage: Annotated[str, typer.Argument(help="name of the [[pipeline]], which asks an LLM")],
    config: Config = Path("configs/sample-llm.toml"),
    data: Data = None,
    out: Out = None,
    adapters: Adapters = None,
    queries: Annotated[int | None, typer.Option(min=1, help="train on so many of its queries; default: all")] = None,
    epochs: Annotated[float, Epochs] = 1.0,
    rate: Annotated[float, Rate] = 1e-3,
    teacher: Annotated[
        list[Path] | None,
        typer.Option(
            help="a ranking table of a larger model about train's queries, or several: its scores are targets"
        ),
    ] = None,
    taught: Annotated[float, typer.Option(min=0, max=1, help="the teacher's part of the loss")] = 0.5,
    checkpoints: Checkpoints = None,
    replace: Replace = False,
) -> None:
    """Trains an LLM pipeline's adapter, with negatives of the config's first retrieval, and makes its canaries."""
    from training import reranker

    run, data = configs.load(config), data or sample_of(config)
    adapter = reranker.pipeline_of(run, stage).adapter or stage
    settings, own = reranker.Settings(queries, epochs, rate, taught), place(data, out, f"adapters/{adapter}")
    reranker.train(data, run, stage, own, settings, adapters, kept=checkpoints, replaces=replace, teacher=teacher or ())


@app.command("tiny-models")
def train_tiny_models(
    data: Annotated[Path, typer.Option(help="folder with the train.csv to train on")] = SAMPLE,
    models: Annotated[Path | None, typer.Option(help="parent folder of the model, which is replaced")] = None,
    adapters: Annotated[Path | None, typer.Option(help="parent folder of the adapters, which are replaced")] = None,
) -> None:
    """Trains a tiny LLM from scratch, and its pointwise and listwise adapters."""
    from training import tiny

    tiny.train(data, place(data, models, "models", "--models"), place(data, adapters, "adapters", "--adapters"))


@app.command("record")
def record_jobs(root: Annotated[Path, typer.Argument(help="the folder of a training")]) -> None:
    """Adds a training's finished jobs to the MLflow store in its folder; those that are there stay."""
    from training.jobs import store

    typer.echo(f"{store.address(root)}: {store.fill(root)} jobs added")


@app.command("fit")
def fit_numbers(
    root: Annotated[Path, typer.Argument(help="the folder of a training whose folds are done")],
    config: Config = Path("configs/sample.toml"),
    folds: Annotated[int, typer.Option(min=1, help="how many folds it has")] = 3,
) -> None:
    """Fits the config's weights, gate and boost on a training's folds, prints them and writes them as TOML."""
    from training.weights import fit

    typer.echo(fit(configs.load(config), root, folds))


def command_line() -> None:
    """The program, as the installed script starts it."""
    run_command_line(app)


if __name__ == "__main__":
    command_line()
