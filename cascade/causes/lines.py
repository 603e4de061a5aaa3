"""The lines of a log, of any size and any bytes, each with the process that printed it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import BinaryIO, NamedTuple

from cascade.base.printable import COLOUR

LONGEST = 4000  # characters of a line that are looked at: a message that is longer says no more
PIECE = 1 << 16  # bytes that are read at a time, where a line has no end
# What vLLM, and torch's ranks, write before a line. Each part is at a fixed place, so that no search goes back.
PREFIX = re.compile(
    r"(?:\((?P<process>[A-Za-z]\w{0,60})(?: rank=\d{1,4})? pid=\d{1,10}[^()]{0,80}\) ?|\[(?P<rank>rank\d{1,4})\]: ?)*"
    r"(?:(?P<level>[A-Z]{4,8}) \d\d-\d\d \d\d:\d\d:\d\d \[?(?P<file>[\w/.]{1,100}):\d{1,6}\] ?)?"
)
QUIET = ("DEBUG", "INFO", "WARNING")  # what is said at these levels has ended nothing
# Before a process's name was part of each line, the file that printed it told which one it was.
SPEAKERS = {"core.py": "EngineCore", "multiproc_executor.py": "Worker", "multiproc_worker_utils.py": "Worker"}


class Line(NamedTuple):
    """`stream`: whose lines it continues; `process`: its name, empty for the log's own; `tagged`: of a logger."""

    stream: str
    process: str
    tagged: bool
    quiet: bool
    text: str


def of_text(text: str) -> Iterator[Line]:
    """The lines of a log that is at hand as text."""
    return parsed(text.split("\n"))


def of_file(file: BinaryIO) -> Iterator[Line]:
    """The lines of an open log from where it stands; it may be cut anywhere, and be no text."""
    return parsed(_decoded(file))


def _decoded(file: BinaryIO) -> Iterator[str]:
    whole = b""
    while piece := file.readline(PIECE):
        if len(whole) < PIECE:  # what comes after is passed over: a bar that redraws itself has no line's end
            whole += piece
        if piece.endswith(b"\n"):
            yield whole.decode(errors="replace")
            whole = b""
    if whole:
        yield whole.decode(errors="replace")


def parsed(texts: Iterable[str]) -> Iterator[Line]:
    """Each text, a line, without its prefix, colours and what it has overwritten."""
    for text in texts:
        plain = COLOUR.sub("", text) if "\x1b" in text else text
        plain = plain.rstrip().rpartition("\r")[2][:LONGEST]
        found = PREFIX.match(plain)
        assert found is not None  # it may be empty
        speaker = found["process"] or found["rank"] or ""
        file = (found["file"] or "").rpartition("/")[2]
        yield Line(
            f"{speaker} {file}",
            speaker or SPEAKERS.get(file, ""),
            bool(file),
            found["level"] in QUIET,
            plain[found.end() :],
        )
