"""Where things stand in the page's two pictures, as the template draws them: the times, and the labels' moves."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cascade.base.history import Attempt, Entry
from cascade.rankings import metrics
from cascade.report import timeline
from cascade.report.timeline import Timeline

STEPS = (0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400)  # seconds between ticks
TICKS = 8  # at most
FAR = 1.6  # a deadline this many times later than the last stage's end is told, not drawn
EDGES = (1, 2, 5, 10, 25, 50, 100)
LOW, HIGH, ABSENT = 4.0, 84.0, 95.0  # of a square of side 100: the first rank, the last one, and the band of the absent


def times(run: Path, deadline: float | None) -> dict[str, Any] | None:
    """The time picture; lengths are percentages of its width. None where the ledger has no entries.

    rows: a stage each, with its phases and marks; notes: (stage, sentence) of all that was decided or failed.
    """
    line = timeline.read(run)
    if not line.attempts:
        return None
    end = line.longest
    late = None if deadline is None else line.place(deadline)
    if late is not None and end < late <= FAR * end:
        end = late
    rows = [_row(line, name, attempt, end) for name, attempt in line.attempts.items()]
    step = next((step for step in STEPS if end / step <= TICKS), STEPS[-1])
    return {
        "rows": rows,
        "ticks": [(_share(at, end), duration(at)) for at in np.arange(0, end + step / 100, step).tolist()],
        "pauses": [(_share(line.place(moment), end), f"{duration(length)} pause") for moment, length in line.cuts],
        "deadline": None if late is None else {"left": _share(late, end), "drawn": 0 <= late <= end, "text": duration(
            abs(late - line.longest)) + (" after" if late >= line.longest else " before") + " the last stage ended"},
        "notes": [(name, text) for name, attempt in line.attempts.items() for text in _notes(attempt)],
    }  # fmt: skip


def _row(line: Timeline, name: str, attempt: Attempt, end: float) -> dict[str, Any]:
    left, memory = _share(line.place(attempt.start), end), attempt.peak_memory_mb
    return {
        "name": name,
        "left": left,
        "width": _share(line.place(attempt.end), end) - left,
        "failure": attempt.failure,
        "facts": duration(attempt.end - attempt.start) + ("" if memory is None else f", {memory / 1000:.1f} GB"),
        "phases": [
            {"name": e["phase"], "left": _share(line.place(e["start"]), end),
             "width": _share(e["end"] - e["start"], end), "title": _title(e)}
            for e in attempt.phases
        ],
        "marks": [(_share(line.place(e["end"]), end), e["decision"]) for e in attempt.entries if e.get("decision")],
    }  # fmt: skip


def _notes(attempt: Attempt) -> list[str]:
    decisions = [str(e["decision"]) for e in attempt.entries if e.get("decision")]
    return [*decisions, *([f"failed: {attempt.told}"] if attempt.failure else [])]


def _title(entry: Entry) -> str:
    """What a phase counted, in one line."""
    told = ("stage", "phase", "start", "end", "decision", "status", "peak_memory_mb", "peak_gpu_memory_mb")
    counts = [f"{value:,} {name.replace('_', ' ')}" for name, value in entry.items()
              if name not in told and isinstance(value, int | float)]  # fmt: skip
    return ", ".join([f"{entry['phase']} {duration(entry['end'] - entry['start'])}", *counts])


def _share(seconds: float, whole: float) -> float:
    return round(min(100.0, max(0.0, 100 * seconds / whole)), 3)


def duration(seconds: float) -> str:
    """`0.3 s`, `42 s`, `3 min 20 s`, `2 h 5 min`."""
    if seconds < 10 and round(seconds, 1) != round(seconds):
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    large, small, names = (*divmod(whole, 60), ("min", "s")) if whole < 3600 else (
        *divmod(round(whole / 60), 60), ("h", "min"))  # fmt: skip
    return f"{large} {names[0]}" + (f" {small} {names[1]}" if small else "")


def moves(
    before: pd.DataFrame, after: pd.DataFrame, labels: pd.DataFrame, seen: set[int], depth: int
) -> dict[str, Any]:
    """The labels' ranks in two rankings, as dots in a square of side 100; x before, y after, the first rank top left.

    dots: x, y, radius, seen and a title for each pair of ranks; ticks: (place, name); counts: better, same, worse.
    """
    was, now = (metrics.ranks_of_labels(table, labels).to_numpy() for table in (before, after))
    longest = max(2.0, float(np.nanmax([*was, *now, 2.0])))

    def place(rank: float) -> float:
        return ABSENT if math.isnan(rank) else round(LOW + (HIGH - LOW) * math.log(rank) / math.log(longest), 2)

    pairs = pd.DataFrame({"was": was, "now": now, "seen": labels["label_id"].isin(seen)})
    groups = Counter(zip(was.tolist(), now.tolist(), pairs["seen"].tolist(), strict=True))
    scale = min(1.0, math.sqrt(300 / max(len(pairs), 1)))
    filled = pairs[["was", "now"]].fillna(np.inf)
    better, worse = int((filled["now"] < filled["was"]).sum()), int((filled["now"] > filled["was"]).sum())
    return {
        "dots": [
            {"x": place(old), "y": place(new), "r": round(0.9 * math.sqrt(count) * scale, 2), "seen": is_seen,
             "title": f"{_rank(old)} → {_rank(new)}: {count} {'seen' if is_seen else 'unseen'}"}
            for (old, new, is_seen), count in groups.items()
        ],
        "ticks": [*((place(edge), str(edge)) for edge in EDGES if edge <= longest), (ABSENT, "absent")],
        "counts": (better, len(pairs) - better - worse, worse),
        "map": (metrics.map_at(pd.Series(was), depth), metrics.map_at(pd.Series(now), depth)),
    }  # fmt: skip


def _rank(rank: float) -> str:
    return "absent" if math.isnan(rank) else f"{rank:.0f}"
