"""Where jobs run: the seam that the runner starts them by, and processes of this machine."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from cascade.processes import die_with_parent, tree
from cascade.processes.workers import DeviceSlot
from training.jobs.job import Job


class Started(ABC):
    """A job that an executor has. `began`: when it began, by the monotonic clock; None while it waits for a place."""

    began: float | None

    @abstractmethod
    def poll(self) -> int | None:
        """Its exit code, negative for a signal; None while it runs."""

    @abstractmethod
    def end(self) -> None:
        """Ends it, with all the processes that came of it."""


class Executor(ABC):
    """Starts jobs, each as one command whose output goes to a log. Used as a context manager around them all."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    @property
    @abstractmethod
    def places(self) -> int:
        """How many jobs it runs at a time."""

    @abstractmethod
    def has_place(self, job: Job) -> bool:
        """Whether the job can be started now."""

    @abstractmethod
    def start(self, job: Job, log: Path) -> Started: ...


@dataclass
class LocalProcess(Started):
    """A job as a process of this machine, which ends with this one."""

    job: Job
    slot: DeviceSlot
    process: subprocess.Popen[bytes]
    began: float | None = field(default_factory=time.monotonic)

    def poll(self) -> int | None:
        return self.process.poll()

    def end(self) -> None:
        tree.end_tree(self.process.pid)
        tree.end(self.process)


@dataclass
class Processes(Executor):
    """A process for each slot of this machine; a job that takes all devices has it alone."""

    slots: Sequence[DeviceSlot]
    running: list[LocalProcess] = field(init=False, default_factory=list)

    @property
    def places(self) -> int:
        return len(self.slots)

    def has_place(self, job: Job) -> bool:
        self.running = [each for each in self.running if each.process.poll() is None]
        alone = job.whole or any(each.job.whole for each in self.running)
        return bool(self._free()) and not (alone and self.running)

    def start(self, job: Job, log: Path) -> Started:
        slot = self._free()[0]
        places = {} if job.whole else slot.environment()
        command = [sys.executable, "-m", "cascade.processes.die_with_parent", *job.command]
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT,
                env=os.environ | places | {"PYTHONUNBUFFERED": "1"} | die_with_parent.told(),
            )  # fmt: skip
        self.running.append(LocalProcess(job, slot, process))
        return self.running[-1]

    def _free(self) -> list[DeviceSlot]:
        taken = [each.slot for each in self.running]
        return [slot for slot in self.slots if slot not in taken]
