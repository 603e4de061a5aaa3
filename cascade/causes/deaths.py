"""The deaths of workers, each a line at the end of what the worker printed, written by the pool that lost it."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from cascade.base import clock
from cascade.causes import lines
from cascade.causes.crash import Chain, Crash, killed
from cascade.causes.tracebacks import Log

DIED = re.compile(r"# the process on (\S{1,200}) died at (\d+\.\d+) \((.*)\)$")
SIGNAL = re.compile(r"exit code -(\d+)$")


@dataclass(frozen=True)
class Death:
    """One worker's: `place`, the devices it had; `moment`, in Unix seconds; `chain`, what its log or its end tells."""

    place: str
    moment: float
    chain: Chain


def write(log: Path, place: str, why: str) -> None:
    """Ends what a worker printed into `log` with the line of its death; a disk that is full costs the line alone."""
    with contextlib.suppress(OSError), log.open("a", encoding="utf-8") as file:
        file.write(f"\n# the process on {place} died at {clock.now():.3f} ({' '.join(why.split())})\n")


def read(logs: Mapping[Path, int]) -> Iterator[Death]:
    """Every death in these logs, each from a byte on."""
    for path, start in logs.items():
        with contextlib.suppress(OSError), path.open("rb") as file:
            file.seek(start)
            log = Log()
            for line in lines.of_file(file):
                if found := DIED.match(line.text):
                    yield Death(found[1], float(found[2]), log.root or _ended(found[3]))
                    log = Log()
                else:
                    log.feed(line)


def _ended(why: str) -> Chain:
    """What is known of a process that printed no exception."""
    found = SIGNAL.match(why)
    return Chain([killed("", int(found[1])) if found else Crash("", f"a model process died ({why})")])
