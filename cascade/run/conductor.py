"""The conductor: submission zero, then stage after stage, and a valid submission.csv at every moment.

A stage that crashes, hangs, or leaves nothing usable costs its own improvement and nothing else.
"""

from __future__ import annotations

import json
import math
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.base import clock, durations, folder, ledger
from cascade.base.errors import CascadeError, StageError, TableError, nearest
from cascade.base.runtime import is_rerun
from cascade.competitions import registry, submission
from cascade.config import schema as configs
from cascade.config.schema import ENSEMBLE, REASON
from cascade.models.checks.target import this_machine
from cascade.processes import environ, gpu, tree
from cascade.report import timeline
from cascade.report.page import launch
from cascade.run import check as checking
from cascade.run import console, lock
from cascade.run.budget import Budget
from cascade.run.parameters import check_parameters
from cascade.stages import baseline, checkpoints, reading
from cascade.stages import resume as resuming
from cascade.stages.context import RunContext
from cascade.stages.resume import Keeping
from cascade.stages.schedule import Stage, planned
from cascade.stages.standing import Standing

# Between the moment a stage should stop by itself and the moment it is ended it writes its table and draws.
GRACE = 15.0  # seconds, and at most
GRACE_SHARE = 0.2  # of the stage's time
TAIL = 3.0  # seconds of that, or what the plan has for it, are in the stage's share; later ones do without the rest
LAST = 1.0  # seconds before the deadline from which only this process's own end is left
LEAST = 5.0  # seconds: no stage even starts in less
SET = {
    "JUPYTER_PREFER_ENV_PATH": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "TOKENIZERS_PARALLELISM": "true",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}


@dataclass(frozen=True)
class Course:
    """What all stages of a run share."""

    context: RunContext
    notebooks: Path
    common: Mapping[str, str]
    standing: Standing
    budget: Budget
    printer: console.Printer
    keeping: Keeping


@dataclass
class Result:
    """How a stage ended; `used`: its table, or the part that was finished, counts in spite of a failure."""

    stage: Stage
    failure: str | None = None
    used: bool = False


def conduct(
    config: Path,
    data: Path,
    out: Path,
    notebooks: Path,
    deadline: float | None = None,
    engine: str = "",
    resume: bool = False,
    began: float | None = None,
    again: str = "",
) -> int:
    """Runs everything; returns the exit code: 0 only if each stage succeeded and submission.csv is valid.

    Raises CascadeError before anything is written where config, data or notebooks are wrong, the folder is not a run's,
    cannot be written to, or another run is in it. `deadline` is in Unix seconds; None or 0 stands for the config's
    limit less its reserve, from `began`, the Unix time at which the clock began to run (default: now). `engine`
    overrides the config's. `resume` keeps what an earlier run finished in `out`, whole stages and chunks, as far as it
    was made from the same; `again` names the stage from which all is run again.
    """
    start = clock.now()
    durations.check_deadline(deadline)
    try:
        tree.become_subreaper()
    except OSError as error:
        print(f"warning: {error}: a stage that hides a process may keep it")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    resume = resume or bool(again)
    settings = configs.load(config, engine)
    context = RunContext(settings, registry.of(settings).read(data, lenient=is_rerun()), out, resume=resume)
    end = deadline or (began or start) + context.config.time.available
    plan = planned(context)
    common = {"config": str(config.resolve()), "data": str(data.resolve()), "run": str(out.resolve())}
    for stage in plan:
        check_parameters(notebooks / stage.notebook, {**common, "deadline": 0.0, **stage.parameters})
    if not is_rerun():  # there a model that is missing costs the stages that want it, and no more
        checking.require(checking.facts(context.config, this_machine(begins=True), context.task, out))
    if resume:
        resuming.check(out)
    keeping = Keeping(context, notebooks, _from(plan, again))
    with lock.held(out):
        return _conduct(context, plan, notebooks, common, keeping, (start, began or start, end))


def _from(plan: Sequence[Stage], again: str) -> list[str]:
    """The stages from that one on; it goes by its name, or by the config's for it."""
    names = [stage.name for stage in plan]
    place = next((place for place, stage in enumerate(plan) if again in (stage.name, stage.of)), len(plan))
    if again and place == len(plan):
        raise StageError(f"no stage is called '{again}'{nearest(again, names)}; pass --from with {', '.join(names)}")
    return names[place:]


