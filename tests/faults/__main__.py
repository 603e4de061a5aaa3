"""`python -m tests.faults`: micro runs under faults; a line each, a table at the end, exit code 1 where anything broke.

Runs in a user namespace of its own, where each run's folder is a small disk that may be filled.
"""

from __future__ import annotations

import importlib.util
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from cascade.base.runtime import ROOT
from packer.rehearsal import sandbox
from packer.rehearsal.sandbox import RehearsalError
from tests import kernel_inputs
from tests.faults import cases, inject
from tests.faults.cases import Case
from tests.faults.inject import Fault, Injector, Reference
from tests.faults.judge import Verdict, judge
from tests.faults.micro import DISK, MicroRun, make_map_project, make_project, set_limits

BUILD = ROOT / "build" / "faults"
INSIDE = "CASCADE_FAULTS_INSIDE"  # set within the namespace
SPACE = ("unshare", "--user", "--map-root-user", "--mount")
SLACK = 1.6  # times a whole run's time, and
MORE = 25.0  # seconds: a run's deadline where no fault moves it
HANGS = 600.0  # seconds after which a run is given up and ended


class Suite:
    """The micro project of each engine, made once, and a run without faults to which the others are compared."""

    def __init__(self, engines: Iterable[str], kernel: bool, jobs: int) -> None:
        shutil.rmtree(BUILD, ignore_errors=True)
        BUILD.mkdir(parents=True)
        self.projects = {engine: make_project(BUILD / f"project-{engine}", engine) for engine in engines}
        self.of_map = make_map_project(BUILD / "project-map")
        self.wheels = BUILD / "wheels"
        if kernel:
            self.wheels.mkdir()
            kernel_inputs.make_all_wheels(self.wheels)
        names = (*self.projects, *(["kernel"] if kernel else []))
        self.references = {name: Reference() for name in names}
        with ThreadPoolExecutor(jobs) as pool:  # as many at once as later, which is how long those take
            list(pool.map(self._refer, names))
        for name, project in self.projects.items():
            set_limits(project, round(2.5 * self.references[name].longest + 5))
        set_limits(self.of_map, round(2.5 * self.references["transformers"].longest + 5))

    def _refer(self, name: str) -> None:
        """The run without faults; the suite ends where that is not well."""
        case = Case((), "transformers" if name == "kernel" else name, kernel=name == "kernel")
        verdict = self.run(case, BUILD / f"reference-{name}", 0, keep=True)
        print(
            f"without faults, {name}: {verdict.seconds:.0f} s, submission zero after {verdict.zero:.1f} s", flush=True
        )
        if verdict.broken or verdict.code or verdict.failed:
            sys.exit(f"error: a run without faults is not well: {verdict}; see {BUILD / f'reference-{name}'}")
        self.references[name].seconds = verdict.seconds

    def run(self, case: Case, folder: Path, seed: int, keep: bool = False) -> Verdict:
        """One run under its faults; the folder stays only where something did not hold, or to `keep` it."""
        name = "kernel" if case.kernel else case.engine
        reference = self.references[name]
        folder.mkdir(parents=True)
        run = MicroRun(folder, case.engine, case.rerun)
        if case.kernel:
            data = kernel_inputs.make_inputs(folder / "input", self.wheels, self.projects["transformers"] / "data")
            (folder / "scratch").mkdir()
            (folder / "notebooks").symlink_to(self.projects["transformers"] / "notebooks")
            run.parameters = {"config": "configs/kernel.toml", "practice": 0}
            run.variables = {"CASCADE_INPUT": str(data), "TMPDIR": str(folder / "scratch")}
            test = data / "competitions" / kernel_inputs.COMPETITION / "test.csv"
        else:
            shutil.copytree(self.of_map if case.of_map else self.projects[case.engine], folder, dirs_exist_ok=True)
            run.parameters = {"config": "micro.toml", "data": "data"}
            test = folder / "data" / "test.csv"
        run.out.mkdir()
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK}m", "tmpfs", str(run.out)], check=True)
        try:
            moved = next((fault.moment for fault in case.faults if fault.kind == "deadline"), None)
            deadline = SLACK * reference.seconds + MORE if moved is None else moved * reference.seconds
            if not reference.seconds:
                deadline = HANGS
            injector = Injector(run, [fault for fault in case.faults if fault.kind != "deadline"], reference, seed)
            injector.prepare()
            run.start(test, deadline)
            injector.thread.start()
            assert run.process is not None
            try:
                run.process.wait(HANGS)
            except subprocess.TimeoutExpired:
                run.process.kill()
                run.process.wait()
            run.ended = time.time()
            verdict = judge(case, run, injector, deadline, reference)
            if not case.faults:
                reference.take(injector, run.ended)
                reference.submission = (run.out / "submission.csv").read_text(encoding="utf-8")
            for process in run.survivors():
                process.kill()
            if verdict.broken or keep:
                shutil.copytree(run.out, folder / "kept", ignore=shutil.ignore_patterns("filler"), dirs_exist_ok=True)
        finally:
            subprocess.run(["umount", "--lazy", str(run.out)], check=False)
        if not (verdict.broken or keep):
            shutil.rmtree(folder, ignore_errors=True)
        return verdict


