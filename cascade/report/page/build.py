"""Makes a run's page out of what lies in its folder: the ledger, the tables, submission.csv."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
import pandas as pd

from cascade.base import atomic, folder, history, ledger
from cascade.base.errors import CascadeError, StageError
from cascade.competitions import submission
from cascade.competitions.base import Task
from cascade.config.schema import ENSEMBLE
from cascade.rankings import metrics
from cascade.report.page import pictures, queries
from cascade.report.page.launch import FILE
from cascade.stages import fusing, reading, schedule
from cascade.stages.context import RunContext

HERE = Path(__file__).parent
ZERO = "submission zero"


def write(context: RunContext) -> Path:
    """Writes the run's page and returns its path; StageError where there is no run, or no run's folder."""
    folder.check(context.run)
    if not history.entries(context.run):
        raise StageError("missing or empty", path=context.run / ledger.FILE, mend="pass --run with a run's folder")
    path = context.run / FILE
    with atomic.replaced(path) as partial:
        partial.write_text(html(context), encoding="utf-8", errors="replace")
    return path


def html(context: RunContext) -> str:
    """The page; without labels it has no scores and no moves, but how far the rankings agree."""
    task = context.task
    labelled = task.truth is not None and len(task.truth) > 0
    found, zero = rankings(context), reading.zero_table(context)
    stood = ({} if zero is None else {ZERO: zero}) | standing(context, found)
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["duration"] = pictures.duration
    return environment.get_template("page.html").render(
        style=(HERE / "page.css").read_text(encoding="utf-8"),
        script=(HERE / "page.js").read_text(encoding="utf-8"),
        head=head(context),
        labelled=labelled,
        times=pictures.times(context.run, _deadline(context)),
        scores=scores(stood, found, task) if labelled else [],
        moves=list(moves(context, stood)) if labelled else [],
        agreement=agreement(found, task.depth),
        top=task.depth,
        data=queries.data(found, context.queries(), task),
    )


def rankings(context: RunContext) -> dict[str, pd.DataFrame]:
    """The tables there are, by name: retrievals, pipelines, and the ensemble or, where it left none, the fusion."""
    found = reading.rankings(context)
    ensemble = reading.read_table(context, ENSEMBLE)
    if ensemble is None and (members := reading.members(context)):
        ensemble = fusing.fuse(context, members)
    return found | ({} if ensemble is None else {ENSEMBLE: ensemble})


def head(context: RunContext) -> dict[str, Any]:
    """What was run on what, when, for how long, and how it ended."""
    task, attempts = context.task, history.read(context.run)
    start = attempts["zero"].start if "zero" in attempts else min(each.start for each in attempts.values())
    planned = [stage.name for stage in schedule.planned(context)]
    try:
        submission.validate(context.run / "submission.csv", task)
        invalid = ""
    except CascadeError as error:
        invalid = str(error)
    return {
        "config": context.config.path,
        "data": task.folder,
        "queries": len(task.queries),
        "labelled": len(queries.label_of(task)),
        "began": datetime.fromtimestamp(start, UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "seconds": max(0.0, max(each.end for each in attempts.values()) - start),
        "failed": [name for name, each in attempts.items() if each.failure],
        "missing": [name for name in planned if name not in attempts],
        "stages": len(planned),
        "invalid": invalid,
    }


def _deadline(context: RunContext) -> float | None:
    """The last run's, in Unix seconds, where the ledger has it."""
    return next((e["deadline"] for e in reversed(history.entries(context.run)) if "deadline" in e), None)


def scores(stood: Mapping[str, pd.DataFrame], found: Mapping[str, pd.DataFrame], task: Task) -> list[dict[str, Any]]:
    """A row each: the name, `metrics.report`, and how many of the labelled queries the stage itself ranked."""
    labels = task.truth
    assert labels is not None
    return [
        {"name": name, "queries": int(labels["query_id"].isin(found.get(name, table)["query_id"]).sum()),
         **metrics.report(table, labels, task.seen, task.depth, (task.depth, 100))}
        for name, table in stood.items()
    ]  # fmt: skip


def standing(context: RunContext, found: Mapping[str, pd.DataFrame]) -> dict[str, pd.DataFrame]:
    """The rankings as later stages read them: with what a pipeline was spared in the order that it had before."""
    pipelines = {pipeline.name for pipeline in context.config.pipeline}
    return {name: reading.candidates(context, name) if name in pipelines else table for name, table in found.items()}


def moves(context: RunContext, stood: Mapping[str, pd.DataFrame]) -> Iterator[dict[str, Any]]:
    """Returns both names and `pictures.moves` for each ranking that was made of another."""
    labels, seen = context.task.truth, context.task.seen
    assert labels is not None
    of = {pipeline.name: pipeline.candidates for pipeline in context.config.pipeline}
    of[ENSEMBLE] = next(iter(reading.members(context)), ZERO)
    for name, table in stood.items():
        before = of.get(name, ZERO)
        if before in stood and before != name:
            yield {
                "before": before,
                "after": name,
                **pictures.moves(stood[before], table, labels, seen, context.task.depth),
            }


def agreement(found: Mapping[str, pd.DataFrame], depth: int) -> list[dict[str, Any]]:
    """A row each: the name and, against every ranking, the shares of the first ids in common and of equal firsts."""
    common, equal = metrics.agreement(list(found.values()), depth)
    return [
        {"name": name, "cells": [(float(a), float(b)) for a, b in zip(common[row], equal[row], strict=True)]}
        for row, name in enumerate(found)
    ]
