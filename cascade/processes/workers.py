"""The pool of model processes: one per device, fed task by task, and outlived by the work when one dies.

Everything that holds a model runs in one of these, dense retrievers and rerankers alike. A process of
its own per card is how two cards work at once, and its end is the only sure way to get GPU memory back.
"""

from __future__ import annotations

import contextlib
import faulthandler
import multiprocessing
import os
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from pathlib import Path
from typing import Any, Generic, TypeVar

from cascade.base import clock
from cascade.base.errors import CascadeError, WorkerError
from cascade.causes import deaths
from cascade.processes import die_with_parent
from cascade.processes.tree import end_tree

LIVES = 2  # a process that died is started once more: out of memory, or a card's hiccup
ATTEMPTS = 2  # a task whose process died twice is what kills it
PATIENCE = 1.0  # seconds between two looks whether a process still lives
JOINED = 10.0  # seconds from the end of a process that was killed until it is left to the operating system

T = TypeVar("T")
Work = Callable[[Any], Any]


@dataclass(frozen=True)
class DeviceSlot:
    """Where one process runs: its devices as the config names them, and on CPUs its cores."""

    devices: tuple[str, ...]
    cores: tuple[int, ...] = ()

    @property
    def name(self) -> str:
        return "+".join(self.devices)

    @property
    def device(self) -> str:
        """The device as the process sees it: a process sees its own cards alone."""
        return "cuda:0" if self.devices[0].startswith("cuda") else "cpu"

    def environment(self) -> dict[str, str]:
        """Variables that must stand before torch or vLLM is imported."""
        if self.device != "cpu":
            visible = [card.strip() for card in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if card.strip()]
            cards = [int(device.split(":")[1]) for device in self.devices]
            return {"CUDA_VISIBLE_DEVICES": ",".join(visible[card] if visible else str(card) for card in cards)}
        share = max(1, len(self.cores) // len(self.devices))
        starts = [number * share % max(1, len(self.cores)) for number in range(len(self.devices))]
        ranks = [self.cores[start : start + share] for start in starts]
        bound = "|".join(",".join(map(str, cores)) for cores in ranks)
        return {"OMP_NUM_THREADS": str(share), "VLLM_CPU_OMP_THREADS_BIND": bound}


def device_slots(devices: Sequence[str], together: bool = False) -> list[DeviceSlot]:
    """A place per device, or one over all. CPUs share this process's cores out among themselves."""
    cores = sorted(os.sched_getaffinity(0)) if sys.platform == "linux" else list(range(os.cpu_count() or 1))
    cpus = [number for number, device in enumerate(devices) if device == "cpu"]
    if together:
        return [DeviceSlot(tuple(devices), tuple(cores) if cpus else ())]
    share = max(1, len(cores) // max(1, len(cpus)))
    made = []
    for number, device in enumerate(devices):
        start = cpus.index(number) * share % len(cores) if number in cpus else 0
        made.append(DeviceSlot((device,), tuple(cores[start : start + share]) if number in cpus else ()))
    return made


@dataclass
class Worker:
    """One process of the pool and what it is at."""

    place: DeviceSlot
    lives: int = LIVES
    process: Any = None
    connection: Connection | None = None
    ready: bool = False
    task: int | None = None
    since: float = 0.0


@dataclass(frozen=True)
class Done(Generic[T]):
    """A finished task: its `value`, or the `error` that it ended with; `seconds` it took."""

    task: T
    value: Any = None
    error: CascadeError | None = None
    seconds: float = 0.0


@dataclass
class Pool:
    """Processes that each call `make(place, *arguments)` once and then its result for every task.

    `make` is a module's function, and it, its arguments, tasks and values must be picklable. What the
    processes print goes to `<logs>/<name>-<number>.log`; `losses` says which of them died.
    Use as a context manager: leaving it ends them.
    """

    name: str
    slots: Sequence[DeviceSlot]
    logs: Path
    make: Callable[..., Work]
    arguments: tuple[Any, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    say: Callable[[str], None] = print
    workers: list[Worker] = field(init=False)
    losses: list[str] = field(init=False, default_factory=list)
    _why: str = field(init=False, default="")
    load_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.workers = [Worker(place) for place in self.slots]

    def __enter__(self) -> Pool:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self.workers:
            self._end(worker)

    def run(self, tasks: Sequence[T], go_on: Callable[[], bool] = lambda: True) -> Iterator[Done[T]]:
        """Works through `tasks`, one at a time a process, and yields them as they finish.

        An error of the cascade's own family that a task raises is that task's result. A process that dies,
        or that any other error shows to be broken, gives its task to another, and is started once more. No
        task is begun after `go_on()` is false. WorkerError where no process is left and tasks are.
        """
        waiting = deque(range(len(tasks)))
        attempts = [0] * len(tasks)
        started = clock.now()
        while waiting or any(worker.task is not None for worker in self.workers):
            for worker in self.workers:
                started_idle = sum(each.process is not None and each.task is None for each in self.workers)
                if len(waiting) > started_idle and worker.process is None and worker.lives and go_on():
                    self._start(worker)
                if waiting and worker.ready and worker.task is None and go_on():
                    self._give(worker, waiting.popleft(), tasks)
            if not any(worker.task is not None or (waiting and worker.process) for worker in self.workers):
                if waiting and go_on():
                    raise WorkerError(
                        f"no worker process is left ({self._why})", key=self.name, mend=f"read {self.logs}"
                    )
                return
            if not go_on() and all(worker.task is None for worker in self.workers):
                return
            for worker, kind, value in self._events():
                number, worker.task = worker.task, None
                if kind == "ready":
                    worker.ready = True
                    self.load_seconds = self.load_seconds or clock.now() - started
                elif kind == "refused" and number is None:
                    raise value
                elif kind in ("done", "refused") and number is not None:
                    seconds = clock.now() - worker.since
                    error = value if kind == "refused" else None
                    yield Done(tasks[number], None if error else value, error, seconds)
                elif kind == "broken":
                    self._bury(worker, value)
                    if number is None:
                        continue
                    attempts[number] += 1
                    if attempts[number] < ATTEMPTS:
                        waiting.append(number)  # behind the others: what kills one process may kill the next
                    else:
                        lost = WorkerError(
                            f"{ATTEMPTS} processes died while doing the same work ({value})",
                            key=self.name,
                            mend=f"read {self.logs}",
                        )
                        yield Done(tasks[number], None, lost)

    def _events(self) -> Iterator[tuple[Worker, str, Any]]:
        """What the processes have said, or that they died, within the next moment."""
        alive = {worker.connection: worker for worker in self.workers if worker.connection is not None}
        spoken = wait(list(alive), timeout=PATIENCE)
        for connection, worker in alive.items():
            try:
                # Looked at in this order: what a process said before it died is heard.
                dead = connection not in spoken and not worker.process.is_alive()
                if connection.poll():
                    kind, value = connection.recv()
                    yield worker, kind, value
                elif dead:
                    yield worker, "broken", f"exit code {worker.process.exitcode}"
            except (EOFError, OSError):
                worker.process.join(PATIENCE)
                yield worker, "broken", f"exit code {worker.process.exitcode}"

    def _log(self, worker: Worker) -> Path:
        return self.logs / f"{self.name}-{self.workers.index(worker)}.log"

    def _start(self, worker: Worker) -> None:
        context = multiprocessing.get_context("spawn")
        self.logs.mkdir(parents=True, exist_ok=True)
        worker.connection, theirs = context.Pipe()
        environment = {**worker.place.environment(), **self.environment}
        worker.process = context.Process(
            target=_live, args=(theirs, worker.place, environment, str(self._log(worker)), self.make, self.arguments)
        )
        worker.lives -= 1
        worker.process.start()
        theirs.close()

    def _give(self, worker: Worker, number: int, tasks: Sequence[Any]) -> None:
        assert worker.connection is not None
        worker.task, worker.since = number, clock.now()
        with contextlib.suppress(OSError):  # it has just died, which the next look at it finds
            worker.connection.send(tasks[number])

    def _bury(self, worker: Worker, why: str) -> None:
        self._end(worker)
        deaths.write(self._log(worker), worker.place.name, why)
        self._why = why = " ".join(why.split())  # a CUDA error has five lines
        then = "restarted" if worker.lives else "given up"
        self.losses.append(f"the process on {worker.place.name} died ({why}); its work continues elsewhere; {then}")
        self.say(f"{self.name}: {self.losses[-1]}")

    def _end(self, worker: Worker) -> None:
        if worker.process is not None:
            end_tree(worker.process.pid)
            worker.process.join(JOINED)  # what the operating system holds, as in a call to a dead card, never ends
        if worker.connection is not None:
            worker.connection.close()
        worker.process, worker.connection, worker.ready, worker.task = None, None, False, None


def _live(
    connection: Connection,
    place: DeviceSlot,
    environment: Mapping[str, str],
    log: str,
    make: Callable[..., Work],
    arguments: tuple[Any, ...],
) -> None:
    """The life of a process: load, then task after task until the pool hangs up."""
    from tqdm import tqdm

    die_with_parent.die_with_parent()
    output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(output, 1)
    os.dup2(output, 2)
    faulthandler.enable()  # else a crash in native code leaves nothing to read
    os.environ.update(environment)
    # A bar's own lock is a semaphore, which this process, killed in the end, would leave to its parent's shutdown.
    tqdm.set_lock(threading.RLock())
    if place.cores and sys.platform == "linux":
        os.sched_setaffinity(0, place.cores)
    work: Work | None = None
    with contextlib.suppress(EOFError, OSError):  # the pool is gone, and so is the reason to live
        while True:
            try:
                if work is None:
                    work, kind, value = make(place, *arguments), "ready", None
                else:
                    kind, value = "done", work(connection.recv())
            except EOFError:
                return
            except CascadeError as error:
                kind, value = "refused", error
            except BaseException as error:
                traceback.print_exc()
                kind, value = "broken", f"{type(error).__name__}: {str(error)[:500]}"
            connection.send((kind, value))
            if kind == "broken" or work is None:
                return
