"""What the conductor prints while it goes: a line a stage, the one that it is at, and how submission.csv stands."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import pandas as pd

from cascade import metrics, submission
from cascade.errors import TableError
from cascade.stages import Bench


def say(name: str, seconds: float, score: str, failure: str | None = None, peak_memory_mb: float = 0.0) -> None:
    """The line of a stage that has ended."""
    mark, state = (
        ("✗", f"FAILED: {failure}") if failure else ("✓", f"{peak_memory_mb:.0f} MB" if peak_memory_mb else "")
    )
    if sys.stdout.isatty():
        print("\r\x1b[K", end="")  # over the progress line
    print("  ".join(filter(None, [f"{mark} {name:<20} {seconds:6.1f} s", state, score])), flush=True)


def progress(name: str, seconds: float, log: Path) -> None:
    """One line that is written over: what the stage last said. Only where a person looks at a terminal."""
    if sys.stdout.isatty():
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 2000))
            said = file.read().decode(errors="replace").replace("\r", "\n").strip().splitlines()
        line = f"▶ {name:<20} {seconds:6.1f} s  {said[-1].strip() if said else ''}"
        print(f"\r\x1b[K{line[: shutil.get_terminal_size().columns - 1]}", end="", flush=True)


def score(bench: Bench) -> str:
    """MAP@25 of submission.csv as it stands, where labels are known."""
    labels = bench.competition.labels
    if labels is None:
        return ""
    try:
        rows = submission.read(bench.run / "submission.csv")
    except TableError as error:
        return str(error)
    table = pd.DataFrame(
        [(query, id_, rank) for query, ids in rows.items() for rank, id_ in enumerate(ids, start=1)],
        columns=["query_id", "misconception_id", "rank"],
    )
    row = metrics.report(table, labels, bench.competition.seen, depths=())
    return f"MAP@25 {row['map']:.4f} (seen {row['map_seen']:.4f}, unseen {row['map_unseen']:.4f})"
