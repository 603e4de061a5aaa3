"""Why a process failed, in one line: from its log, the logs of its workers, and the causes that are known."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from cascade.base import errors
from cascade.base.printable import printable
from cascade.causes import deaths, lines
from cascade.causes.crash import Chain, Crash
from cascade.causes.known import KNOWN, Known
from cascade.causes.lines import Line
from cascade.causes.tracebacks import Log

WHAT = 110  # characters of what it was: with the place and the fix the line has at most about 200
OWN = 500  # the same of a sentence of this project's, whose paths are what a person looks for
ERROR = 500  # characters of the exception that files are told
PLACE = 50  # characters of the place
# An exception whose message begins on its next line.
OPEN = re.compile(r"^$|(?:validation errors? for \S+|loading state_dict for \w+:)$")
OURS = {name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, errors.CascadeError)}
OURS |= {"InstallError"}  # the kernel's, whose module imports what this one does not need
FIX = "fix: "  # what stands before the fix in a line that a run prints
INSTALLED = re.compile(r".*/(?:site-packages|dist-packages|python3\.\d+)/")


@dataclass(frozen=True)
class Cause:
    """Why a process failed. `what`: in a few words; `mend`: what to do, or empty; `name`: a known cause's, or empty.

    `error`: the exception with its message; `where`: `file:line` of its innermost frame, and `process`: whose it was,
    each empty where it is not known. `of_others`: it tells of another process's end, whose exception is not there.
    """

    what: str
    error: str
    name: str = ""
    where: str = ""
    process: str = ""
    mend: str = ""
    of_others: bool = False

    @property
    def sentence(self) -> str:
        """What it was and where, without the fix."""
        place = ", ".join(filter(None, (self.process, self.where)))
        return f"{self.what} ({place})" if place else self.what


def root_cause(log: str) -> Cause | None:
    """The cause that a log tells; None where it tells of no error. Never raises, whatever the text."""
    return _cause(lines.of_text(log))


def root_cause_of(path: Path, start: int = 0) -> Cause | None:
    """The same of a file from the byte `start` on, in one pass; None too where it cannot be read."""
    try:
        with path.open("rb") as file:
            file.seek(start)
            return _cause(lines.of_file(file))
    except OSError:
        return None


def of_stage(log: Path, workers: Mapping[Path, int]) -> Cause | None:
    """A stage's: by its own log, else by the first of its workers that died.

    workers: their logs, each with the byte at which the stage began.
    """
    own = root_cause_of(log)
    if own is not None and not own.of_others:
        return own
    return of_workers(workers) or own


def of_workers(logs: Mapping[Path, int]) -> Cause | None:
    """By the first process that died, as the pool wrote it into its log; None where none did."""
    died = sorted(deaths.read(logs), key=lambda death: death.moment)
    causes = [_of(death.chain, death.place) for death in died]
    return next(iter([*(cause for cause in causes if not cause.of_others), *causes]), None)


def _cause(read: Iterable[Line]) -> Cause | None:
    chain = Log().read(read).root
    return None if chain is None else _of(chain)


def _of(chain: Chain, process: str = "") -> Cause:
    """The known cause that one of the exceptions has, the root first; else the root in its own words."""
    told = f"; {FIX}" in chain.root.message  # by a process that has looked into its own logs
    for crash in [] if told else [chain.root, *chain.crashes]:
        for known in KNOWN:
            if found := known.match(crash):
                return _known(crash, known, found, process)
    crash = chain.root
    message = crash.message
    if OPEN.search(message):
        message = " ".join([message, *crash.more[:1]]).strip()
    name = crash.kind.rpartition(".")[2]
    error = _line(f"{name}: {message}" if name and message else name or message, ERROR)
    process = process or crash.process
    if name in OURS or not name:  # a sentence that says where, what is wrong and, behind the last semicolon, what to do
        what, *mend = message.rsplit("; ", 1)
        return Cause(
            _line(what, OWN), error, "", _place(crash.where), process,
            _line("".join(mend).removeprefix(FIX), OWN), crash.of_others,
        )  # fmt: skip
    return Cause(_line(error, WHAT), error, "", _place(crash.where), process, "", crash.of_others)


def _known(crash: Crash, known: Known, found: re.Match[str], process: str) -> Cause:
    groups = {name: _line(text, PLACE) for name, text in known.words(found).items()}
    error = _line(f"{crash.kind.rpartition('.')[2]}: {crash.text.partition(': ')[2]}".removeprefix(": "), ERROR)
    return Cause(
        _line(known.what.format(**groups), WHAT), error, known.name, _place(crash.where), process or crash.process,
        known.mend.format(**groups), crash.of_others,
    )  # fmt: skip


def _line(text: str, longest: int) -> str:
    """One line of at most that many characters, harmless for a terminal."""
    whole = printable(" ".join(text.split()))
    return whole if len(whole) <= longest else f"{whole[: longest - 1].rstrip()}…"


def _place(where: str) -> str:
    """`file:line`, from the package's name on, or its last folders."""
    if "/" not in where:
        return _line(where, PLACE)
    short = INSTALLED.sub("", where)
    parts = short.split("/")
    if short == where and len(parts) > 3:
        parts = parts[-3:]
    if len("/".join(parts)) > PLACE:
        parts = [parts[0], "…", parts[-1]]
    return _line("/".join(parts), PLACE)
