"""A room like Kaggle's kernel: its folders, no network, and nothing of this machine but what is shown in it.

Made of Linux's namespaces (user, mount, network, process), for which no root is needed. The kept folder lies in memory,
as only a file system of its own has a size.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.base.errors import CascadeError
from packer.rehearsal import audit_log, strace_log
from packer.rehearsal.violations import Attempt

CORES, MEMORY = 4, 29 * 10**9  # Kaggle's machine with two T4
# Everything of the system that a program may want. A machine lacks some.
SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/etc", "/var/lib", "/var/cache",
)  # fmt: skip
PROJECT = Path(__file__).resolve().parents[2]  # where `inside` is, whatever the current folder
STEP = 1.0  # seconds between two looks at what the run has said
UNSHARE = (
    "unshare", "--user", "--map-root-user", "--mount", "--net", "--pid", "--fork", "--kill-child",
)  # fmt: skip
PROGRAMS = ("unshare", "mount", "ip", "chroot", "env")
SEARCHED = f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin"  # where Debian has ip and chroot


class RehearsalError(CascadeError):
    """A rehearsal that cannot be held on this machine, or as asked."""


@dataclass(frozen=True)
class Sandbox:
    """`shown`: this machine's folders, read-only, by their place in the room. `working`: bytes that Kaggle keeps.

    `folder`: for the room's scratch, its records and what it leaves; emptied when a run begins. `library`: the
    standard library's folder of the room's Pythons, into which the audit hook is put; None leaves it to strace.
    """

    folder: Path
    shown: dict[str, Path]
    working: int
    library: Path | None


@dataclass(frozen=True)
class Sample:
    """One look at a run: Unix seconds, and bytes in the kept folder, in scratch, in its processes' memory."""

    time: float
    working: int
    scratch: int
    memory: int


@dataclass(frozen=True)
class Stay:
    """The outcome says how a run in the room went.

    `code` is None where it was ended: for taking too long or too much memory, or, where it has `failed`, after it had
    said so of a check or a stage.

    `full`: the kept folder's limit was reached; `largest`: the largest files there at the end. `working`: a copy of
    what it left there. `record`: the folder of what was seen. `output`: what it said.
    """

    code: int | None
    failed: bool
    start: float
    end: float
    full: bool
    largest: list[tuple[str, int]]
    samples: list[Sample]
    attempts: list[Attempt]
    working: Path
    record: Path
    output: str

    @property
    def memory(self) -> int:
        """The most bytes that its processes had together; pages they share count for each."""
        return max((sample.memory for sample in self.samples), default=0)

    def disk(self, moment: float) -> tuple[int, int]:
        """Bytes in the kept folder and in scratch at the last look before a moment, or the first."""
        before = [sample for sample in self.samples if sample.time <= moment] or self.samples[:1]
        return (before[-1].working, before[-1].scratch) if before else (0, 0)


def check_host() -> bool:
    """RehearsalError where this machine cannot make a room; else whether strace works on it."""
    missing = [name for name in PROGRAMS if shutil.which(name, path=SEARCHED) is None]
    if sys.platform != "linux" or missing:
        what = f"{missing[0]} is not installed" if missing else "this is not Linux"
        raise RehearsalError(
            f"{what}, and a rehearsal requires Linux with util-linux, iproute2 and coreutils", mend="install them"
        )
    command = [*UNSHARE, "mount", "-t", "proc", "proc", "/proc"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise RehearsalError(
            f"this host forbids user namespaces ({said})",
            mend="allow them (sysctl kernel.unprivileged_userns_clone=1; on Ubuntu "
            "kernel.apparmor_restrict_unprivileged_userns=0; in Docker --security-opt seccomp=unconfined "
            "--security-opt systempaths=unconfined), or rehearse on another Linux machine",
        )
    return _has_strace()


def _has_strace() -> bool:
    """Whether it is installed, knows what it is asked for, and may trace."""
    try:
        return subprocess.run([*strace_log.COMMAND, "--output=/dev/null", "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


def stay(
    room: Sandbox,
    command: list[str],
    variables: dict[str, str],
    limit: float,
    said: Callable[[str], None] = lambda _: None,
) -> Stay:
    """Runs a command in the room, at most `limit` seconds. Its processes end with it, and with this one.

    `said` is told the last line that it printed, about once a second.
    """
    shutil.rmtree(room.folder, ignore_errors=True)
    folder = room.folder.resolve()
    for name in ("root", "scratch", "record"):
        (folder / name).mkdir(parents=True)
    asked = {
        "working": room.working, "command": command, "variables": variables, "limit": limit,
        "shown": {place: str(source) for place, source in (_system() | room.shown).items()},
        "tracer": [*strace_log.COMMAND, f"--output={folder / 'record' / 'trace'}"] if room.library is None else [],
        "laid": {} if room.library is None else {str(room.library): str(audit_log.make(folder / "hook"))},
        "cores": CORES, "memory": MEMORY,
    }  # fmt: skip
    _supervise(folder, asked, said)
    told = json.loads((folder / "record" / "result.json").read_text(encoding="utf-8"))
    told["samples"] = [Sample(*sample) for sample in told["samples"]]
    record, root = folder / "record", str(folder / "root")
    attempts = strace_log.read(record / "trace", root) if room.library is None else audit_log.read(record)
    output = (record / "output").read_text(encoding="utf-8", errors="replace")
    shutil.rmtree(folder / "scratch")
    return Stay(**told, attempts=attempts, working=folder / "working", record=record, output=output)


def _system() -> dict[str, Path]:
    return {place: Path(place) for place in SYSTEM if Path(place).is_dir()}


def _supervise(folder: Path, asked: dict[str, Any], said: Callable[[str], None]) -> None:
    """Runs `inside` to its end. It is the first process of the room: when it ends, Linux ends all the others."""
    record = folder / "record"
    (record / "asked.json").write_text(json.dumps(asked), encoding="utf-8")
    command = [*UNSHARE, sys.executable, "-m", "packer.rehearsal.sandbox_init", str(record)]
    variables = os.environ | {"PYTHONPATH": str(PROJECT), "PATH": SEARCHED}
    pipe = subprocess.PIPE  # by whose end the room knows that this process is gone
    process = subprocess.Popen(command, env=variables, stdin=pipe, stderr=pipe, text=True)
    try:
        while process.poll() is None:
            try:
                process.wait(STEP)
            except subprocess.TimeoutExpired:
                said(_last_line(record / "output"))
    finally:
        process.kill()
        errors = process.communicate()[1]
    if process.returncode != 0:
        lines = errors.strip().splitlines() or [f"exit code {process.returncode}"]
        raise RehearsalError(
            f"the sandbox cannot be created there ({lines[-1]})", path=folder, mend="use a local disk with free space"
        )


def _last_line(path: Path) -> str:
    if not path.is_file():
        return ""
    with path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - 2000))
        lines = file.read().decode("utf-8", "replace").strip().splitlines()
    return lines[-1] if lines else ""
