"""`python -m cascade`: the commands that run where there is no internet."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from cascade.base.command_line import ShowVersion, new_app, run_command_line
from cascade.base.runtime import ROOT

app = new_app()
# Transformers reports at length which weights a head does not use; stages inherit this.
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
NOTEBOOKS = ROOT / "notebooks"
SAMPLE = Path("configs/sample.toml")
Data = Annotated[Path | None, typer.Option(help="folder with the competition's files; default: the sample's")]
Unseen = Annotated[
    float | None, typer.Option(help="share of unseen labels in each test; default: the competition's", min=0, max=1)
]


@app.callback()
def main(version: ShowVersion = False) -> None:
    """Turns a competition's CSV files into submission.csv, through the notebooks."""


@app.command()
def run(
    config: Annotated[Path, typer.Option(help="the run's TOML file")] = SAMPLE,
    data: Data = None,
    out: Annotated[Path, typer.Option(help="folder for submission.csv, tables, notebooks and the ledger")] = Path(
        "build/run"
    ),
    deadline: Annotated[float | None, typer.Option(help="when to end, in Unix seconds; default: by the config")] = None,
    notebooks: Annotated[Path, typer.Option(help="folder of the stage notebooks")] = NOTEBOOKS,
    engine: Annotated[str, typer.Option(help="vllm or transformers; default: the config's")] = "",
    resume: Annotated[
        bool, typer.Option("--resume", help="keep what an earlier run made in --out and is still valid")
    ] = (False),
    again: Annotated[
        str, typer.Option("--from", help="with earlier results, repeat this stage and the later ones")
    ] = "",
    began: Annotated[float | None, typer.Option(help="start of the limit, in Unix seconds; default: now")] = None,
    practice: Annotated[int, typer.Option(min=0, help="add this many labelled train queries to the test")] = 0,
) -> None:
    """Runs all stages; exits with 0 only if each succeeded and submission.csv is valid."""
    from cascade.competitions import registry
    from cascade.kaggle import holdout as practising
    from cascade.run import conductor

    data = data or registry.sample_of(config)
    conduct = partial(practising.conduct, practice) if practice else conductor.conduct
    raise typer.Exit(conduct(config, data, out, notebooks, deadline, engine, resume, began, again))


@app.command()
def check(
    config: Annotated[Path, typer.Argument(help="the run's TOML file")] = SAMPLE,
    named: Annotated[Path | None, typer.Option("--config", help="the same, as an option")] = None,
    data: Annotated[Path | None, typer.Option(help="the data folder; default: not checked")] = None,
    out: Annotated[Path | None, typer.Option(help="the run's folder; default: not checked")] = None,
    engine: Annotated[str, typer.Option(help="vllm or transformers; default: the config's")] = "",
) -> None:
    """Finds what is wrong with a run before it starts, without loading weights; exits with 1 if anything is."""
    from cascade.base.printable import printable
    from cascade.models.checks.target import this_machine
    from cascade.run.check import of_files

    wrong = 0
    for fact in of_files(named or config, data, out, engine, this_machine(begins=False)):
        typer.echo(printable(str(fact)))
        wrong += fact.ok is False
    raise typer.Exit(1 if wrong else 0)


@app.command()
def page(
    config: Annotated[Path | None, typer.Option(help="the run's TOML file; default: as recorded in the run")] = None,
    data: Annotated[
        Path | None, typer.Option(help="the data folder of the run; default: as recorded in the run")
    ] = None,
    run: Annotated[Path, typer.Option(help="the run's folder")] = Path("build/run"),
) -> None:
    """Makes the page of a run, report.html, again."""
    from cascade.report.page.build import write
    from cascade.stages.resume import open_run

    typer.echo(write(open_run(run, config, data)))


@app.command()
def compare(
    a: Annotated[Path, typer.Argument(help="a run's folder, such as build/run/previous")],
    b: Annotated[Path, typer.Argument(help="another run's folder, such as build/run")],
    data: Annotated[Path | None, typer.Option(help="the data folder of both runs; default: as recorded")] = None,
    out: Annotated[Path, typer.Option(help="file for the page")] = Path("build/compare.html"),
) -> None:
    """Shows what changed from run A to run B, and the effect on MAP, times and queries."""
    from cascade.evaluation.compare.command import compare as run_comparison

    run_comparison(a, b, data, out)


