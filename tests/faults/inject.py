"""What is done to a run, and when: after something of it first appeared, so many seconds."""

from __future__ import annotations

import contextlib
import os
import random
import resource
import signal
import threading
import time
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import nbformat
import psutil
import torch
from safetensors.torch import load_file, save_file

from tests.faults import roles
from tests.faults.micro import MicroRun
from tests.faults.roles import RUN, Key

LOOK = 0.1  # seconds between two looks at a run's processes
HOW = ("corrupt", "truncate", "remove")  # what is done to a file
CGROUPS = (Path("/sys/fs/cgroup/memory"), Path("/sys/fs/cgroup"))  # version 1, version 2
MEMORY = (1, 64)  # MB that a stage may still take, at least and at most
HARMLESS = "with kernels.harmless():"
ADAPTERS = {"retrieve-r1": "retriever-minilm", "rerank-point": "tiny-pointwise"}
TABLES = {
    "reason": "reasons",
    "retrieve-r1": "candidates-r1",
    "rerank-point": "ranking-point",
    "ensemble": "ranking-ensemble",
}


@dataclass(frozen=True)
class Fault:
    """One fault. `stage`: whose, or `run`. `what`: a role, or what is done to a file. `moment`: 0 to 1 of the time that

    what it hits is there in a run without faults.
    """

    kind: str
    stage: str
    what: str = ""
    moment: float = 0.0

    def __str__(self) -> str:
        return f"{self.kind} {self.what} of {self.stage} at {self.moment:.2f}".replace("  ", " ")


@dataclass
class Reference:
    """A run without faults: how long it took, how long each role's processes were there, and the longest stage."""

    seconds: float = 0.0
    lasted: dict[Key, float] = field(default_factory=dict)
    longest: float = 0.0
    submission: str = ""

    def take(self, injector: Injector, ended: float) -> None:
        """What the injector has seen of a run that ended then."""
        appeared = injector.appeared
        self.lasted = {key: end - appeared[key] for key, end in injector.last.items()}
        self.longest = max((span for (_, role), span in self.lasted.items() if role == "papermill"), default=0.0)
        for (stage, role), first in appeared.items():
            if role in ("table", "zero"):
                self.lasted[stage, role] = ended - first
            elif role == "worker":  # it loads for about half of the time that it is there
                self.lasted[stage, "loading"] = first - appeared[stage, "papermill"] + self.lasted[stage, role] / 2


@dataclass
class Strike:
    """A fault that was done: Unix time, and to what."""

    fault: Fault
    at: float
    to: str


