"""Output streams that may fail, as where the disk is full or nobody reads any more: a line is lost, never the work."""

from __future__ import annotations

import contextlib
import io
import os
import sys


class Unfailing(io.TextIOWrapper):
    """A text stream on a file descriptor that drops what cannot be written, and never raises."""

    def __init__(self, descriptor: int, encoding: str | None) -> None:
        raw = io.FileIO(descriptor, "wb", closefd=False)
        super().__init__(raw, encoding=encoding, errors="backslashreplace", write_through=True)  # as python -u does

    def write(self, text: str, /) -> int:
        with contextlib.suppress(OSError, ValueError):
            super().write(text)
        return len(text)

    def flush(self) -> None:
        with contextlib.suppress(OSError, ValueError):
            super().flush()


def survive_output() -> None:
    """Makes this process's output streams such that no print can fail, closed ones included."""
    for descriptor in (0, 1, 2):
        try:
            os.fstat(descriptor)
        except OSError:  # else the next file that is opened takes its number, and the output with it
            os.open(os.devnull, os.O_RDWR)
    encoding = getattr(sys.stdout, "encoding", None)  # PYTHONIOENCODING has been read
    sys.stdout, sys.stderr = Unfailing(1, encoding), Unfailing(2, encoding)
