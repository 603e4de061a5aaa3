"""What stages read of a run: each table, and what stands in for what it lacks."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cascade.base.errors import StageError, TableError
from cascade.competitions import submission
from cascade.config.schema import Pipeline
from cascade.rankings import selection, tables
from cascade.stages import baseline
from cascade.stages.context import Bench


def candidates(bench: Bench, name: str) -> pd.DataFrame:
    """The table of retrieval or pipeline `name`; what it lacks, queries or all, is read from what it judged by.

    That is the ranking its `select` goes by, which found those queries sure or hopeless, else its own
    input. What a retrieval lacks is read from submission zero; StageError where that is missing too.
    """
    own = read_table(bench, name)
    if own is not None and own["query_id"].nunique() == len(bench.competition.test):
        return own
    if any(name == retrieval.name for retrieval in bench.config.retrieval):
        below = zero_table(bench)
    else:
        pipeline = bench.config.pipeline_named(name)
        below = candidates(bench, (pipeline.select and pipeline.select.by) or pipeline.candidates)
    if own is None:
        if below is None:
            path = bench.config.table_path(name, bench.run)
            raise StageError(f"{path}: no such table; run the stage that makes it first")
        return below
    if below is None:
        return own
    return pd.concat([own, below[~tables.among(below["query_id"], set(own["query_id"].unique()))]], ignore_index=True)


def zero_table(bench: Bench) -> pd.DataFrame | None:
    """Submission zero as a ranking whose score is 1/rank."""
    return tables.from_rows(bench.competition.test["query_id"], zero_rows(bench))


def zero_rows(bench: Bench) -> dict[str, list[int]]:
    path = bench.run / baseline.FILE
    try:
        return submission.read(path) if path.is_file() else {}
    except TableError as error:
        print(f"left out: {error}")
        return {}


def read_table(bench: Bench, name: str) -> pd.DataFrame | None:
    """The table of that name; None where it is not there, not enabled or, said aloud, where it is broken."""
    if any(pipeline.name == name and not pipeline.enabled for pipeline in bench.config.pipeline):
        return None
    path = bench.config.table_path(name, bench.run)
    try:
        return check_fits(bench, tables.read(path), path) if path.is_file() else None
    except TableError as error:
        print(f"left out: {error}")
        return None


def check_fits(bench: Bench, table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table itself, or a TableError where it speaks of queries or misconceptions that the data lacks."""
    for column, known in (
        ("query_id", bench.competition.test["query_id"]),
        ("misconception_id", bench.competition.misconceptions["misconception_id"]),
    ):
        there = set(known)  # not `isin`: pandas' is slow for Arrow strings
        strange = [each for each in table[column].unique().tolist() if each not in there] if column in table else []
        if strange:
            raise TableError(f"{path}: {column} {strange[0]} is not in the data; run it again")
    return table


def taken(bench: Bench, pipeline: Pipeline) -> tuple[pd.DataFrame, selection.Saving]:
    """What a pipeline is to score, and what its `select` spares it."""
    rows, given, by = _selected(bench, pipeline)
    return rows, selection.saving(pipeline, given, rows, by, bench.competition.labels)


def _selected(bench: Bench, pipeline: Pipeline) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None]:
    """What a pipeline is to score, of which ranking, and the one it selects by."""
    given = candidates(bench, pipeline.candidates)
    by = read_table(bench, pipeline.select.by) if pipeline.select and pipeline.select.by else None
    return selection.take(pipeline, given, by, bench.competition.seen), given, by


def expected(bench: Bench, stage: str) -> set[str]:
    """The queries that the reasoning stage, a retrieval, a pipeline or the ensemble is to leave in its table."""
    pipeline = next((pipeline for pipeline in bench.config.pipeline if pipeline.name == stage), None)
    rows = bench.competition.test if pipeline is None else _selected(bench, pipeline)[0]
    return set(rows["query_id"].unique())


def members(bench: Bench) -> dict[str, pd.DataFrame]:
    """The valid tables among the ensemble's members, by name, in the config's order."""
    found = {name: read_table(bench, name) for name in bench.config.ensemble.weights}
    return {name: table for name, table in found.items() if table is not None}


def submitted(bench: Bench) -> pd.DataFrame:
    """submission.csv as a ranking of the test's queries whose score is 1/rank; TableError where it is none."""
    path = bench.run / submission.FILE
    ranking = tables.from_rows(bench.competition.test["query_id"], submission.read(path))
    if ranking is None:
        raise TableError(f"{path}: has no query of the data; run again")
    return ranking
