"""What the conductor prints while it goes: a line a stage, how far the one at work is, how submission.csv stands."""

from __future__ import annotations

import contextlib
import logging
import re
import shutil
import sys
from dataclasses import dataclass, field
from pathlib import Path

from cascade.base.errors import TableError
from cascade.rankings import metrics
from cascade.stages import reading
from cascade.stages.context import RunContext

LOG = logging.getLogger("cascade")
WIDTH = 80  # columns, and at most: where the terminal is narrower, its width
BAR = 20  # columns
EVERY = 60.0  # seconds between two lines of a stage's progress where no terminal overwrites them
TAIL = 4000  # bytes of a log in which its last count is looked for
# What a stage's log says of how far it is: our own count of queries, or tqdm's of an encoder's texts.
OF_QUERIES = re.compile(r"(\d+) of (\d+) queries(?:.*?, (\d+) s left)?")
OF_TEXTS = re.compile(r"\| (\d+)/(\d+) \[[^\]<]*<(?:(\d+):)?(\d\d):(\d\d)")


def log_to(path: Path) -> None:
    """Keeps the tracebacks of what is caught in `path`; a log that cannot be written costs nothing."""
    logging.raiseExceptions = False
    for handler in LOG.handlers[:]:
        LOG.removeHandler(handler)
        handler.close()
    handler = logging.FileHandler(path, encoding="utf-8")
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    LOG.addHandler(handler)
    LOG.propagate = False


@dataclass
class Printer:
    """Prints the stages' lines: on a terminal one bar that is written over, elsewhere a line a minute."""

    terminal: bool = field(default_factory=lambda: sys.stdout.isatty())
    _shown: float = 0.0
    _map: float | None = None

    def say(
        self, name: str, seconds: float, score: str = "", failure: str | None = None, peak_memory_mb: float = 0.0
    ) -> None:
        """The line of a stage that has ended."""
        mark, state = (
            ("✗", f"FAILED: {failure}") if failure else ("✓", f"{peak_memory_mb:.0f} MB" if peak_memory_mb else "")
        )
        if self.terminal:
            print("\r\x1b[K", end="")  # over the progress line
        print("  ".join(filter(None, [f"{mark} {name:<20} {seconds:6.1f} s", state, score])), flush=True)
        self._shown = 0.0

    def progress(self, name: str, seconds: float, log: Path) -> None:
        """How far a stage is, by the counts in its log."""
        if self.terminal:
            columns = min(WIDTH, shutil.get_terminal_size().columns - 1)
            print(f"\r\x1b[K{bar(name, seconds, log)[:columns]}", end="", flush=True)
        elif seconds >= self._shown + EVERY:
            self._shown = seconds
            print(bar(name, seconds, log), flush=True)

    def score(self, context: RunContext, table: Path | None = None) -> str:
        """A stage's own MAP by its `table`, and the submission's with what has changed; "" without labels."""
        labels = context.task.truth
        if labels is None:
            return ""
        own = ""
        if table is not None and table.is_file():
            with contextlib.suppress(TableError):  # spoiled, which is said elsewhere
                ranking = reading.table_at(context, table)
                reached = labels[labels["query_id"].isin(ranking["query_id"])]
                of = f" on {len(reached)} of {len(labels)} queries" if len(reached) < len(labels) else ""
                found = metrics.report(ranking, reached, set(), context.task.depth)
                own = f"own {found['map']:.4f}{of}; "
        try:
            submitted = reading.submitted(context)
        except TableError as error:
            return str(error)
        found = metrics.report(submitted, labels, context.task.seen, context.task.depth)
        change = "" if self._map is None else f" {found['map'] - self._map:+.4f}"
        self._map = found["map"]
        shares = [("seen", found["map_seen"]), ("unseen", found["map_unseen"])]
        parts = ", ".join(f"{name} {value:.4f}" for name, value in shares if value == value)  # nan: there are none
        return f"MAP@{context.task.depth}: {own}submission {found['map']:.4f}{change} ({parts})"


def bar(name: str, seconds: float, log: Path) -> str:
    """One line of how far a stage is: a bar, counts and the time left where its log tells them."""
    start = f"▶ {name:<20.20} {seconds:5.0f} s"
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - TAIL))
            text = file.read().decode(errors="replace")
    except OSError:
        return start
    if counts := list(OF_QUERIES.finditer(text)):
        done, total, left = (int(part or 0) for part in counts[-1].groups())
        unit, known = "queries", counts[-1][3] is not None
    elif counts := list(OF_TEXTS.finditer(text)):
        done, total, hours, minutes, rest = (int(part or 0) for part in counts[-1].groups())
        unit, known, left = "texts", True, 3600 * hours + 60 * minutes + rest
    else:
        return start
    filled = BAR * done // max(1, total)
    drawn = f"{'█' * filled}{'░' * (BAR - filled)}"
    return f"{start} {drawn} {done}/{total} {unit}{f', {left} s left' if known else ''}"
