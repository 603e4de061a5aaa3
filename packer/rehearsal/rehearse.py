"""`python -m packer rehearse`: commit run, then scoring rerun; what they took, against the plan; what was proved."""

from __future__ import annotations

import os
import platform
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from cascade.base.errors import PlanError
from cascade.competitions import registry
from cascade.config.schema import Config
from cascade.plan import calibration, ledgers
from cascade.plan import profile as profiles
from cascade.plan.forecast import Forecast, forecast
from cascade.plan.profile import default_profile
from cascade.plan.workload import INSTALL, Planner
from cascade.run import lock
from cascade.stages import resume
from cascade.stages.context import RunContext
from packer.rehearsal import image_python, inputs, runs, sandbox
from packer.rehearsal.runs import Run, Step
from packer.rehearsal.sandbox import RehearsalError, Sandbox
from packer.rehearsal.violations import SCRATCH, WORKING
from packer.wheels.images import Image

OUT = Path("build/rehearsal")
WORKING_LIMIT = 20 * 10**9  # bytes: what Kaggle keeps
WIDTH = 100  # characters shown of what a run says
UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}


@dataclass(frozen=True)
class Rehearsal:
    """What was done. `made`: the steps before any run; `plan`: of the rerun, None where there is none, and why."""

    made: list[tuple[str, float, int]]
    runs: list[Run]
    strace: bool
    plan: Forecast | None = None
    unplanned: str = ""

    @property
    def green(self) -> bool:
        return len(self.runs) == 2 and not any(run.problems for run in self.runs)


