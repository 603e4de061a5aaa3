"""The ledger: one JSON line for each stage and each phase of it, from which times are drawn and planned."""

from __future__ import annotations

import json
import resource
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cascade.base import atomic, clock

FILE = "ledger.jsonl"
OK = "ok"  # the status of a stage that succeeded
STAGE = "stage"  # the phase that stands for a stage as a whole, written by the conductor
BUDGET = "budget"  # the phase of a decision on a stage's time; a stage may have many


def record(run: Path, stage: str, phase: str, start: float, end: float, **facts: Any) -> None:
    """Appends one line: `stage`, `phase`, `start` and `end` (Unix seconds), and any of the fields below.

    queries, passages, prompts, tokens, cached_tokens, written_tokens, peak_memory_mb, peak_gpu_memory_mb, status,
    decision; `mend`: what to do about a failure; `chunks` of a reranker, `embedded` and `trained` of a retrieval: what
    each part took; `selected` of a select; `given`, `expected` and `later` of the budget: seconds for the stage, of
    it, and of those after it; `losses`: model processes that died, in a sentence each; `option_share` of an LLM's
    options: what share of its probability they hold, over the prompts; `canaries`: how far each model that was loaded
    is from its own; `warnings`: what is to be known of a stage that succeeded; `free_disk_gb` after a stage, by folder.
    """
    line = {"stage": stage, "phase": phase, "start": round(start, 3), "end": round(end, 3), **facts}
    try:
        with (run / FILE).open("a", encoding="utf-8") as file:  # one short write: lines of processes do not mix
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
    except OSError as error:  # a full disk may cost the ledger, never the run
        print(f"a line could not be added to the ledger: {error}")


@contextmanager
def phase(run: Path, stage: str, name: str, **facts: Any) -> Iterator[dict[str, Any]]:
    """Times a phase; what the body adds to the yielded dict is recorded too, also when it raises."""
    start = clock.now()
    try:
        yield facts
    finally:
        record(run, stage, name, start, clock.now(), peak_memory_mb=own_peak_memory_mb(), **facts)


def own_peak_memory_mb() -> float:
    """This process's largest resident set so far, in MB of 10^6 bytes (ru_maxrss is in KiB, on macOS in bytes)."""
    unit = 1 if sys.platform == "darwin" else 1024
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def read(run: Path) -> list[dict[str, Any]]:
    """Reads all whole lines; a line cut by a kill or a full disk, even within a character, is left out."""
    path = run / FILE
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines() if path.is_file() else []
    entries = []
    for line in lines:
        try:
            entries.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return entries


def forget(run: Path, stage: str) -> None:
    """Takes a stage's lines out: what it took when it was another one tells nothing of what it will."""
    kept = [
        json.dumps(entry, ensure_ascii=False)
        for entry in read(run)
        if not isinstance(entry, dict) or entry.get("stage") != stage
    ]
    try:
        atomic.write_text(run / FILE, "".join(f"{line}\n" for line in kept))
    except OSError as error:
        print(f"the ledger still contains lines of an earlier {stage}: {error}")
