"""Whether all held that must hold, whatever was done to a run; and what the run said of it."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascade.base import ledger
from cascade.config.schema import ENSEMBLE, REASON
from tests.faults.cases import Case
from tests.faults.inject import Injector, Reference, Strike
from tests.faults.micro import RESERVE, MicroRun
from tests.faults.roles import RUN, words
from tests.faults.watcher import fault_of

ZERO_WITHIN = 10.0  # seconds from the start
GONE_WITHIN = 3.0  # seconds from the end of submission.ipynb to that of the last process
DIED = r"{stage}: the process on \S+ died"
FAILED = r"{stage} failed \("
# What the last lines must hold of a fault that struck before its stage had done its work.
TOLD = {
    ("kill", "papermill"): FAILED + r"[^\n]*SIGKILL",
    ("kill", "kernel"): FAILED + r"[^\n]*kernel died",
    ("kill", "worker"): DIED,
    ("kill", "engine"): DIED,
    ("kill", "conductor"): "the conductor was killed by SIGKILL",
    ("stop", "papermill"): FAILED + r"[^\n]*ended at its limit",
    ("stop", "kernel"): FAILED + r"[^\n]*ended at its limit",
    ("stop", "conductor"): "the conductor is long past its deadline and was stopped",
    ("raise", ""): FAILED + r"[^\n]*injected",
    ("nan", ""): FAILED,
    ("table", "corrupt"): FAILED,
    ("table", "truncate"): FAILED,
    ("table", "remove"): FAILED,
    ("card", ""): DIED,
    ("wheel", "truncate"): "bytes instead of|is broken|could not install",
    ("wheel", "remove"): "No such file|is broken|could not install",
}
FAILED_LINE = re.compile(r"^\S+ failed \(", re.MULTILINE)
SHORT = r"skipped: |deadline: |ended at its limit"  # why a stage failed, where those before it left too little time
NOTHING = "to combine"  # why the ensemble failed, where those before it left no table
ALONE = ("kill", "stop", "memory", "table", "adapter", "nan", "raise", "card")  # cost no other stage than their own


@dataclass
class Verdict:
    """How one run ended: `broken` says what did not hold; `margin`: seconds that it left of its limit, which is the

    deadline and the reserve; `failed`: why each stage did.
    """

    case: Case
    strikes: list[Strike]
    code: int
    zero: float
    seconds: float
    margin: float
    failed: dict[str, str] = field(default_factory=dict)
    broken: list[str] = field(default_factory=list)


def judge(case: Case, run: MicroRun, injector: Injector, deadline: float, reference: Reference) -> Verdict:
    """Looks at a run that has ended; `deadline`: seconds after its start."""
    assert run.process is not None and run.watcher is not None
    watcher = run.watcher
    gone = time.time() + GONE_WITHIN
    while (left := run.survivors()) and time.time() < gone:
        time.sleep(0.1)
    watcher.stop()
    injector.stop()
    code, seconds = run.process.returncode, run.ended - run.began
    stages = [entry for entry in ledger.read(run.out) if entry["phase"] == ledger.STAGE]
    failed = {entry["stage"]: str(entry["status"]) for entry in stages if entry["status"] != ledger.OK}
    zero = watcher.first - run.began if watcher.first else float("inf")
    conducted = max((entry["end"] for entry in stages), default=run.began) - run.began
    verdict = Verdict(case, injector.strikes, code, zero, seconds, deadline + RESERVE - seconds, failed)
    broken = verdict.broken
    broken += [f"the injector failed: {trouble}" for trouble in injector.trouble]
    if zero > ZERO_WITHIN:
        broken.append(f"submission zero after {zero:.1f} s")
    broken += [f"submission.csv at {fault}" for fault in watcher.faults]
    text = _text(run.out / "submission.csv")
    if fault := fault_of(text, watcher.ids, watcher.known):
        broken.append(f"submission.csv at the end: {fault}")
    if conducted > max(deadline, ZERO_WITHIN):
        broken.append(f"a stage ended {conducted - deadline:.1f} s after the deadline")
    if seconds > max(deadline, ZERO_WITHIN) + RESERVE:
        broken.append(f"ended {seconds - deadline:.1f} s after the deadline, with a reserve of {RESERVE:.0f} s")
    broken += [f"left a process: {process.pid} {' '.join(words(process))[:120]}" for process in left]
    broken += _of_code(case, run, stages, failed, text, reference)
    last = _last_lines(run.output())
    for strike in injector.strikes:
        broken += _untold(strike, ledger.read(run.out), last, _leaves_nothing(case, failed))
    broken += _spread(case, injector.strikes, failed)
    return verdict


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError:
        return ""


def _of_code(
    case: Case,
    run: MicroRun,
    stages: list[dict[str, Any]],
    failed: Mapping[str, str],
    text: str,
    reference: Reference,
) -> list[str]:
    """The exit code: always 0 in the rerun, where submission.csv is what counts; else 0 for all that a whole run gives.

    Where no stage failed and none is missing it is the submission of a run without faults, in the rerun too.
    """
    assert run.process is not None
    code, told = run.process.returncode, FAILED_LINE.search(_last_lines(run.output()))
    missing = sorted({*case.stages} - {entry["stage"] for entry in stages} - {*failed})
    broken = []
    if case.rerun and code != 0:
        broken.append(f"exit code {code} in the rerun")
    if not case.rerun and code == 0 and (missing or failed):
        broken.append(f"exit code 0 without {', '.join([*missing, *failed])}")
    if code != 0 and not failed and not told and not any(fault.stage == RUN for fault in case.faults):
        broken.append(f"exit code {code}, and no stage failed")
    if not (missing or failed or told) and reference.submission and text != reference.submission:
        broken.append("nothing failed, and the submission is not that of a run without faults")
    return broken


def _last_lines(output: str) -> str:
    """What comes after the last line of a stage."""
    return re.split(r"^[✓✗] .*$", output, flags=re.MULTILINE)[-1]


def _leaves_nothing(case: Case, failed: Mapping[str, str]) -> bool:
    """Whether all stages failed whose tables the ensemble fuses."""
    return {stage for stage in case.stages if stage not in (REASON, ENSEMBLE)} <= {*failed}


def _untold(strike: Strike, entries: list[dict[str, Any]], last: str, nothing_to_fuse: bool) -> list[str]:
    """What is missing of a strike in the last lines; nothing where its stage had done its work, or failed before."""
    fault = strike.fault
    pattern = TOLD.get((fault.kind, fault.what))
    if fault.kind == "raise" and fault.stage == RUN:
        pattern = "injected"
    if pattern is None or re.search(pattern.format(stage=re.escape(fault.stage)), last):
        return []
    own = [entry for entry in entries if entry["stage"] == fault.stage]
    done = [entry["end"] for entry in own if entry["phase"] in ("score", "retrieve", "fuse")]
    if fault.kind == "table":  # the ensemble's own is read by nobody
        done = [0.0] if fault.stage == ENSEMBLE else [max(entry["end"] for entry in entries)]
    ended = any(entry["phase"] == ledger.STAGE and entry["status"] == ledger.OK for entry in own)
    if strike.at and ended and done and done[0] <= strike.at:
        return []
    before = f"{SHORT}|{NOTHING}" if nothing_to_fuse and fault.stage == ENSEMBLE else SHORT
    if re.search(FAILED.format(stage=re.escape(fault.stage)) + f"[^\\n]*({before})", last):
        return []  # for lack of time or tables, which what befell other stages took
    if fault.stage != RUN and not any(entry["phase"] == ledger.STAGE for entry in own):
        return []  # the run ended before it
    return [f"'{fault}' ({strike.to}) is not told in the last lines"]


def _spread(case: Case, strikes: list[Strike], failed: Mapping[str, str]) -> list[str]:
    """Stages that failed, and not for lack of time or of anything to read, though nothing was done to them."""
    if any(fault.kind not in ALONE or fault.stage == RUN for fault in case.faults):
        return []
    hit = {strike.fault.stage for strike in strikes}
    alone = {ENSEMBLE} if _leaves_nothing(case, failed) else set()
    return [
        f"{stage} failed, to which nothing was done: {why}"
        for stage, why in failed.items() if stage not in hit | alone and not re.search(SHORT, why)
    ]  # fmt: skip
