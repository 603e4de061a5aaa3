"""How fast each stage of a run was, how much memory it took, and what the whole test would take at that rate."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd

from cascade import ledger

FULL_TEST = 2055  # queries: about 685 questions of the hidden test with three wrong answers each
TOTAL = "all stages"


def table(run: Path, queries: int = FULL_TEST) -> pd.DataFrame:
    """One row a stage of the run's ledger and one for all, of seconds, counts, rates, memory and `predicted`.

    predicted: seconds for `queries`, on the plain assumption that the work grows in line with the queries and that the
    rest (start, loading) stays: fixed + work · (queries + passages) / (test's queries + passages). passages are texts
    embedded whatever the test. NaN for a stage that failed or did not run to its end, and so for all.
    """
    entries = ledger.read(run)
    wholes = {entry["stage"]: entry for entry in entries if entry["phase"] == ledger.STAGE}
    test = int(wholes.get("zero", {}).get("queries", 0))
    rows = {stage: _row(whole, _work(entries, whole), test, queries) for stage, whole in wholes.items()}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    if not frame.empty:
        frame.loc[TOTAL, ["seconds", "predicted"]] = frame[["seconds", "predicted"]].sum(skipna=False)
    return frame


def _work(entries: list[dict[str, Any]], whole: dict[str, Any]) -> dict[str, Any]:
    """The phase of a stage that counted its queries; nothing where none did."""
    phases = [
        entry for entry in entries
        if entry["stage"] == whole["stage"] and entry["phase"] != ledger.STAGE and entry["start"] >= whole["start"]
        and "queries" in entry
    ]  # fmt: skip
    return phases[-1] if phases else {}


def _row(whole: dict[str, Any], work: dict[str, Any], test: int, queries: int) -> dict[str, Any]:
    seconds = whole["end"] - whole["start"]
    worked = work["end"] - work["start"] if work else 0.0
    passages = work.get("passages", 0)
    grows = (queries + passages) / (test + passages) if test else float("nan")
    tokens = work.get("tokens", 0) if worked else 0
    known = whole["status"] == ledger.OK and test
    return {
        "seconds": round(seconds, 1),
        "queries": work.get("queries"),
        "prompts": work.get("prompts"),
        "tokens a second": round(tokens / worked) if tokens else None,
        "memory (GB)": round(whole["peak_memory_mb"] / 1000, 1) if "peak_memory_mb" in whole else None,
        "of a GPU (GiB)": round(whole["peak_gpu_memory_mb"] / 1024, 1) if "peak_gpu_memory_mb" in whole else None,
        "fixed (s)": round(seconds - worked, 1),
        "predicted": round(seconds - worked + worked * grows) if known else float("nan"),
    }
