"""`python -m cascade`: the commands that run where there is no internet."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from cascade.errors import run_command_line
from cascade.paths import ROOT

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)
# Transformers reports at length which weights a head does not use; stages inherit this.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
NOTEBOOKS = ROOT / "notebooks"


@app.callback()
def main() -> None:
    """From competition CSVs to submission.csv, through the notebooks."""


@app.command()
def run(
    config: Annotated[Path, typer.Option(help="the run's TOML file")] = Path("configs/sample.toml"),
    data: Annotated[Path, typer.Option(help="folder with train.csv, test.csv, misconception_mapping.csv")] = Path(
        "sample"
    ),
    out: Annotated[Path, typer.Option(help="folder for submission.csv, tables, notebooks and the ledger")] = Path(
        "build/run"
    ),
    deadline: Annotated[float | None, typer.Option(help="Unix seconds; default: the config's limit from now")] = None,
    notebooks: Annotated[Path, typer.Option(help="folder of the stage notebooks")] = NOTEBOOKS,
    engine: Annotated[str, typer.Option(help="vllm or transformers; default: the config's")] = "",
    resume: Annotated[bool, typer.Option("--resume", help="keep what an earlier run left in --out")] = False,
) -> None:
    """Runs all stages; exits with 0 only if each succeeded and submission.csv is valid."""
    from cascade.conductor import conduct

    raise typer.Exit(conduct(config, data, out, notebooks, deadline, engine, resume))


@app.command()
def folds(
    data: Annotated[Path, typer.Option(help="a folder with labels in train.csv")],
    out: Annotated[Path, typer.Option(help="folder for fold-0, fold-1, …")],
    count: Annotated[int, typer.Option(help="how many folds")] = 5,
    questions: Annotated[int | None, typer.Option(help="at most so many test questions a fold")] = None,
    unseen: Annotated[float, typer.Option(help="share of unseen labels in each test", min=0, max=1)] = 0.6,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Makes data folders with a labelled test out of held-out questions and misconceptions."""
    from cascade.folds import write_folds

    for folder in write_folds(data, out, count, unseen, seed, questions):
        typer.echo(folder)


@app.command()
def evaluate(
    config: Annotated[Path, typer.Option(help="the run's TOML file")] = Path("configs/sample.toml"),
    data: Annotated[Path, typer.Option(help="a folder with labels in train.csv")] = Path("sample"),
    out: Annotated[Path, typer.Option(help="folder for folds, evaluate.csv, evaluate.png")] = Path("build/evaluate"),
    folds: Annotated[int, typer.Option(min=0, help="0: score the folder's own test by test_labels.csv")] = 3,
    questions: Annotated[int | None, typer.Option(help="at most so many test questions a fold")] = None,
    unseen: Annotated[float, typer.Option(help="share of unseen labels in each test", min=0, max=1)] = 0.6,
    seed: Annotated[int, typer.Option()] = 0,
) -> None:
    """Cross-validates every part of the config on a labelled folder."""
    from cascade.evaluate import evaluate as run_evaluation

    run_evaluation(config, data, out, folds, questions, unseen, seed)


if __name__ == "__main__":
    run_command_line(app)