def size(text: str) -> int:
    """Bytes of `20GB`, `300 MB` or `5000000`; RehearsalError for anything else."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?) *([KMG]?)B?", text.strip(), re.IGNORECASE)
    found = round(float(match[1]) * UNITS[match[2].upper()]) if match else 0
    if found < 1:
        raise RehearsalError("is not a size", key=f"limit '{text}'", mend="write it like 20GB or 300MB")
    return found


def rehearse(
    config: Config,
    image: Image,
    questions: int,
    console: Console,
    working: int = WORKING_LIMIT,
    folder: Path = OUT,
) -> Rehearsal:
    """Rehearses `config` on `image`; the rerun only where nothing failed the commit run.

    The project is the current folder. RehearsalError, or what staging raises, where there is nothing that could run;
    StageError for a second rehearsal in `folder` at the same time.
    """
    if questions < 1:
        raise RehearsalError(f"{questions} leaves nothing to rehearse", key="--questions", mend="pass 1 or more")
    strace = sandbox.check_host()
    _check_image(image)
    with lock.held(folder):
        return _rehearsed(config, image, questions, console, working, folder, strace)


def _rehearsed(
    config: Config, image: Image, questions: int, console: Console, working: int, folder: Path, strace: bool
) -> Rehearsal:
    made: list[tuple[str, float, int]] = []
    with _step(made, console, "datasets staged", lambda: bundle.size):
        bundle = inputs.make(config, image, questions, folder, lambda line: console.print(line, style="dim"))
    with _step(made, console, "image's Python made", lambda: 0):
        python = image_python.make(image, folder / "image")
    done: list[Run] = []
    for rerun, data in ((False, bundle.commit), (True, bundle.rerun)):
        shown = python.shown | bundle.of(data)
        where = Sandbox(folder / data.name, shown, working, None if strace else python.library)
        with console.status(data.name) as status:
            done.append(runs.run(where, config, data, rerun, lambda line: status.update(escape(line[:WIDTH]))))
        if done[-1].problems:
            return Rehearsal(made, done, strace)
    try:
        return Rehearsal(made, done, strace, plan(config, done[0], bundle.rerun))
    except PlanError as error:
        return Rehearsal(made, done, strace, unplanned=str(error))


def _check_image(image: Image) -> None:
    if image.gpus:
        raise RehearsalError(
            f"its wheels are for {image.gpus} GPUs, which a rehearsal does not have",
            path=image.path,
            mend="rehearse IMAGE=cpu-linux",
        )
    if image.machine != platform.machine():
        raise RehearsalError(
            f"is for {image.machine}, but this machine is {platform.machine()}",
            path=image.path,
            mend="rehearse another image",
        )


@contextmanager
def _step(made: list[tuple[str, float, int]], console: Console, name: str, of: Callable[[], int]) -> Iterator[None]:
    start = time.time()
    with console.status(name):
        yield
    made.append((name, time.time() - start, of()))


def plan(config: Config, commit: Run, data: Path) -> Forecast:
    """The rerun's, by the rates that the commit run's practice showed, as before a submission."""
    base = profiles.load(default_profile(config))
    practised = registry.of(config).read(commit.tables / "data")
    found = ledgers.read(
        [commit.tables / "ledger.jsonl"], resume.identity(RunContext(config, practised, commit.tables))
    )
    known = calibration.calibrate(config, practised, base, found, "the commit run")
    return forecast(config, known, Planner(config, registry.of(config).read(data), known).stages(config, known))


def show(rehearsal: Rehearsal, console: Console) -> None:
    """Steps, plan, and what was proved or what failed."""
    for name, seconds, bytes_ in rehearsal.made:
        console.print(f"{name}: {seconds:.1f} s" + (f", {bytes_ / 1e9:.2f} GB" if bytes_ else ""))
    for run in rehearsal.runs:
        console.print(_table(run, rehearsal.plan if run is rehearsal.runs[-1] else None))
        for line in run.problems:
            console.print(f"✗ {run.name}: {line}", style="red", markup=False, highlight=False, soft_wrap=True)
    if rehearsal.unplanned:
        console.print(f"no plan to compare with: {rehearsal.unplanned}", style="dim", markup=False, soft_wrap=True)
    if rehearsal.green:
        for line in _proved(rehearsal):
            console.print(f"✓ {line}", style="green", markup=False, highlight=False, soft_wrap=True)
    else:
        failed = rehearsal.runs[-1]
        said = f"not green: the {failed.name} failed; it left:  {failed.stay.working}, {failed.stay.record}"
        console.print(said, style="bold", markup=False, soft_wrap=True)


def _table(run: Run, planned: Forecast | None) -> Table:
    stay = run.stay
    table = Table(title=f"{run.name}: {stay.end - stay.start:.0f} s")
    table.add_column("step", no_wrap=True)
    for label in ("seconds", *(("planned",) if planned else ()), "kept MB", "scratch MB"):
        table.add_column(label, justify="right", no_wrap=True)
    for step in run.steps:
        disk = (f"{bytes_ / 1e6:,.1f}" for bytes_ in stay.disk(step.end))
        table.add_row(step.name, f"{step.end - step.start:.1f}", *([_planned(step, planned)] if planned else []), *disk)
    return table


def _planned(step: Step, planned: Forecast) -> str:
    name = INSTALL if step.name == runs.ENVIRONMENT else step.name
    found = next((stage for stage in planned.stages if stage.name == name), None)
    return f"{found.seconds:.1f} ± {found.spread:.1f}" if found else ""


def _proved(rehearsal: Rehearsal) -> Iterator[str]:
    commit, rerun = rehearsal.runs
    rows = len((rerun.stay.working / "submission.csv").read_text(encoding="utf-8").splitlines()) - 1
    yield f"commit run: every check passed, the environment was made offline, every stage succeeded ({_took(commit)})"
    yield f"scoring rerun: every stage succeeded, submission.csv is valid with {rows:,} rows ({_took(rerun)})"
    how = "strace, every program" if rehearsal.strace else "an audit hook, Python code only: install strace for all"
    yield (
        f"no connection but loopback and unix sockets; no write outside {WORKING} and {SCRATCH}; no read of a file "
        f"that is neither in the image nor in a dataset (seen by {how})"
    )
    largest = max((sample.working for run in rehearsal.runs for sample in run.stay.samples), default=0)
    memory = max(run.stay.memory for run in rehearsal.runs)
    cores = min(sandbox.CORES, len(os.sched_getaffinity(0)))
    has = min(sandbox.MEMORY, psutil.virtual_memory().total)
    yield (
        f"at most {largest / 1e6:,.1f} MB in {WORKING} and {memory / 1e9:.1f} GB of memory at a time, on {cores} of "
        f"Kaggle's {sandbox.CORES} cores with {has / 1e9:.0f} of its {sandbox.MEMORY / 1e9:.0f} GB"
    )
    if rehearsal.plan is not None:
        took = sum(step.end - step.start for step in rerun.steps if _planned(step, rehearsal.plan))
        planned = f"{rehearsal.plan.seconds:.0f} s ± {rehearsal.plan.spread:.0f}"
        yield f"planned from the commit run: {planned}; taken: {took:.0f} s"


def _took(run: Run) -> str:
    return f"{run.stay.end - run.stay.start:.0f} s"
