"""Ledgers of earlier runs, checked before a rate is read from them."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascade.base import folder, history, ledger
from cascade.base.errors import PlanError
from cascade.base.history import Entry, has_numbers, seconds

TOLERANCE = 1.0  # seconds by which entries may overlap: a clock that is set right now and then
OUTLIER = 10.0  # times the median seconds a query: no chunk takes so long, but a clock that jumped makes it seem to


@dataclass(frozen=True)
class StageRun:
    """One time that a stage ran: its own entry, None where the ledger was cut before it, and its phases' by name."""

    whole: Entry | None
    phases: Mapping[str, Entry]

    @property
    def beside(self) -> float | None:
        """Seconds of the stage that no phase accounts for: its notebook's start, reading, pictures."""
        if self.whole is None or self.whole.get("status") != "ok":
            return None
        return max(0.0, seconds(self.whole) - sum(map(seconds, self.phases.values())))


@dataclass
class Runs:
    """The runs of all stages of some ledgers, by name; `said`: what was left out, and why."""

    stages: dict[str, list[StageRun]] = field(default_factory=dict)
    said: list[str] = field(default_factory=list)


def read(paths: list[Path], identity: Mapping[str, str]) -> Runs:
    """The stage runs of several ledgers of the run that `identity` stands for; PlanError for any other's."""
    runs = Runs()
    for path in paths:
        _check(path, identity)
        entries = _entries(path, runs)
        wholes = [entry for entry in entries if entry["phase"] == ledger.STAGE]
        doubtful = _overlapping(wholes)
        for stage in dict.fromkeys(entry["stage"] for entry in entries):
            if stage not in doubtful:
                found = _runs_of(stage, entries)
                if found is not None:
                    runs.stages.setdefault(stage, []).extend(found)
                    continue
            runs.said.append(f"{path}: {stage} is left out: its times contradict each other, as the clock was changed")
    if not runs.stages:
        raise PlanError(
            "no stage is complete, so there is nothing to calibrate from",
            path=", ".join(map(str, paths)),
            mend="let a run finish",
        )
    return runs


def _check(path: Path, identity: Mapping[str, str]) -> None:
    if path.name != ledger.FILE or not path.is_file():
        raise PlanError("no such ledger", path=path, mend=f"pass the {ledger.FILE} of a run's folder")
    beside = path.parent / folder.FILE
    record = folder.read(path.parent)
    if record is None:
        raise PlanError(
            "is not the record of a run, and without one nothing says which run the ledger belongs to",
            path=beside,
            mend=f"pass the {ledger.FILE} in the run's own folder",
        )
    found = record["identity"]
    if found.get("config") != identity["config"]:
        raise PlanError(
            "comes from a run with another config",
            path=path,
            mend="pass that config, with its engine, to calibrate from it",
        )
    changed = [name for name in {**found, **identity} if found.get(name) != identity.get(name)]
    if changed:
        raise PlanError(
            f"comes from a run on another {changed[0]}",
            path=path,
            mend="pass that run's data folder to calibrate from it",
        )


def _entries(path: Path, runs: Runs) -> list[Entry]:
    """The whole entries, in the order written; cut lines and entries that end before they start are said."""
    entries = ledger.read(path.parent)
    cut = sum(bool(line.strip()) for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    cut -= len(entries)
    if cut:
        runs.said.append(f"{path}: {cut} lines are cut off; the whole ones are used")
    good = [entry for entry in entries if history.is_entry(entry) and _is_sound(entry)]
    if len(good) < len(entries):
        runs.said.append(f"{path}: {len(entries) - len(good)} entries are invalid or end before they start; ignored")
    return good


def _is_sound(entry: Entry) -> bool:
    chunks, embedded, trained = (entry.get(part, []) for part in ("chunks", "embedded", "trained"))
    return (
        _is_timed(entry)
        and isinstance(chunks, list)
        and all(_is_timed(chunk) and has_numbers(chunk, "queries") for chunk in chunks)
        and isinstance(embedded, list)
        and all(has_numbers(part, "texts", "load", "seconds") for part in embedded)
        and isinstance(trained, list)
        and all(has_numbers(part, "rows", "seconds") for part in trained)
    )


def _is_timed(entry: Any) -> bool:
    return has_numbers(entry, "start", "end") and bool(entry["end"] >= entry["start"])


def _overlapping(wholes: list[Entry]) -> set[str]:
    """Stages that seem to run at the same time as another, which the conductor never does."""
    found: set[str] = set()
    for one, next_ in itertools.pairwise(wholes):
        if next_["start"] < one["end"] - TOLERANCE:
            found |= {one["stage"], next_["stage"]}
    return found


def _runs_of(stage: str, entries: list[Entry]) -> list[StageRun] | None:
    """The times that a stage ran; None where a phase, or a chunk of it, lies outside of all of them."""
    own = [entry for entry in entries if entry["stage"] == stage]
    wholes = [entry for entry in own if entry["phase"] == ledger.STAGE]
    phases = [entry for entry in own if entry["phase"] != ledger.STAGE]
    if not wholes:  # cut off before the stage's end was written
        return [StageRun(None, {phase["phase"]: phase for phase in phases})]
    runs = [StageRun(whole, {p["phase"]: p for p in phases if _within(p, whole)}) for whole in wholes]
    placed = [id(phase) for run in runs for phase in run.phases.values()]
    chunks_fit = all(_within(chunk, phase) for phase in phases for chunk in phase.get("chunks", []))
    decided = [id(phase) for phase in phases if phase["phase"] == ledger.BUDGET]  # on a stage that may not have run
    return runs if chunks_fit and all(id(phase) in [*placed, *decided] for phase in phases) else None


def _within(inner: Entry, outer: Entry) -> bool:
    return bool(inner["start"] >= outer["start"] - TOLERANCE and inner["end"] <= outer["end"] + TOLERANCE)


def plausible(chunks: list[Entry]) -> list[Entry]:
    """The chunks without those that took many times what the others did for as many queries."""
    rates = sorted(seconds(chunk) / max(1, chunk["queries"]) for chunk in chunks)
    most = OUTLIER * rates[len(rates) // 2] if rates else 0.0
    return [chunk for chunk in chunks if seconds(chunk) / max(1, chunk["queries"]) <= max(most, TOLERANCE)]
