"""One of two runs that are compared: its record, its config as it was then, and the data it was scored on."""

from __future__ import annotations

import copy
import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cascade.base import folder, manifest
from cascade.base.errors import DataError, StageError
from cascade.competitions import eedi as csvs
from cascade.competitions.eedi import Competition
from cascade.config.schema import Config
from cascade.stages import resume
from cascade.stages.context import RunContext

# The files by which a label belongs to a query and a table speaks of it; train.csv only says what is seen.
SCORED_BY = ("test.csv", "test_labels.csv", "misconception_mapping.csv")


@dataclass(frozen=True)
class Side:
    """A run. `context`: None where its config or its data cannot be read any more; `notes` say why."""

    run: Path
    record: Mapping[str, Any]
    context: RunContext | None
    notes: list[str] = field(default_factory=list)

    @property
    def settings(self) -> dict[str, Any]:
        found = self.record.get("settings")
        return found if isinstance(found, dict) else {}

    @property
    def stages(self) -> dict[str, Any]:
        found = self.record["stages"]
        return {name: told for name, told in found.items() if isinstance(told, dict)}

    @property
    def labelled(self) -> bool:
        labels = self.context.competition.labels if self.context else None
        return labels is not None and len(labels) > 0


def open_side(run: Path, data: Path | None = None) -> Side:
    """A run's folder, with the data it says it read or that is passed; StageError where no run made the folder."""
    record = folder.read(run)
    if record is None:
        raise StageError(
            f"{run}: no run made it ({folder.FILE} is not there, or not a run's); pass a run's folder such as build/run"
        )
    notes: list[str] = []
    config = _config(run, record, notes)
    competition = _data(run, record, data, notes)
    both = config is not None and competition is not None
    return Side(run, record, RunContext(config, competition, run) if both else None, notes)  # type: ignore[arg-type]


def _config(run: Path, record: Mapping[str, Any], notes: list[str]) -> Config | None:
    settings = copy.deepcopy(record.get("settings"))
    if not isinstance(settings, dict):
        notes.append(f"{run / folder.FILE} keeps no settings, so neither they nor MAP@25 are compared: run it again")
        return None
    settings.pop("time", None)
    resume.without_limits(settings)  # they are kept in seconds, which no config may write
    try:
        return Config.model_validate({**settings, "path": Path(str(record.get("config", "")))})
    except ValidationError as error:
        key = ".".join(map(str, error.errors()[0]["loc"]))
        notes.append(f"{run / folder.FILE}: its settings are another version's ({key}), so MAP@25 is not compared")
        return None


def _data(run: Path, record: Mapping[str, Any], data: Path | None, notes: list[str]) -> Competition | None:
    folder_ = data or Path(str(record.get("data") or run))
    try:
        competition = read(folder_)
    except DataError as error:
        notes.append(f"{run}: MAP@25 is not compared: {error}, or pass --data")
        return None
    then = record["identity"]
    for name in (*SCORED_BY, "train.csv") if then else ():
        path = folder_ / name
        if then.get(name) == (manifest.sha256(path) if path.is_file() else None):
            continue
        if name in SCORED_BY:
            notes.append(f"{run}: {path} is not what it read, so MAP@25 is not compared: pass --data with what it was")
            return None
        notes.append(f"{run}: {path} is not what it read: seen and unseen are told by what lies there now")
    return competition


@functools.cache
def read(data: Path) -> Competition:
    """The data, read once for both runs; leniently, as a run of the past is not stopped by it."""
    return csvs.read(data, lenient=True)
