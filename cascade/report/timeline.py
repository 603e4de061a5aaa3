"""A run's ledger on one time axis: the last attempt of each stage, long pauses between stages cut out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.base import ledger

Entry = dict[str, Any]


@dataclass(frozen=True)
class Timeline:
    """attempts: the entries of each stage's last attempt, in the order in which they began; spans: its start and end.

    cuts: the moment at which each long pause ended, and how many seconds of it are cut out. Moments are Unix seconds.
    """

    attempts: dict[str, list[Entry]]
    spans: list[tuple[float, float]]
    cuts: list[tuple[float, float]]

    def place(self, moment: float) -> float:
        """Seconds on the axis, which begins with the first stage."""
        origin = min(start for start, _ in self.spans)
        return float(moment - origin - sum(length for end, length in self.cuts if end <= moment))

    @property
    def longest(self) -> float:
        """Where on the axis the last stage ends."""
        return max(0.001, *(self.place(end) for _, end in self.spans))


def failure(entries: list[Entry]) -> str | None:
    """Why the stage of these entries failed; None where it did not, or the conductor did not run it."""
    status = next((str(e["status"]) for e in entries if e["phase"] == ledger.STAGE and "status" in e), ledger.OK)
    return None if status == ledger.OK else status


def phases(entries: list[Entry]) -> list[Entry]:
    """What a stage did one after the other; the budget's decisions are moments, and none of it."""
    return sorted((e for e in entries if e["phase"] not in (ledger.STAGE, ledger.BUDGET)), key=lambda e: e["start"])


def cuts(entries: list[Entry]) -> list[Entry]:
    """The budget's decisions on a stage, in their order."""
    return [e for e in entries if e["phase"] == ledger.BUDGET and e.get("decision")]


def losses(run: Path) -> list[str]:
    """Every model process that died on the way, its stage before it; the work may have gone on without it."""
    return [
        f"{stage}: {loss}"
        for stage, entries in read(run).attempts.items() for entry in entries
        for part in (entry, *entry.get("embedded", [])) for loss in part.get("losses", [])
    ]  # fmt: skip


def warnings(run: Path) -> list[str]:
    """What is to be known of stages that succeeded, the stage before it."""
    return [
        f"{stage}: {warning}"
        for stage, entries in read(run).attempts.items()
        for entry in entries
        for warning in entry.get("warnings", [])
    ]


def read(run: Path) -> Timeline:
    attempts = _last_attempts(ledger.read(run))
    spans = [(min(e["start"] for e in entries), max(e["end"] for e in entries)) for entries in attempts.values()]
    return Timeline(attempts, spans, _pauses(spans))


def _last_attempts(entries: list[Entry]) -> dict[str, list[Entry]]:
    """The entries of each stage's last run, by stage, in the order in which they began.

    A run ends with its stage entry or, where a notebook ran alone, when a phase comes again that comes once.
    """
    attempts: dict[str, list[Entry]] = {}
    for entry in entries:
        earlier = attempts.get(entry["stage"], [])
        again = {ledger.STAGE, entry["phase"]} - {ledger.BUDGET}
        if any(e["phase"] in again for e in earlier):
            earlier = []
        if entry["phase"] == ledger.STAGE:
            earlier = [e for e in earlier if e["start"] >= entry["start"]]
        attempts[entry["stage"]] = [*earlier, entry]
    return dict(sorted(attempts.items(), key=lambda item: min(e["start"] for e in item[1])))


def _pauses(spans: list[tuple[float, float]]) -> list[tuple[float, float]]:
    """(end, seconds to cut) of the times without any stage that are longer than a minute and than half the work."""
    worked = sum(end - start for start, end in spans)
    pauses: list[tuple[float, float]] = []
    reached = min((start for start, _ in spans), default=0.0)
    for start, end in sorted(spans):
        if start - reached > max(60.0, worked / 2):
            pauses.append((start, start - reached - 0.05 * worked))
        reached = max(reached, end)
    return pauses
