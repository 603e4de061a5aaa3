"""A real Ray cluster of nodes on this machine, each as `ray start` makes it."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

from cascade.base.runtime import ROOT
from cascade.processes import tree

STARTS = 90.0  # seconds; some 8 on two busy cores
TRIES = 3  # Ray gives a node up that a busy machine has not started in 30 seconds
PATIENT = {"RAY_agent_register_timeout_ms": "100000"}  # of a busy machine
RAY = (sys.executable, "-m", "ray.scripts.scripts", "start", "--block", "--disable-usage-stats")


@dataclass
class Nodes:
    """A head without a place for jobs, and the nodes that are added; as a context manager it ends them all."""

    folder: Path = field(init=False)  # short: the names of sockets below it may have 107 letters
    port: int = field(init=False)
    processes: list[subprocess.Popen[bytes]] = field(init=False, default_factory=list)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="ray-"))
        self.port = free_port()
        head = ("--head", f"--port={self.port}", "--include-dashboard=false", f"--temp-dir={self.folder}")
        self.start(*head, "--num-cpus=0")
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self.processes):
            self.kill(process)
        shutil.rmtree(self.folder, ignore_errors=True)

    def add(self, hidden: Path | None = None, environment: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        """A node of one core, which does not see what is in the folder `hidden`."""
        return self.start(f"--address={self.address}", "--num-cpus=1", hidden=hidden, environment=environment)

    def start(
        self, *words: str, hidden: Path | None = None, environment: Mapping[str, str] | None = None
    ) -> subprocess.Popen[bytes]:
        # Ray's default, told: a head asks for a token where a person has one, and its nodes do not send it.
        command = [*RAY, "--object-store-memory=80000000", *words]
        if hidden is not None:
            script = 'mount -t tmpfs none "$0" && exec "$@"'
            command = ["unshare", "-rm", "bash", "-c", script, str(hidden), *command]
        own = {"PYTHONPATH": str(ROOT), "RAY_AUTH_MODE": "disabled", **PATIENT, **(environment or {})}
        for _ in range(TRIES):
            process = self._started(command, os.environ | own)
            if process is not None:
                return process
        raise AssertionError(self.log(len(self.processes) - 1).read_text(encoding="utf-8", errors="replace")[-2000:])

    def _started(self, command: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[bytes] | None:
        """The node once it is there; None where Ray gave it up."""
        log, until = self.log(len(self.processes)), time.monotonic() + STARTS
        with log.open("wb") as output:
            process = subprocess.Popen(
                command, env=environment, stdout=output, stderr=output, cwd=self.folder, start_new_session=True
            )
        self.processes.append(process)
        while "Ray runtime started" not in log.read_text(encoding="utf-8", errors="replace"):
            if process.poll() is not None or time.monotonic() > until:
                self.kill(process)
                return None
            time.sleep(0.1)
        return process

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """As a machine that loses its power."""
        tree.end_tree(process.pid)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)  # what a start that was given up has left
        process.wait()

    def log(self, number: int) -> Path:
        return self.folder / f"node-{number}.log"


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
