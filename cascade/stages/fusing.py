"""The members' fusion, and submission.csv made of it."""

from __future__ import annotations

import contextlib
from collections.abc import Collection
from pathlib import Path

import pandas as pd

from cascade.base import folder as folders
from cascade.base import manifest
from cascade.base.columns import among
from cascade.base.errors import TableError
from cascade.competitions import submission
from cascade.rankings import fusion, tables
from cascade.stages.context import RunContext
from cascade.stages.reading import read_table, zero_rows


def fuse(context: RunContext, rankings: dict[str, pd.DataFrame], boosted: bool = True) -> pd.DataFrame:
    """The members' rank fusion, with the config's unseen boost, as a ranking table."""
    settings = context.config.ensemble
    fused = fusion.fuse(rankings, settings.weights)
    seen = context.task.seen
    if boosted and settings.unseen_boost is not None:
        fused = fusion.boost_unseen(fused, seen, settings.unseen_boost)
    elif boosted and settings.unseen_share is not None:
        fused = fusion.boost_unseen(fused, seen, fusion.factor_for_share(fused, seen, settings.unseen_share))
    return fusion.to_table(fused)


def write_submission(context: RunContext, table: pd.DataFrame, of: Collection[str]) -> dict[str, list[int]] | None:
    """submission.csv from a ranking: a row that is short is filled from its candidates, then from submission zero.

    `of`: the members it was fused from. What it would write is checked first: TableError leaves the file as it is. So
    does, with None, a valid one of more of the ensemble's weight: a table that is gone makes no submission better.
    """
    path = context.run / submission.FILE
    weights, standing = context.config.ensemble.weights, _standing_members(context, path)
    lost = [name for name in standing if name not in of]
    if sum(weights[name] for name in of) < sum(weights[name] for name in standing):
        print(f"{path}: kept, as it was also made with {', '.join(lost)}; remove it to make it without")
        return None
    known, length = list(context.task.texts), submission.row_length(context.task)
    first = tables.ids(tables.cut(table, length))
    rows = {query_id: first.get(query_id, []) for query_id in context.task.asked}
    short = {query_id for query_id, ids in rows.items() if len(ids) < length}
    if short:  # else no other table need be read
        names = dict.fromkeys([*context.config.ensemble.weights, *(each.name for each in context.config.retrieval)])
        given = (read_table(context, name) for name in names)
        of_short = (each[among(each["query_id"], short)] for each in given if each is not None)
        lists = [*map(tables.ids, of_short), zero_rows(context)]
        for query_id in short:
            others = (ids.get(query_id, []) for ids in lists)
            rows[query_id] = fusion.fill(rows[query_id], *others, known, length=length)
    submission.check(rows, context.task, str(path))
    submission.write(rows, context.task, path)
    with contextlib.suppress(OSError):  # a disk that is full now costs the copy and the record, not the submission
        submission.write(rows, context.task, context.run / submission.LAST)
        folders.update(context.run, submission={"sha256": manifest.sha256(path), "members": list(of)})
    return rows


def _standing_members(context: RunContext, path: Path) -> list[str]:
    """The ensemble's members of which the valid submission that is there was made, as the run's record knows it."""
    told = (folders.read(context.run) or {}).get("submission", {})
    try:
        if told.get("sha256") != manifest.sha256(path):
            return []
        submission.validate(path, context.task)
    except (OSError, TableError):
        return []
    return [name for name in told["members"] if name in context.config.ensemble.weights]
