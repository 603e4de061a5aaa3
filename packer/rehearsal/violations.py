"""What a rehearsed process tried that it must not: a connection, a write outside, a read of what is not in the room."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import PurePosixPath

WORKING, SCRATCH, INPUT = "/kaggle/working", "/tmp", "/kaggle/input"
LOG = "/run/rehearsal"  # where the audit hook writes
WRITABLE = (WORKING, SCRATCH, LOG, "/dev", "/proc")
MACHINE = ("/proc", "/sys", "/dev", "/run", "/var/run")  # what Linux and its services show: files of no one's
DNS = 53  # port
SHOWN = 12  # attempts
NOTEBOOK = ".ipynb"


@dataclass(frozen=True)
class Attempt:
    """`kind`: network, write or read; `target`: an address or a path; `who`: the process, and the notebook it ran."""

    kind: str
    target: str
    who: str

    def __str__(self) -> str:
        said = {
            "network": "a connection, and the kernel has no network",
            "write": f"a write outside {WORKING} and {SCRATCH}",
            "read": "a read of a file that is neither in the image nor in a dataset, but on this machine",
        }[self.kind]
        return f"{self.kind}: {self.who} tried {self.target}: {said}"


@dataclass
class Processes:
    """Who is who: each process's parent and its arguments, as far as they were seen."""

    parents: dict[int, int] = field(default_factory=dict)
    arguments: dict[int, list[str]] = field(default_factory=dict)

    def name(self, process: int) -> str:
        """`python -m ipykernel_launcher (rerank-ce.ipynb)`: its own words, or its ancestor's that has some."""
        chain = list(self._chain(process))
        words = next((self.arguments[each] for each in chain if each in self.arguments), [f"process {process}"])
        notebook = next(filter(None, (_notebook(self.arguments.get(each, [])) for each in chain)), None)
        shown = [PurePosixPath(words[0]).name, *(" ".join(word.split()) for word in words[1:3])]
        return " ".join(word if len(word) < 60 else f"{word[:57]}…" for word in shown) + (
            f" ({notebook})" if notebook else ""
        )

    def _chain(self, process: int) -> Iterable[int]:
        seen: set[int] = set()
        while process and process not in seen:
            seen.add(process)
            yield process
            process = self.parents.get(process, 0)


def _notebook(arguments: list[str]) -> str | None:
    """The one that papermill writes, which is called after the stage."""
    named = [PurePosixPath(word).name for word in arguments if word.endswith(NOTEBOOK)]
    return named[-1] if named else None


def below(path: str, folders: Iterable[str]) -> bool:
    return any(path == folder or path.startswith(f"{folder}/") for folder in folders)


def is_stray_write(path: str) -> bool:
    """Python's own caches are left out: where it cannot write them it goes on without a word."""
    return not below(path, WRITABLE) and "/__pycache__" not in path


def is_stray_read(path: str) -> bool:
    """Tells whether a path that is absent in the room is there on this machine, so that it works only here."""
    return not below(path, MACHINE) and os.path.lexists(path)


def is_loopback(address: str) -> bool:
    return address in ("::1", "localhost", "0.0.0.0", "::") or address.removeprefix("::ffff:").startswith("127.")


def summary(attempts: Iterable[Attempt]) -> list[str]:
    """A line each, the network's first, and not too many; the same one made again is counted."""
    order = ("network", "write", "read")
    counted = sorted(Counter(attempts).items(), key=lambda item: order.index(item[0].kind))
    lines = [f"{attempt}" + (f" ({times} times)" if times > 1 else "") for attempt, times in counted]
    return [*lines[:SHOWN], *([f"and {len(lines) - SHOWN} more such attempts"] if len(lines) > SHOWN else [])]
