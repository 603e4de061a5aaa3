"""Running a run's stages, one after the other: each under papermill, in processes that are ended with it."""

from __future__ import annotations

import contextlib
import json
import math
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.base import clock, folder, ledger
from cascade.config.schema import ENSEMBLE, REASON
from cascade.processes import die_with_parent, environ, gpu, tree
from cascade.run import console, outcome
from cascade.run.budget import Budget
from cascade.run.outcome import Result
from cascade.stages import reading
from cascade.stages.context import RunContext
from cascade.stages.resume import Keeping
from cascade.stages.schedule import Stage
from cascade.stages.standing import Standing

# Between the moment a stage should stop by itself and the moment it is ended it writes its table and draws.
GRACE = 15.0  # seconds, and at most
GRACE_SHARE = 0.2  # of the stage's time
TAIL = 3.0  # seconds of that, or what the plan has for it, are in the stage's share; later ones do without the rest
LEAST = 5.0  # seconds: no stage even starts in less
LOW_DISK = 1.0  # GB: a stage's tables, chunks and vectors take less, so that this is told in time
SET = {
    "JUPYTER_PREFER_ENV_PATH": "1",
    "HF_HUB_OFFLINE": "1",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "TOKENIZERS_PARALLELISM": "true",
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",
}


def free_disk(run: Path) -> dict[str, float]:
    """Free GB (10^9 bytes) by folder: the run's, and that for temporary files if it has a disk of its own."""
    found: dict[int, tuple[str, float]] = {}
    for place in (run, Path(os.environ.get("TMPDIR") or "/tmp")):  # tempfile passes over one that is full
        with contextlib.suppress(OSError):
            disk = place.stat().st_dev
            found.setdefault(disk, (str(place), round(shutil.disk_usage(place).free / 1e9, 1)))
    return dict(found.values())


def low_disk(free: Mapping[str, float]) -> list[str]:
    """A sentence for each folder of `free_disk` whose disk is nearly full."""
    return [f"only {left} GB are free in {place}" for place, left in free.items() if left < LOW_DISK]


@dataclass(frozen=True)
class StageRunner:
    """Runs stages of one run. `notebooks`: their folder; `common`: the parameters that all of them take."""

    context: RunContext
    notebooks: Path
    common: Mapping[str, str]
    standing: Standing
    budget: Budget
    printer: console.Printer
    keeping: Keeping

    def run(self, stage: Stage, later: Sequence[Stage]) -> Result:
        """Runs one stage and brings submission.csv up to what is there then; whatever goes wrong is its failure."""
        start, context = clock.now(), self.context
        memory: dict[str, float] = {}
        result = Result(stage)
        try:
            if self._is_kept(stage):
                self.standing.improve()
                self.printer.say(f"{stage.name}: kept", 0.0)
                return Result(stage, used=True)
            if not (wanted := reading.expected(context, stage.of)):
                ledger.record(context.run, stage.name, "select", start, clock.now(), decision="select leaves no query")
                self.printer.say(f"{stage.name}: no query", 0.0)
                return result
            share = self.budget.share([stage.name, *(each.name for each in later)])
            if share.dropped:
                self.printer.say(f"{stage.name}: dropped", 0.0)
                return result
            given = min(share.seconds, stage.limit or math.inf)
            if given < LEAST:
                why = share.why or f"{max(0.0, given):.0f} s are too few to start it"
                result.failure = f"skipped: {why}"
            else:
                memory = self._execute(result, start, share.seconds, share.tail, wanted)
        except Exception as error:  # nothing between two stages may cost the later ones
            console.LOG.exception("%s", stage.name)
            result.failure = f"{type(error).__name__}: {error}"
        try:
            self.standing.improve()
        except Exception as error:
            console.LOG.exception("submission.csv after %s", stage.name)
            result.failure = result.failure or f"submission.csv could not be replaced: {error}"
        end = clock.now()
        status = {"status": result.failure or ledger.OK} | ({"mend": result.mend} if result.mend else {})
        memory = {"peak_memory_mb": 0.0} | memory
        free = free_disk(context.run)
        ledger.record(context.run, stage.name, ledger.STAGE, start, end, **status, **memory, free_disk_gb=free)
        for told in low_disk(free):
            print(f"{stage.name}: {told}", flush=True)
        own = None if stage.of in (REASON, ENSEMBLE) else stage.table
        score = self.printer.score(context, own)
        self.printer.say(stage.name, end - start, score, result.told, memory["peak_memory_mb"])
        return result

    def _is_kept(self, stage: Stage) -> bool:
        """Whether an earlier run's table stands; what is made from something else now is removed, and said."""
        if stage.of == ENSEMBLE:
            return False
        if why := self.keeping.settle(stage.name, stage.of, stage.table):
            print(f"{stage.name}: run again: {why}", flush=True)
        return self.context.resume and outcome.is_whole(self.context, stage)

    def _execute(self, result: Result, start: float, seconds: float, tail: float, wanted: set[str]) -> dict[str, float]:
        """Runs the notebook for `seconds` from `start`, `tail` of which it draws in; judges it, returns its memory."""
        stage = result.stage
        limit = stage.limit or math.inf
        grace = min(GRACE, GRACE_SHARE * min(seconds, limit))
        stop = start + min(seconds - min(max(TAIL, tail), grace), limit - grace)
        until = min(stop + grace, self.budget.end)
        parameters = {**self.common, "deadline": stop, **stage.parameters}
        log = self.context.run / folder.LOGS / f"{stage.name}.log"
        workers = outcome.worker_logs(log.parent, log)
        gpu_before = gpu.gpu_memory_used_mb()
        ended = tree.run(
            self._command(stage, parameters), log, environ.clean() | SET | die_with_parent.told(), until,
            lambda seconds: self.printer.progress(stage.name, seconds, log),
        )  # fmt: skip
        gpu.wait_for_gpu_memory(gpu_before)
        memory = {"peak_memory_mb": round(ended.peak_memory_mb, 1)}
        if ended.peak_gpu_memory_mb:
            memory["peak_gpu_memory_mb"] = ended.peak_gpu_memory_mb
        result.failure = outcome.why_failed(ended, until - start)
        outcome.judge(self.context, result, wanted)
        outcome.explain(result, ended.code, log, workers)
        return memory

    def _command(self, stage: Stage, parameters: Mapping[str, Any]) -> list[str]:
        return [
            sys.executable, "-m", "cascade.processes.die_with_parent", "papermill",
            str(self.notebooks / stage.notebook), str(self.context.run / folder.NOTEBOOKS / f"{stage.name}.ipynb"),
            "--kernel", "python3", "--no-progress-bar", "--log-output", "--parameters_yaml", json.dumps(parameters),
        ]  # fmt: skip
