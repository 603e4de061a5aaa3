"""The runs that numbers are fitted on: read from their folders, and refused where they cannot be judged together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from cascade.base import folder
from cascade.base.errors import DataError, StageError
from cascade.config import schema as configs
from cascade.config.schema import Config
from cascade.evaluation.compare import changes
from cascade.evaluation.compare.sides import FORMER, Side, config_of, data_of
from cascade.evaluation.fit.judged import Judged
from cascade.stages import reading
from cascade.stages.context import RunContext

# Keys of a stage that change its time and not what it ranks; each fold has adapters of its own.
BESIDE = ("limit", "batch_size", "chunk", "enabled")


def open_runs(runs: Sequence[Path], config: Path | None, data: Sequence[Path]) -> list[Side]:
    """Opens each run with its own config, or the given one, and the data that its record or `data` names.

    StageError for a folder that is no run's or is told twice, for runs of different competitions or members, and for
    data that has changed since its run; DataError where it has no labels, or where two runs share labelled queries.
    """
    if len(data) not in (0, len(runs)):
        raise StageError(f"{len(data)} data folders for {len(runs)} runs", key="--data", mend="pass one for each --run")
    told = None if config is None else configs.load(config)
    sides: list[Side] = []
    for place, run in enumerate(runs):
        if run.resolve() in [side.run.resolve() for side in sides]:
            raise StageError("is passed twice", path=run, key="--run", mend="pass each run once")
        sides.append(_open(run, told, data[place] if data else None))
    for side in sides[1:]:
        _check_alike(sides[0], side)
    _check_apart(sides)
    return sides


def _open(run: Path, config: Config | None, data: Path | None) -> Side:
    record = folder.read(run)
    if record is None or not record["stages"]:
        raise StageError("is not a run's folder", path=run, mend="pass a run's folder, such as build/run")
    own = config_of(run, record)
    task, changed = data_of(own, run, record, data)
    if changed:
        raise StageError("has changed since the run", path=changed[0], key=f"run {run}", mend=FORMER)
    if task.truth is None or task.truth.empty:
        raise DataError(
            "has no labels (test_labels.csv)", path=task.folder,
            mend=f"add them and run again, or pass a run on a folder of python -m cascade folds instead of {run}",
        )  # fmt: skip
    if config is not None:
        if config.competition != own.competition:
            raise StageError(f"is a run of {own.competition}", path=run, mend="pass a --config of the same competition")
        own = config
    return Side(run, record, RunContext(own, task, run))


def _check_alike(first: Side, side: Side) -> None:
    a, b = context_of(first), context_of(side)
    if a.task.competition.name != b.task.competition.name:
        names = f"{b.task.competition.name}, and {first.run} of {a.task.competition.name}"
        raise StageError(f"is a run of {names}", path=side.run, mend="pass runs of one competition")
    members = [sorted(each.config.ensemble.weights) for each in (a, b)]
    if members[0] != members[1]:
        raise StageError(
            f"fuses {', '.join(members[1])}, and {first.run} fuses {', '.join(members[0])}", path=side.run,
            mend="pass runs with the same members, or a --config for all of them",
        )  # fmt: skip


def _check_apart(sides: Sequence[Side]) -> None:
    """A query of two runs would count twice, and would be fitted on where it is said to be left out."""
    known: dict[tuple[str, str], Path] = {}
    for side in sides:
        task = context_of(side).task
        assert task.truth is not None
        of = task.queries[task.queries["query_id"].isin(task.truth["query_id"])]
        own = list(zip(of["query_id"], of["text"], strict=True))
        if shared := [known[query] for query in own if query in known]:
            raise DataError(
                f"{len(shared)} of its labelled queries are also those of {shared[0]}", path=side.run,
                mend="pass runs of different queries, such as those of python -m cascade folds",
            )  # fmt: skip
        known |= dict.fromkeys(own, side.run)


def context_of(side: Side) -> RunContext:
    assert side.context is not None, "_open has filled it"
    return side.context


def settings_notes(sides: Sequence[Side]) -> Iterator[str]:
    """In what else than the ensemble's numbers a run differs from the first."""
    for side in sides[1:]:
        found = [
            each for each in changes.settings(sides[0], side)
            if each.key.startswith(("reason", "retrieval", "pipeline")) and each.key.rpartition(".")[2] not in BESIDE
        ]  # fmt: skip
        if found:
            more = f", and {len(found) - 1} more" if len(found) > 1 else ""
            yield f"{side.run} has {found[0].key} = {found[0].new}, and {sides[0].run} has {found[0].old}{more}"


def judged(sides: Sequence[Side]) -> tuple[list[Judged], list[str], list[str]]:
    """The runs as they can be judged, the members without any table, and what is to be said of the others.

    StageError where some runs have a member's table and others lack it, or no member has one.
    """
    config = context_of(sides[0]).config
    found = [reading.members(context_of(side)) for side in sides]
    lacking = [name for name in config.ensemble.weights if not any(name in tables for tables in found)]
    notes = []
    for side, tables in zip(sides, found, strict=True):
        for name in config.ensemble.weights:
            if name in lacking:
                continue
            if name not in tables:
                raise StageError(
                    f"has no table of {name}, which another run has", path=side.run,
                    mend="finish it with --resume, or leave it out",
                )  # fmt: skip
            expected = reading.expected(context_of(side), name)
            if missed := len(expected - set(tables[name]["query_id"])):
                notes.append(
                    f"{side.run}: {name} failed for {missed} of {len(expected)} queries, which it adds nothing to"
                )
    if not any(found):
        raise StageError("has no table of any member", path=sides[0].run, mend="finish it with --resume")
    return [_judged(side, tables) for side, tables in zip(sides, found, strict=True)], lacking, notes


def _judged(side: Side, tables: dict[str, pd.DataFrame]) -> Judged:
    task = context_of(side).task
    assert task.truth is not None
    field = task.competition.group
    groups = task.queries.set_index("query_id")[field].reindex(task.truth["query_id"]).tolist() if field else []
    return Judged(side.run, tables, task.truth, task.seen, task.depth, groups)