@app.command()
def fit(
    run: Annotated[list[Path], typer.Option(help="a labelled run's folder; once for each run or fold")],
    config: Annotated[Path | None, typer.Option(help="a TOML file with another [ensemble]; default: the runs'")] = None,
    data: Annotated[
        list[Path] | None, typer.Option(help="each run's data folder, in order; default: as recorded")
    ] = None,
    out: Annotated[Path, typer.Option(help="file for the table [ensemble]")] = Path("build/fit.toml"),
    unseen: Annotated[
        float | None, typer.Option(help="share of unseen labels to fit for; default: as in the runs", min=0, max=1)
    ] = None,
    seed: Annotated[int, typer.Option(help="seed of the halves of a single run, and of the interval")] = 0,
) -> None:
    """Fits the ensemble's weights and its boost, or its share, to the ranking tables of labelled runs.

    It keeps the config's numbers unless the fitted ones gain on queries held out. What no ranking table tells is not
    fitted: a retrieval's weights and gate (make train fits them), and the thresholds of a pipeline's select.
    """
    from cascade.evaluation.fit.command import fit as run_fit

    run_fit(run, config, data or [], out, unseen, seed)


@app.command()
def folds(
    out: Annotated[Path, typer.Option(help="folder for fold-0, fold-1, …")],
    data: Data = None,
    count: Annotated[int, typer.Option(help="how many folds")] = 5,
    questions: Annotated[int | None, typer.Option(help="most test questions in a fold")] = None,
    unseen: Unseen = None,
    seed: Annotated[int, typer.Option(help="seed of the random choices")] = 0,
    competition: Annotated[
        str, typer.Option(help="name or .py file of the competition; default: found by the files")
    ] = "",
    config: Annotated[Path | None, typer.Option(help="or a TOML file that names the competition")] = None,
    by: Annotated[str, typer.Option(help="a column, such as ConstructId, that no two folds' tests share")] = "",
    given: Annotated[
        Path | None, typer.Option("--from", help="make again the folds of this folds.json, whatever else is asked for")
    ] = None,
) -> None:
    """Splits train.csv into folds: data folders, each with a labelled test."""
    from cascade.competitions import registry
    from cascade.config.schema import load
    from cascade.evaluation.folds import write_again, write_folds

    own = data or registry.sample_of(config or SAMPLE)
    if competition:
        found = registry.find(competition, Path())
    else:
        found = registry.of(load(config)) if config else registry.of_data(own)
    share = found.unseen if unseen is None else unseen
    made = (
        write_again(found, own, out, given)
        if given
        else write_folds(found, own, out, count, share, seed, questions, by)
    )
    for folder in made:
        typer.echo(folder)


@app.command()
def evaluate(
    config: Annotated[Path, typer.Option(help="the run's TOML file")] = SAMPLE,
    data: Data = None,
    out: Annotated[Path, typer.Option(help="folder for folds, evaluate.csv, evaluate.png")] = Path("build/evaluate"),
    folds: Annotated[
        int | None, typer.Option(min=0, help="default: 3; on a sample 0, which uses the folder's own test")
    ] = None,
    questions: Annotated[int | None, typer.Option(help="most test questions in a fold")] = None,
    unseen: Unseen = None,
    seed: Annotated[int, typer.Option(help="seed of the random choices")] = 0,
    engine: Annotated[str, typer.Option(help="vllm or transformers; default: the config's")] = "",
) -> None:
    """Cross-validates every stage of the config, LLMs included, on a labelled folder.

    It uses the code of a real run, but without a deadline: no query is dropped or cut.
    """
    from cascade.competitions import registry
    from cascade.config.schema import load
    from cascade.evaluation.evaluate import evaluate as run_evaluation

    competition = registry.of(load(config))
    own = data or registry.sample_of(config)
    if folds is None:  # what a sample has of trained weights is trained on its train.csv, folds of which flatter them
        folds = 0 if competition.sample and own.resolve() == Path(competition.sample).resolve() else 3
    share = competition.unseen if unseen is None else unseen
    run_evaluation(config, own, out, folds, questions, share, seed, engine)


@app.command()
def plan(
    config: Annotated[Path, typer.Option(help="the run's TOML file")] = SAMPLE,
    data: Data = None,
    queries: Annotated[
        int | None, typer.Option(help="how many queries to plan for; default: those of test.csv")
    ] = None,
    profile: Annotated[Path | None, typer.Option(help="file of rates; default: profiles/t4x2.toml or cpu.toml")] = None,
    engine: Annotated[str, typer.Option(help="vllm or transformers; default: the config's")] = "",
    calibrate: Annotated[
        list[Path] | None, typer.Option(help="ledger.jsonl of a run with this config and data")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="the picture, or with --calibrate the profile; default: in build/")
    ] = None,
) -> None:
    """Predicts how long each stage takes; exits with 0 if the run fits its limit.

    --calibrate writes a profile of measured rates instead.
    """
    from cascade.competitions import registry
    from cascade.plan import command

    data = data or registry.sample_of(config)
    if calibrate:
        command.calibrate(config, data, calibrate, profile, engine, out)
    else:
        raise typer.Exit(command.plan(config, data, queries, profile, engine, out or Path("build/plan.png")))


def command_line() -> None:
    """The program, as the installed script starts it."""
    run_command_line(app)


if __name__ == "__main__":
    command_line()