class Injector:
    """Watches one run's processes and does its faults; `reference` tells how long anything is there."""

    def __init__(self, run: MicroRun, faults: list[Fault], reference: Reference, seed: int) -> None:
        self.run, self.reference = run, reference
        self.random = random.Random(seed)
        self.pending = list(faults)
        self.strikes: list[Strike] = []
        self.appeared: dict[Key, float] = {}
        self.last: dict[Key, float] = {}
        self.trouble: list[str] = []  # what kept it from doing its work
        self.vanished: dict[str, set[int]] = {}  # stage -> processes of the card that is there still
        self.cgroups: list[Path] = []
        self.over = threading.Event()
        self.thread = threading.Thread(target=self._watch, daemon=True)

    def prepare(self) -> None:
        """What is done before the run starts."""
        before = {"raise": self._raise, "nan": self._nan, "wheel": self._wheel}
        for fault in [fault for fault in self.pending if fault.kind in before]:
            self.pending.remove(fault)
            self.strikes.append(Strike(fault, 0.0, before[fault.kind](fault)))

    def stop(self) -> None:
        self.over.set()
        self.thread.join()
        for group in self.cgroups:
            with contextlib.suppress(OSError):
                group.rmdir()

    def _watch(self) -> None:
        while not self.over.wait(LOOK):
            try:
                self._look()
            except Exception as error:
                self.trouble.append(f"{type(error).__name__}: {error}")
                self.pending.clear()

    def _look(self) -> None:
        now, found = time.time(), roles.seen(self.run.tree())
        for key in found:
            self.appeared.setdefault(key, now)
            self.last[key] = now
        if self.run.watcher is not None and self.run.watcher.first:
            self.appeared.setdefault((RUN, "zero"), self.run.watcher.first)
        for stage, name in TABLES.items():
            if (self.run.out / f"{name}.parquet").exists():
                self.appeared.setdefault((stage, "table"), now)
        for fault in list(self.pending):
            key, span = event(fault)
            lasted = self.reference.lasted.get(span, 0.0)
            if key in self.appeared and now >= self.appeared[key] + fault.moment * lasted:
                self.pending.remove(fault)
                if to := self._strike(fault, found):
                    self.strikes.append(Strike(fault, time.time(), to))
        for stage, spared in self.vanished.items():
            for process in found.get((stage, "worker"), []):
                if process.pid not in spared:
                    _signal([process], signal.SIGKILL)

    def _strike(self, fault: Fault, found: roles.Seen) -> str:
        """Does it; what it was done to, empty where nothing of the kind is left."""
        targets = found.get((fault.stage, fault.what), [])
        if fault.kind == "kill":
            return _signal(targets[-1:], signal.SIGKILL)
        if fault.kind == "stop":
            return _signal(targets[-1:], signal.SIGSTOP)
        if fault.kind == "card":
            workers = found.get((fault.stage, "worker"), [])
            if len(workers) < 2:
                return ""
            self.vanished[fault.stage] = {workers[0].pid}
            return f"worker {workers[1].pid} and what takes its place"
        if fault.kind == "memory":
            return self._starve([process for key, some in found.items() if key[0] == fault.stage for process in some])
        if fault.kind == "disk":
            return _fill(self.run.out / "filler")
        if fault.kind == "table":
            tables = list(self.run.out.rglob(f"{TABLES[fault.stage]}.*/*.parquet"))
            return self._spoil(self.run.out / f"{TABLES[fault.stage]}.parquet", fault.what, tables)
        return self._spoil(self._weights(fault.stage), fault.what)

    def _wheel(self, fault: Fault) -> str:
        wheels = sorted(self.run.folder.glob("input/*/wheels/*.whl"))
        return self._spoil(self.random.choice(wheels), fault.what)

    def _weights(self, stage: str) -> Path:
        if stage not in ADAPTERS:  # the reasoning LLM has none: its own weights
            return self.run.folder / "models" / "reason" / "model.safetensors"
        return self.run.folder / "adapters" / ADAPTERS[stage] / "adapter_model.safetensors"

    def _spoil(self, path: Path, how: str, others: list[Path] | None = None) -> str:
        """Another file in its place, as a new upload would be: what is mapped by a process stays whole."""
        spoiled = ""
        for each in (path, *(others or [])):
            try:
                data = bytearray(each.read_bytes())
                each.unlink()
            except FileNotFoundError:  # not made yet, or just replaced
                continue
            spoiled = path.name
            if how == "corrupt":
                for _ in range(max(8, len(data) // 100) if data else 0):
                    data[self.random.randrange(len(data))] = self.random.randrange(256)
            if how != "remove":
                each.write_bytes(bytes(data if how == "corrupt" else data[: int(self.random.random() * len(data))]))
        return spoiled

    def _nan(self, fault: Fault) -> str:
        path = self._weights(fault.stage)
        tensors = {name: torch.full_like(tensor, float("nan")) for name, tensor in load_file(path).items()}
        path.unlink()
        save_file(tensors, path)
        return path.parent.name

    def _raise(self, fault: Fault) -> str:
        name = fault.stage.partition("-")[0]
        path = self.run.folder / "notebooks" / f"{'submission' if fault.stage == RUN else name}.ipynb"
        content = nbformat.read(path, as_version=4)
        if fault.stage == RUN:  # what stands outside of it is meant to raise
            harmless = [i for i, cell in enumerate(content.cells) if HARMLESS in cell.source]
            place = harmless[int(fault.moment * len(harmless))]
            cell = content.cells[place]
            cell.source = cell.source.replace(HARMLESS, f"{HARMLESS}\n        raise ValueError('injected')")
        else:
            first = 1 + next(i for i, cell in enumerate(content.cells) if "parameters" in cell.metadata.get("tags", []))
            place = first + round(fault.moment * (len(content.cells) - first))
            content.cells.insert(place, nbformat.v4.new_code_cell("raise ValueError('injected')"))
        nbformat.write(content, path)
        return f"{path.name}, cell {place}"

    def _starve(self, processes: list[psutil.Process]) -> str:
        """Leaves a stage's processes hardly any memory, by a cgroup where one can be made, else by their own limits."""
        if not processes:
            return ""
        room = self.random.randint(*MEMORY) * 1_000_000
        base, file = memory_cgroup()
        if base is None:
            for process in processes:
                with contextlib.suppress(psutil.Error, OSError):
                    most = process.memory_info().vms + room
                    resource.prlimit(process.pid, resource.RLIMIT_AS, (most, most))
            return f"{len(processes)} processes, RLIMIT_AS {room // 1_000_000} MB more"
        group = base / f"cascade-{self.run.mark}-{len(self.cgroups)}"
        group.mkdir()
        self.cgroups.append(group)
        (group / file).write_text(str(room))
        for process in processes:
            with contextlib.suppress(OSError):
                (group / "cgroup.procs").write_text(str(process.pid))
        return f"{len(processes)} processes, cgroup {room // 1_000_000} MB"


@cache
def memory_cgroup() -> tuple[Path | None, str]:
    """Where a memory cgroup can be made, and its file of the limit; None where that is not allowed."""
    for base, file in zip(CGROUPS, ("memory.limit_in_bytes", "memory.max"), strict=True):
        probe = base / f"cascade-{os.getpid()}"
        with contextlib.suppress(OSError):
            probe.mkdir()
            try:
                if (probe / file).exists():
                    return base, file
            finally:
                probe.rmdir()
    return None, ""


def event(fault: Fault) -> tuple[Key, Key]:
    """What must have appeared before it, and the span of the run without faults that its moment is a part of."""
    stage = fault.stage
    if fault.kind in ("kill", "stop"):
        return (stage, fault.what), (stage, fault.what)
    if fault.kind == "adapter":
        return (stage, "papermill"), (stage, "loading")
    own = {"card": "worker", "memory": "kernel", "table": "table"}.get(fault.kind)
    key = (stage, own) if own else (RUN, "zero")
    return key, key


def _signal(processes: list[psutil.Process], number: signal.Signals) -> str:
    for process in processes:
        with contextlib.suppress(psutil.Error):
            process.send_signal(number)
            return f"process {process.pid}"
    return ""


def _fill(path: Path) -> str:
    """Writes until there is no room; the run's folder has a disk of its own."""
    with path.open("wb", buffering=0) as file:
        for size in (1 << 20, 1 << 12, 1):
            with contextlib.suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass
    return f"{path.stat().st_size / 1e6:.0f} MB of filler"
