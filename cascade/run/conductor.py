"""The conductor: submission zero, then stage after stage, and a valid submission.csv at every moment.

A stage that crashes, hangs, or leaves nothing usable costs its own improvement and nothing else.
"""

from __future__ import annotations

import contextlib
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from cascade.base import clock, durations, folder, history, ledger
from cascade.base.errors import StageError, TableError, nearest, with_fix
from cascade.base.runtime import is_rerun
from cascade.competitions import registry, submission
from cascade.config import schema as configs
from cascade.config.schema import ENSEMBLE
from cascade.models.checks.target import this_machine
from cascade.processes import tree
from cascade.report.page import launch
from cascade.run import check as checking
from cascade.run import console, lock, outcome
from cascade.run.budget import Budget
from cascade.run.outcome import Result
from cascade.run.parameters import check_parameters
from cascade.run.stage_runner import StageRunner
from cascade.stages import baseline, reading
from cascade.stages import resume as resuming
from cascade.stages.context import RunContext
from cascade.stages.resume import Keeping
from cascade.stages.schedule import Stage, planned
from cascade.stages.standing import Standing

LAST = 1.0  # seconds before the deadline from which only this process's own end is left


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
        print(f"warning: {error}: a process that a stage hides may keep running")
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
        raise StageError(
            f"no stage is called '{again}'{nearest(again, names)}", key="--from", mend=f"use one of {', '.join(names)}"
        )
    return names[place:]


def _conduct(
    context: RunContext,
    plan: Sequence[Stage],
    notebooks: Path,
    common: Mapping[str, str],
    keeping: Keeping,
    times: tuple[float, float, float],
) -> int:
    """Runs everything and writes it; `times`: when this process and the run's time began, and the deadline."""
    (start, began, end), out, data = times, context.run, context.task.folder
    identity, tables = resuming.identity(context), {stage.name: stage.table for stage in plan}
    begun = clock.now()
    try:
        if not context.resume:
            folder.set_aside(out, {name: table.name for name, table in tables.items()})
        (out / folder.RESULT).unlink(missing_ok=True)  # of the run that is resumed
        keeping.begin(identity, tables)
        rows = baseline.write(context.task.competition.outline(data), out, anew=not context.resume)
        for name in (folder.LOGS, folder.NOTEBOOKS):
            (out / name).mkdir(exist_ok=True)
        console.log_to(out / folder.LOGS / "conductor.log")
    except OSError as error:
        raise StageError(
            f"cannot be written to: {error}", path=out, mend="pass --out with a folder that can be written to"
        ) from error
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
        print(f"the deadline passed {clock.now() - end:.0f} s ago: no stage is run, and submission zero is kept")
        return 1
    budget = Budget(context, identity, began, end)
    runner = StageRunner(context, notebooks, common, standing, budget, printer, keeping)
    try:
        for stage in plan if context.resume else ():  # before anything reads a table that is not to be kept
            if stage.of != ENSEMBLE:
                keeping.settle(stage.name, stage.of, stage.table, begins=False)
        results = [runner.run(stage, plan[place + 1 :]) for place, stage in enumerate(plan)]
        code = _verdict(runner, results, clock.now() - start)
    except KeyboardInterrupt:
        print(
            f"\n{_standing(context)}; continue with: python -m cascade run … --resume (make run … RESUME=1)", flush=True
        )
        raise SystemExit(128 + signal.SIGINT) from None
    print(launch.leave(context.config.path, data, out, end - LAST))
    return code


def _standing(context: RunContext) -> str:
    """Whether submission.csv is valid, and which tables are in it."""
    path = context.run / "submission.csv"
    try:
        submission.validate(path, context.task)
    except TableError as error:
        return f"submission.csv is NOT valid: {error}"
    return f"{path} is valid ({', '.join([*reading.members(context), 'submission zero'])})"


def _verdict(runner: StageRunner, results: Sequence[Result], seconds: float) -> int:
    """The last lines: what failed, what it cost, and whether submission.csv is valid; the same in result.json."""
    context = runner.context
    path = context.run / submission.FILE
    for result in results:
        made = result.used and not result.failure and result.stage.of != ENSEMBLE
        if made and not outcome.is_whole(context, result.stage):
            result.failure = "its table was damaged after it was made"
    failed = [result for result in results if result.failure]
    for result in failed:
        log = context.run / folder.LOGS / f"{result.stage.name}.log"
        why = with_fix(f"{result.stage.name} failed ({result.failure})", result.mend)
        print(f"{why}; cost: {outcome.cost(context, result)}; see {log}")
    attempts = history.read(context.run)
    for name, attempt in attempts.items():
        for decided in attempt.cuts[-1:]:
            if decided["decision"] not in runner.budget.told:
                print(f"budget: {name}: {decided['decision']}")
    for name, attempt in attempts.items():
        print(*(f"{name}: {loss}\n" for loss in attempt.losses), sep="", end="")
    for name, attempt in attempts.items():
        print(*(f"warning: {name}: {warning}\n" for warning in attempt.warnings), sep="", end="")
    mismatch = submission.check_against_sample(context.task.folder, context.task)
    problems = [f"submission.csv may be refused: {difference}" for difference in mismatch]
    try:
        submission.validate(path, context.task)
        said = f"{path} is valid after {seconds:.1f} s. {runner.printer.score(context)}"
    except TableError as error:
        said = f"submission.csv is NOT valid: {error}"
        problems.append(said)
    with contextlib.suppress(OSError):  # a disk that is full now costs the file, and what was printed stands
        outcome.write(context, results, problems, seconds)
    print(*problems[: len(mismatch)], said, sep="\n")
    return 1 if failed or problems else 0
