"""What stages read of a run: each table, and what stands in for what it lacks."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from cascade.base.columns import among
from cascade.base.errors import StageError, TableError
from cascade.competitions import submission
from cascade.config.schema import Pipeline
from cascade.rankings import selection, tables
from cascade.stages import baseline, checkpoints
from cascade.stages.context import RunContext


def candidates(context: RunContext, name: str) -> pd.DataFrame:
    """The table of retrieval or pipeline `name`; what it lacks, queries or all, is read from what it judged by.

    That is the ranking its `select` goes by, which found those queries sure or hopeless, else its own
    input. What a retrieval lacks is read from submission zero; StageError where that is missing too.
    """
    own = read_table(context, name)
    if own is not None and own["query_id"].nunique() == len(context.task.queries):
        return own
    if any(name == retrieval.name for retrieval in context.config.retrieval):
        below = zero_table(context)
    else:
        pipeline = context.config.pipeline_named(name)
        below = candidates(context, (pipeline.select and pipeline.select.by) or pipeline.candidates)
    if own is None:
        if below is None:
            path = context.config.table_path(name, context.run)
            raise StageError("no such table", path=path, mend="run the stage that makes it first")
        return below
    if below is None:
        return own
    return pd.concat([own, below[~among(below["query_id"], set(own["query_id"].unique()))]], ignore_index=True)


def zero_table(context: RunContext) -> pd.DataFrame | None:
    """Submission zero as a ranking whose score is 1/rank."""
    return tables.from_rows(context.task.queries["query_id"], zero_rows(context))


def zero_rows(context: RunContext) -> dict[str, list[int]]:
    path = context.run / baseline.FILE
    try:
        return submission.read(path, context.task) if path.is_file() else {}
    except TableError as error:
        print(f"left out: {error}")
        return {}


def read_table(context: RunContext, name: str) -> pd.DataFrame | None:
    """The table of that name; None where it is not there, not enabled or, said aloud, where it is broken."""
    if (pipeline := context.config.find_pipeline(name)) is not None and not pipeline.enabled:
        return None
    path = context.config.table_path(name, context.run)
    try:
        return table_at(context, path) if path.is_file() else None
    except TableError as error:
        print(f"left out: {error}")
        return None


def table_at(context: RunContext, path: Path) -> pd.DataFrame:
    """A stage's table, read again only where its file has changed; TableError where it is missing or not valid."""
    stat = path.stat() if path.is_file() else None
    stamp = stat and (stat.st_ino, stat.st_mtime_ns, stat.st_size)
    known, table = context.read.get(path, (None, None))
    if table is None or known != stamp:
        table = check_fits(context, checkpoints.contract(path).read(path), path)
        context.read[path] = stamp, table
    return table


def check_fits(context: RunContext, table: pd.DataFrame, path: Path) -> pd.DataFrame:
    """The table itself, or a TableError where it speaks of queries or labels that the data lacks."""
    for column, known in (
        ("query_id", context.task.queries["query_id"]),
        ("label_id", context.task.labels["label_id"]),
    ):
        there = set(known)  # not `isin`: pandas' is slow for Arrow strings
        strange = [each for each in table[column].unique().tolist() if each not in there] if column in table else []
        if strange:
            raise TableError("is not in the data", path=path, key=f"{column} {strange[0]}", mend="run its stage again")
    return table


def taken(context: RunContext, pipeline: Pipeline) -> tuple[pd.DataFrame, selection.Saving]:
    """What a pipeline is to score, and what its `select` spares it."""
    rows, given, by = _selected(context, pipeline)
    return rows, selection.saving(pipeline, given, rows, by, context.task.truth, context.task.depth)


def _selected(context: RunContext, pipeline: Pipeline) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame | None]:
    """What a pipeline is to score, of which ranking, and the one it selects by."""
    given = candidates(context, pipeline.candidates)
    by = read_table(context, pipeline.select.by) if pipeline.select and pipeline.select.by else None
    return selection.take(pipeline, given, by, context.task.seen), given, by


def expected(context: RunContext, stage: str) -> set[str]:
    """The queries that the reasoning stage, a retrieval, a pipeline or the ensemble is to leave in its table."""
    pipeline = context.config.find_pipeline(stage)
    rows = context.task.queries if pipeline is None else _selected(context, pipeline)[0]
    return set(rows["query_id"].unique())


def rankings(context: RunContext, names: Iterable[str] | None = None) -> dict[str, pd.DataFrame]:
    """The valid tables of these stages, by name; default: of every retrieval and pipeline."""
    if names is None:
        names = [each.name for each in (*context.config.retrieval, *context.config.pipeline)]
    found = {name: read_table(context, name) for name in names}
    return {name: table for name, table in found.items() if table is not None}


def members(context: RunContext) -> dict[str, pd.DataFrame]:
    """The valid tables among the ensemble's members, by name, in the config's order."""
    return rankings(context, context.config.ensemble.weights)


def submitted(context: RunContext) -> pd.DataFrame:
    """submission.csv as a ranking of the test's queries whose score is 1/rank; TableError where it is none."""
    path = context.run / submission.FILE
    ranking = tables.from_rows(context.task.queries["query_id"], submission.read(path, context.task))
    if ranking is None:
        raise TableError("contains no query of the data", path=path, mend="run its stage again")
    return ranking
