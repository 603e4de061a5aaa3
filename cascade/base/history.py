"""What a run's ledger tells of each stage: its last attempt, what it did one after the other, and why it failed."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.base import ledger
from cascade.base.errors import with_fix

Entry = dict[str, Any]


def seconds(entry: Entry) -> float:
    return float(entry["end"]) - float(entry["start"])


def entries(run: Path) -> list[Entry]:
    """The ledger's lines that are entries, in the order written."""
    return [entry for entry in ledger.read(run) if is_entry(entry)]


def is_entry(entry: Any) -> bool:
    return has_numbers(entry, "start", "end") and {"stage", "phase"} <= entry.keys()


def has_numbers(entry: Any, *keys: str) -> bool:
    return isinstance(entry, dict) and all(isinstance(entry.get(key), int | float) for key in keys)


@dataclass(frozen=True)
class Attempt:
    """One time that a stage ran, or has run so far: its entries in the order written. Moments are Unix seconds."""

    entries: list[Entry]

    @property
    def whole(self) -> Entry | None:
        """The conductor's entry of the stage; None where it has not ended, or its notebook ran alone."""
        return next((entry for entry in self.entries if entry["phase"] == ledger.STAGE), None)

    @property
    def start(self) -> float:
        return min(float(entry["start"]) for entry in self.entries)

    @property
    def end(self) -> float:
        return max(float(entry["end"]) for entry in self.entries)

    @property
    def failure(self) -> str | None:
        """Why the stage failed; None where it did not, or the conductor did not run it."""
        status = str((self.whole or {}).get("status", ledger.OK))
        return None if status == ledger.OK else status

    @property
    def told(self) -> str | None:
        """Why the stage failed and, where that is known, what to do; None where it did not fail."""
        return self.failure and with_fix(self.failure, (self.whole or {}).get("mend"))

    @property
    def phases(self) -> list[Entry]:
        """What the stage did one after the other; the budget's decisions are moments, and none of it."""
        did = (entry for entry in self.entries if entry["phase"] not in (ledger.STAGE, ledger.BUDGET))
        return sorted(did, key=lambda entry: float(entry["start"]))

    def phase(self, name: str) -> Entry:
        """The stage's phase of that name; empty where it had none."""
        return next((phase for phase in self.phases if phase["phase"] == name), {})

    @property
    def work(self) -> Entry:
        """The phase that counted the stage's queries; empty where none did."""
        return next((phase for phase in reversed(self.phases) if "queries" in phase), {})

    @property
    def cuts(self) -> list[Entry]:
        """The budget's decisions on the stage, in their order."""
        return [entry for entry in self.entries if entry["phase"] == ledger.BUDGET and entry.get("decision")]

    @property
    def peak_memory_mb(self) -> float | None:
        known = (entry.get("peak_memory_mb") for entry in self.entries)
        return max((peak for peak in known if peak is not None), default=None)

    @property
    def losses(self) -> list[str]:
        """Every model process that died on the way, in a sentence; the work may have gone on without it."""
        parts = (part for entry in self.entries for part in (entry, *entry.get("embedded", [])))
        return [loss for part in parts for loss in part.get("losses", [])]

    @property
    def warnings(self) -> list[str]:
        """What is to be known of a stage that succeeded."""
        return [warning for entry in self.entries for warning in entry.get("warnings", [])]


def read(run: Path) -> dict[str, Attempt]:
    """Each stage's last attempt, by stage, in the order in which they began.

    An attempt ends with its stage entry or, where a notebook ran alone, when a phase comes again that comes once.
    """
    attempts: dict[str, list[Entry]] = {}
    for entry in entries(run):
        earlier = attempts.get(entry["stage"], [])
        again = {ledger.STAGE, entry["phase"]} - {ledger.BUDGET}
        if any(e["phase"] in again for e in earlier):
            earlier = []
        if entry["phase"] == ledger.STAGE:
            earlier = [e for e in earlier if e["start"] >= entry["start"]]
        attempts[entry["stage"]] = [*earlier, entry]
    found = {stage: Attempt(own) for stage, own in attempts.items()}
    return dict(sorted(found.items(), key=lambda item: item[1].start))