def _conduct(
    context: RunContext,
    plan: Sequence[Stage],
    notebooks: Path,
    common: Mapping[str, str],
    keeping: Keeping,
    times: tuple[float, float, float],
) -> int:
    """All that is written; `times`: when this process, and when the run's time, began, and the deadline."""
    (start, began, end), out, data = times, context.run, context.task.folder
    identity, tables = resuming.identity(context), {stage.name: stage.table for stage in plan}
    begun = clock.now()
    try:
        if not context.resume:
            folder.set_aside(out, {name: table.name for name, table in tables.items()})
        keeping.begin(identity, tables)
        rows = baseline.write(context.task.competition.outline(data), out, anew=not context.resume)
        for name in (folder.LOGS, folder.NOTEBOOKS):
            (out / name).mkdir(exist_ok=True)
        console.log_to(out / folder.LOGS / "conductor.log")
    except OSError as error:
        raise StageError(f"{out}: cannot be written to: {error}; pass --out with a folder that can") from error
    if start - began > 0:  # what stood before this process: the checks and the environment
        ledger.record(out, "install", ledger.STAGE, began, start, status=ledger.OK)
    facts = {"status": ledger.OK, "queries": len(context.task.queries), "deadline": end}
    ledger.record(out, "zero", ledger.STAGE, begun, clock.now(), **facts)
    for warning in context.task.warnings:
        print(f"warning: {warning}")
    printer = console.Printer()
    printer.say("check", begun - start)
    printer.say("submission zero", clock.now() - begun, printer.score(context))
    standing = Standing(context, rows)
    if clock.now() >= end:
        standing.improve()
        print(f"the deadline was {clock.now() - end:.0f} s ago: no stage is run, and submission zero stands")
        return 1
    course = Course(context, notebooks, common, standing, Budget(context, identity, began, end), printer, keeping)
    try:
        for stage in plan if context.resume else ():  # before anything reads a table that is not to be kept
            if stage.of != ENSEMBLE:
                keeping.settle(stage.name, stage.of, stage.table, begins=False)
        results = [_run_stage(course, stage, plan[place + 1 :]) for place, stage in enumerate(plan)]
        code = _verdict(course, results, clock.now() - start)
    except KeyboardInterrupt:
        print(f"\n{_standing(context)}; go on with: python -m cascade run … --resume (make run … RESUME=1)", flush=True)
        raise SystemExit(128 + signal.SIGINT) from None
    print(launch.leave(context.config.path, data, out, end - LAST))
    return code


def _run_stage(course: Course, stage: Stage, later: Sequence[Stage]) -> Result:
    """Runs one stage and brings submission.csv up to what is there then; whatever goes wrong is its failure."""
    start, context = clock.now(), course.context
    peak = gpu_peak = 0.0
    result = Result(stage)
    try:
        if stage.of != ENSEMBLE and (why := course.keeping.settle(stage.name, stage.of, stage.table)):
            print(f"{stage.name}: run again: {why}", flush=True)
        if context.resume and stage.of != ENSEMBLE and _is_whole(context, stage):
            course.standing.improve()
            course.printer.say(f"{stage.name}: kept", 0.0)
            return Result(stage, used=True)
        if not (wanted := reading.expected(context, stage.of)):
            ledger.record(context.run, stage.name, "select", start, clock.now(), decision="select leaves no query")
            course.printer.say(f"{stage.name}: no query", 0.0)
            return result
        share = course.budget.share([stage.name, *(each.name for each in later)])
        if share.dropped:
            course.printer.say(f"{stage.name}: dropped", 0.0)
            return result
        limit = stage.limit or math.inf
        given = min(share.seconds, limit)
        if given < LEAST:
            result.failure = f"skipped: {share.why or f'{max(0.0, given):.0f} s are too little to start it'}"
        else:
            grace = min(GRACE, GRACE_SHARE * given)
            stop = start + min(share.seconds - min(max(TAIL, share.tail), grace), limit - grace)
            until = min(stop + grace, course.budget.end)
            parameters = {**course.common, "deadline": stop, **stage.parameters}
            log = context.run / "logs" / f"{stage.name}.log"
            gpu_before = gpu.gpu_memory_used_mb()
            outcome = tree.run(
                _command(context, stage, course.notebooks, parameters), log, environ.clean() | SET, until,
                lambda seconds: course.printer.progress(stage.name, seconds, log),
            )  # fmt: skip
            gpu.wait_for_gpu_memory(gpu_before)
            peak, gpu_peak = outcome.peak_memory_mb, outcome.peak_gpu_memory_mb
            result.failure = _why_failed(outcome, log, until - start)
            _judge(context, result, wanted)
    except Exception as error:  # nothing between two stages may cost the later ones
        console.LOG.exception("%s", stage.name)
        result.failure = f"{type(error).__name__}: {error}"
    try:
        course.standing.improve()
    except Exception as error:
        console.LOG.exception("submission.csv after %s", stage.name)
        result.failure = result.failure or f"submission.csv could not be replaced: {error}"
    end = clock.now()
    status = result.failure or ledger.OK
    memory = {"peak_memory_mb": round(peak, 1)} | ({"peak_gpu_memory_mb": gpu_peak} if gpu_peak else {})
    ledger.record(context.run, stage.name, ledger.STAGE, start, end, status=status, **memory)
    own = None if stage.of in (REASON, ENSEMBLE) else stage.table
    course.printer.say(stage.name, end - start, course.printer.score(context, own), result.failure, peak)
    return result


