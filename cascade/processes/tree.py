"""Starting one process with a limit from outside, and ending everything that came of it.

A Jupyter kernel leaves its parent's process group and session, so killing papermill leaves the
kernel and its workers alive. The conductor therefore becomes a child subreaper (Linux): whatever
loses its parent below it becomes its child, and all its descendants can be found and ended.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from cascade.base import clock

PR_SET_CHILD_SUBREAPER = 36  # linux/prctl.h
POLL = 0.1  # seconds between two looks at a running stage
MEMORY_EVERY = 1.0  # seconds between two looks at its memory: walking a tree costs a few ms
GPU_EVERY = 5  # seconds between two readings of the GPUs' memory
REAPED = 1.0  # seconds from SIGKILL to the end of any process but one that the operating system itself holds

_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def become_subreaper() -> None:
    """Makes orphaned descendants children of this process; without effect where there is no Linux."""
    if _libc is not None and _libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER) failed")


@dataclass(frozen=True)
class Outcome:
    """How a process ended. `code` is None where the limit was reached; `peak_memory_mb` (10^6 bytes) is its tree's.

    `peak_gpu_memory_mb`: the most that was in use on any one GPU, in MiB as nvidia-smi says; 0 where it says nothing.
    """

    code: int | None
    seconds: float
    peak_memory_mb: float
    peak_gpu_memory_mb: float = 0.0


def run(
    command: Sequence[str],
    log: Path,
    environment: Mapping[str, str],
    until: float | None,
    tick: Callable[[float], None] = lambda seconds: None,
) -> Outcome:
    """Runs `command` with its output in `log`, until Unix time `until` at most, then ends the whole tree.

    `tick` is called about once a second with the seconds so far. Must be called in a process of
    its own (the conductor's): it ends all descendants of the caller.
    """
    start = clock.now()
    peak = 0.0
    held = set(psutil.Process().children(recursive=True))  # what outlives an earlier stage's end
    with log.open("wb") as output, _watched_gpus(log.with_suffix(".gpu")) as gpu_peak:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=dict(environment),
        )
        try:
            looked = 0.0
            while (code := process.poll()) is None and (until is None or clock.now() < until):
                if time.monotonic() - looked >= MEMORY_EVERY:
                    peak, looked = max(peak, tree_memory_mb()), time.monotonic()
                    tick(clock.now() - start)
                time.sleep(POLL)
        finally:
            if outliving := end_descendants(held):
                print(f"not ended by SIGKILL: processes {', '.join(map(str, outliving))}", flush=True)
            process.poll()
    return Outcome(code, clock.now() - start, peak, max(gpu_peak, default=0.0))


@contextlib.contextmanager
def _watched_gpus(readings: Path) -> Iterator[list[float]]:
    """Fills the list, at the end, with what nvidia-smi meanwhile read of each GPU's memory, in MiB.

    One process that repeats itself and writes to a file: asked anew each time, it would hold up a limit when it hangs.
    """
    found: list[float] = []
    if shutil.which("nvidia-smi") is None:
        yield found
        return
    command = [
        "nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,nounits", "--loop", str(GPU_EVERY),
    ]  # fmt: skip
    with readings.open("wb") as output:
        watcher = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.DEVNULL)
    try:
        yield found
    finally:
        end(watcher)
        found += [float(line) for line in readings.read_text(errors="replace").split() if line.isdigit()]
        readings.unlink(missing_ok=True)


def tree_memory_mb() -> float:
    """Resident memory of all descendants together, in MB of 10^6 bytes; pages they share count for each."""
    total = 0
    for child in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            total += child.memory_info().rss
    return total / 1e6


def end(process: subprocess.Popen[Any]) -> None:
    """SIGKILLs a process and hardly waits for it: one that the operating system holds ends when it likes."""
    process.kill()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(REAPED)


def end_descendants(but: Set[psutil.Process] = frozenset(), patience: float = 30.0) -> list[int]:
    """SIGKILLs all descendants of this process, `but` these, until none is left.

    It returns the ids of those that are left after `patience` seconds: only what the operating system itself holds (a
    call to a dead card) can outlive that.
    """
    give_up = time.monotonic() + patience
    while children := [child for child in psutil.Process().children(recursive=True) if child not in but]:
        for child in children:
            with contextlib.suppress(psutil.Error):
                child.kill()
        for child in children:  # the subreaper must reap what it adopted
            with contextlib.suppress(ChildProcessError):
                os.waitpid(child.pid, os.WNOHANG)
        if time.monotonic() > give_up:
            return [child.pid for child in children]
        time.sleep(0.02)
    return []


def end_tree(pid: int) -> None:
    """SIGKILLs a process and all its descendants; those that are gone already are no error."""
    with contextlib.suppress(psutil.Error):
        root = psutil.Process(pid)
        for process in (*root.children(recursive=True), root):
            with contextlib.suppress(psutil.Error):
                process.kill()
