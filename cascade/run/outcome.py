"""How a stage ended: what failed, what of it counts all the same, what it cost, and what is left of that in a file."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cascade.base import atomic, folder, history
from cascade.base.errors import CascadeError, TableError
from cascade.config.schema import ENSEMBLE, REASON
from cascade.processes import tree
from cascade.stages import checkpoints, reading
from cascade.stages.context import RunContext
from cascade.stages.schedule import Stage


@dataclass
class Result:
    """How a stage ended; `used`: its table, or the part that was finished, counts in spite of a failure."""

    stage: Stage
    failure: str | None = None
    used: bool = False


def why_failed(outcome: tree.Outcome, log: Path, limit: float) -> str | None:
    if outcome.code is None:
        return f"ended at its limit of {limit:.0f} s"
    if outcome.code < 0:
        return f"killed by {signal.Signals(-outcome.code).name}"
    if outcome.code > 0:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return f"exit code {outcome.code}: {lines[-1] if lines else 'no output'}"
    return None


def is_whole(context: RunContext, stage: Stage) -> bool:
    """Whether an earlier run left the stage's table with all the queries that are wanted now."""
    try:
        table = reading.table_at(context, stage.table)
        return reading.expected(context, stage.of) <= set(table["query_id"].unique())
    except CascadeError:
        return False


def judge(context: RunContext, result: Result, wanted: set[str]) -> None:
    """Success is exit code 0 and a valid table of the `wanted` queries; what a failed stage finished still counts."""
    path = result.stage.table
    try:
        try:
            table = reading.table_at(context, path)
        except TableError as error:
            if not checkpoints.parts_folder(path).is_dir():
                raise
            result.failure = result.failure or f"its table is not valid: {error}"
            table = reading.check_fits(context, checkpoints.gather(path), path)
        result.used = True
        reached = len(wanted & set(table["query_id"].unique()))
        if reached < len(wanted):
            why = (
                "; ".join(filter(None, [result.failure, _decision(context, result.stage)])) or "stopped before its end"
            )
            result.failure = f"{why} ({reached} of {len(wanted)} queries)"
    except (TableError, OSError) as error:
        result.failure = result.failure or f"left no valid table: {error}"
        path.unlink(missing_ok=True)


def _decision(context: RunContext, stage: Stage) -> str:
    """What the stage's own ledger says of why it left queries out."""
    attempt = history.read(context.run).get(stage.name)
    return str(attempt.phase("score").get("decision", "")) if attempt else ""


def cost(context: RunContext, result: Result) -> str:
    """What the run lost by a stage that failed, in words."""
    weights = context.config.ensemble.weights
    name = result.stage.of
    if name == REASON:
        return "its text; retrievers and prompts do without it"
    if name == ENSEMBLE:
        return "its pictures; submission.csv is the fusion of the other stages' tables"
    if result.used:
        return "what it had not finished"
    lost = (
        "" if name not in weights else f", and {weights[name]:g} of {sum(weights.values()):g} of the ensemble's weight"
    )
    return f"its ranking; stages that read it use its own input instead{lost}"


def write(context: RunContext, results: Sequence[Result], problems: Sequence[str], seconds: float) -> None:
    """Leaves result.json: the stages, each with why it failed (null where it did not) and whether it counts.

    problems: why submission.csv is not valid, or may be refused.
    """
    stages = [{"stage": each.stage.name, "failure": each.failure, "used": each.used} for each in results]
    told = {"seconds": round(seconds, 1), "problems": [*problems], "stages": stages}
    atomic.write_text(context.run / folder.RESULT, json.dumps(told, indent=1) + "\n")