def _command(context: RunContext, stage: Stage, notebooks: Path, parameters: Mapping[str, Any]) -> list[str]:
    return [
        sys.executable, "-m", "cascade.processes.die_with_parent", "papermill", str(notebooks / stage.notebook),
        str(context.run / "notebooks" / f"{stage.name}.ipynb"),
        "--kernel", "python3", "--no-progress-bar", "--log-output", "--parameters_yaml", json.dumps(parameters),
    ]  # fmt: skip


def _why_failed(outcome: tree.Outcome, log: Path, limit: float) -> str | None:
    if outcome.code is None:
        return f"ended at its limit of {limit:.0f} s"
    if outcome.code < 0:
        return f"killed by {signal.Signals(-outcome.code).name}"
    if outcome.code > 0:
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
        return f"exit code {outcome.code}: {lines[-1] if lines else 'no output'}"
    return None


def _is_whole(context: RunContext, stage: Stage) -> bool:
    """Whether an earlier run left the stage's table with all the queries that are wanted now."""
    try:
        table = reading.check_fits(context, checkpoints.contract(stage.table).read(stage.table), stage.table)
        return reading.expected(context, stage.of) <= set(table["query_id"].unique())
    except CascadeError:
        return False


def _judge(context: RunContext, result: Result, wanted: set[str]) -> None:
    """Success is exit code 0 and a valid table of the `wanted` queries; what a failed stage finished still counts."""
    path = result.stage.table
    try:
        try:
            table = reading.check_fits(context, checkpoints.contract(path).read(path), path)
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
    entries = (e for e in ledger.read(context.run) if e["stage"] == stage.name and e["phase"] == "score")
    return next((str(e["decision"]) for e in entries if "decision" in e), "")


def _standing(context: RunContext) -> str:
    """Whether submission.csv is valid, and which tables are in it."""
    path = context.run / "submission.csv"
    try:
        submission.validate(path, context.task)
    except TableError as error:
        return f"submission.csv is NOT valid: {error}"
    return f"{path} is valid ({', '.join([*reading.members(context), 'submission zero'])})"


def _verdict(course: Course, results: list[Result], seconds: float) -> int:
    """The last lines: what failed, what it cost, and whether submission.csv is valid."""
    context = course.context
    path = context.run / "submission.csv"
    for result in results:
        made = result.used and not result.failure and result.stage.of != ENSEMBLE
        if made and not _is_whole(context, result.stage):
            result.failure = "its table was spoiled after it was made"
    failed = [result for result in results if result.failure]
    for result in failed:
        log = context.run / "logs" / f"{result.stage.name}.log"
        print(f"{result.stage.name} failed ({result.failure}); cost: {_cost(context, result)}; see {log}")
    for name, entries in timeline.read(context.run).attempts.items():
        for decided in timeline.cuts(entries)[-1:]:
            if decided["decision"] not in course.budget.told:
                print(f"budget: {name}: {decided['decision']}")
    for loss in timeline.losses(context.run):
        print(loss)
    for warning in timeline.warnings(context.run):
        print(f"warning: {warning}")
    mismatch = submission.check_against_sample(context.task.folder, context.task)
    for difference in mismatch:
        print(f"submission.csv may be refused: {difference}")
    try:
        submission.validate(path, context.task)
    except TableError as error:
        print(f"submission.csv is NOT valid: {error}")
        return 1
    print(f"{path} is valid after {seconds:.1f} s. {course.printer.score(context)}")
    return 1 if failed or mismatch else 0


def _cost(context: RunContext, result: Result) -> str:
    weights = context.config.ensemble.weights
    name = result.stage.of
    if name == REASON:
        return "what it would have said; retrievers and prompts go without it"
    if name == ENSEMBLE:
        return "its pictures; submission.csv has the fusion of what the other stages left"
    if result.used:
        return "what it had not finished"
    lost = (
        "" if name not in weights else f", and {weights[name]:g} of {sum(weights.values()):g} of the ensemble's weight"
    )
    return f"its ranking, for which stages that read it take its own input{lost}"
