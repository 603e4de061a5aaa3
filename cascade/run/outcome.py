"""How a stage ended: what failed, what of it counts all the same, what it cost, and what is left of that in a file."""

from __future__ import annotations

import json
import signal
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from cascade.base import atomic, folder, history
from cascade.base.errors import CascadeError, TableError, with_fix
from cascade.causes import find
from cascade.causes.find import Cause
from cascade.config.schema import ENSEMBLE, REASON
from cascade.processes import tree
from cascade.stages import checkpoints, reading
from cascade.stages.context import RunContext
from cascade.stages.schedule import Stage


@dataclass
class Result:
    """How a stage ended; `used`: its table, or the part that was finished, counts in spite of a failure.

    `cause`: what its logs tell of why it failed, where they do.
    """

    stage: Stage
    failure: str | None = None
    used: bool = False
    cause: Cause | None = None

    @property
    def mend(self) -> str:
        """What to do about the failure, as far as it is known."""
        return self.cause.mend if self.failure and self.cause is not None else ""

    @property
    def told(self) -> str | None:
        """The failure and its fix."""
        return self.failure and with_fix(self.failure, self.mend)

    def explain(self, cause: Cause, code: int | None) -> None:
        """Puts what the logs tell of the failure in the place of the bare exit `code`, or behind what is known."""
        self.cause, before = cause, self.failure or ""
        if code is not None and code > 0:
            self.failure = before.replace(_exit(code), cause.sentence, 1)
        elif cause.sentence not in before:
            self.failure = f"{before}: {cause.sentence}"


def why_failed(outcome: tree.Outcome, limit: float) -> str | None:
    """How the stage's process ended, where not well; why is in its logs."""
    if outcome.code is None:
        return f"ended at its limit of {limit:.0f} s"
    if outcome.code < 0:
        return f"killed by {signal.Signals(-outcome.code).name}"
    return _exit(outcome.code) if outcome.code > 0 else None


def _exit(code: int) -> str:
    return f"exit code {code}"


def worker_logs(logs: Path, own: Path) -> dict[Path, int]:
    """The logs that a stage's workers may write to, each with its size now: what stands there is an earlier stage's."""
    known = {path: path.stat().st_size for path in logs.glob("*.log")}
    return {path: size for path, size in known.items() if path not in (own, logs / "conductor.log")}


def explain(result: Result, code: int | None, own: Path, before: Mapping[Path, int]) -> None:
    """Finds why a stage failed: by its own log where its process ended with an error, else by workers that died.

    before: the workers' logs there were when it began, with their sizes.
    """
    if not result.failure:
        return
    workers = {path: before.get(path, 0) for path in worker_logs(own.parent, own)}
    cause = find.of_stage(own, workers) if code else find.of_workers(workers)
    if cause is not None:
        result.explain(cause, code)


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

    `cause` is a known cause's name, `error` the exception, `where` its file and line, `process` whose it was, and
    `mend` what to do; each is null where it is not known. problems: why submission.csv is not valid, or may be refused.
    """
    stages = [
        {"stage": each.stage.name, "failure": each.failure, "used": each.used, **_facts(each.cause)} for each in results
    ]
    told = {"seconds": round(seconds, 1), "problems": [*problems], "stages": stages}
    atomic.write_text(context.run / folder.RESULT, json.dumps(told, indent=1) + "\n")


def _facts(cause: Cause | None) -> dict[str, str | None]:
    told = cause or Cause("", "")
    found = {"cause": told.name, "error": told.error, "where": told.where, "process": told.process, "mend": told.mend}
    return {name: value or None for name, value in found.items()}