def tell(number: int, of: int, verdict: Verdict) -> None:
    mark = "✗" if verdict.broken else "✓"
    struck = "; ".join(f"{strike.fault} ({strike.to})" for strike in verdict.strikes)
    case = struck or (str(verdict.case) if verdict.case.faults[0].kind == "deadline" else f"missed: {verdict.case}")
    failed = f"failed: {', '.join(verdict.failed)}" if verdict.failed else "nothing failed"
    print(f"{mark} {number:>3}/{of} {verdict.seconds:5.1f} s, {case}: exit code {verdict.code}, {failed}", flush=True)
    for broken in verdict.broken:
        print(f"      {broken}", flush=True)


def table(verdicts: list[Verdict]) -> Table:
    """A row for each kind of fault."""
    rows: dict[str, list[tuple[Verdict, bool, bool]]] = defaultdict(list)
    for verdict in verdicts:
        for fault in verdict.case.faults:
            struck = fault.kind == "deadline" or any(strike.fault == fault for strike in verdict.strikes)
            lost = bool(verdict.failed) if fault.stage == inject.RUN else fault.stage in verdict.failed
            rows[_row(fault)].append((verdict, struck, lost))
    shown = Table("fault", "given", "struck", "its stage lost", "zero, latest", "least left at the end", "broken")
    for row, found in sorted(rows.items()):
        ended = [verdict.margin for verdict, *_ in found]
        shown.add_row(
            row, str(len(found)), str(sum(struck for _, struck, _ in found)),
            str(sum(lost for *_, lost in found)), f"{max(v.zero for v, *_ in found):.1f} s",
            f"{min(ended):.1f} s", str(sum(bool(verdict.broken) for verdict, *_ in found)),
        )  # fmt: skip
    return shown


def _row(fault: Fault) -> str:
    return " ".join(filter(None, [fault.kind, fault.what]))


def main(
    count: Annotated[int, typer.Option(help="faults at random, in all; 0: each fault on each kind of stage")] = 0,
    seed: Annotated[int, typer.Option(help="of what is drawn")] = 1,
    jobs: Annotated[int, typer.Option(help="runs at once")] = 1,
    few: Annotated[bool, typer.Option("--few", help="each fault on one kind of stage, not on all")] = False,
    only: Annotated[int, typer.Option(help="a run's number: that one alone, as it was drawn")] = 0,
) -> None:
    """Hurts micro runs and looks whether all holds that must."""
    if INSIDE not in os.environ:
        sys.exit(enter())
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    vllm = importlib.util.find_spec("vllm") is not None
    draw = random.Random(seed)
    each = cases.at_random(draw, count, vllm) if count else cases.each(draw, vllm, few)
    numbered = {number: case for number, case in enumerate(each, start=1) if only in (0, number)}
    if not numbered:
        sys.exit(f"error: --only {only}: no run has that number; leave it out to see them all")
    drawn = list(numbered.values())
    base, _ = inject.memory_cgroup()
    print(f"memory is taken away by {'a cgroup' if base else 'RLIMIT_AS, as no cgroup can be made here'}")
    if not vllm:
        print("vLLM is not installed here: no fault of an engine of its own; make faults runs where it is")
    suite = Suite(sorted({"transformers", *(case.engine for case in drawn)}), any(case.kernel for case in drawn), jobs)
    for case in drawn:
        known = suite.references["kernel" if case.kernel else case.engine].lasted
        for fault in case.faults:
            if fault.kind not in ("raise", "nan", "wheel", "deadline") and not {*inject.event(fault)} <= {*known}:
                sys.exit(
                    f"error: a run without faults has nothing that '{fault}' could hit; mend tests/faults/roles.py"
                )
    verdicts: list[Verdict] = []
    begun = time.time()
    with ThreadPoolExecutor(jobs) as pool:
        runs = [
            pool.submit(partial(suite.run, case, BUILD / f"{number:03}", seed + number))
            for number, case in numbered.items()
        ]
        for number, done in zip(numbered, runs, strict=True):
            verdicts.append(done.result())
            tell(number, max(numbered), verdicts[-1])
    Console(width=120).print(table(verdicts))
    broken = [verdict for verdict in verdicts if verdict.broken]
    mean = statistics.mean(verdict.seconds for verdict in verdicts)
    faults = sum(len(verdict.case.faults) for verdict in verdicts)
    took = (time.time() - begun) / 60
    print(f"{faults} faults in {len(verdicts)} runs, {took:.1f} min, {mean:.1f} s a run; {len(broken)} runs broken")
    (ROOT / "build" / "faults.json").write_text(json.dumps([_facts(verdict) for verdict in verdicts], indent=1))
    if broken:
        sys.exit(f"error: {len(broken)} runs did not keep what they must; what is left of them is under {BUILD}")


def _facts(verdict: Verdict) -> dict[str, object]:
    return {
        "faults": [str(fault) for fault in verdict.case.faults],
        "strikes": [f"{strike.fault}: {strike.to}" for strike in verdict.strikes],
        "rerun": verdict.case.rerun, "code": verdict.code, "zero": round(verdict.zero, 2),
        "seconds": round(verdict.seconds, 1), "margin": round(verdict.margin, 1), "failed": verdict.failed,
        "broken": verdict.broken,
    }  # fmt: skip


def enter() -> int:
    """This program once more, in a namespace; its exit code."""
    try:
        sandbox.check_host()
    except RehearsalError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    command = [*SPACE, sys.executable, "-m", "tests.faults", *sys.argv[1:]]
    return subprocess.run(command, cwd=ROOT, env=os.environ | {INSIDE: "1"}, check=False).returncode


if __name__ == "__main__":
    typer.run(main)
