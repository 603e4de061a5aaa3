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
from cascade.base.errors import CascadeError, StageError
from cascade.competitions import registry
from cascade.competitions.base import Competition, Task
from cascade.competitions.submission import SAMPLE
from cascade.config.schema import Config
from cascade.stages import resume
from cascade.stages.context import RunContext

FORMER = "pass --data with the former data"
SEEN_BY = "train.csv"  # which only says what is seen: by the others a label belongs to a query


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
        labels = self.context.task.truth if self.context else None
        return labels is not None and len(labels) > 0


def open_side(run: Path, data: Path | None = None) -> Side:
    """A run's folder, with the data it says it read or that is passed; StageError where no run made the folder."""
    record = folder.read(run)
    if record is None:
        raise StageError(
            f"is not a run's folder ({folder.FILE} is missing or not a run's)",
            path=run,
            mend="pass a run's folder such as build/run",
        )
    notes: list[str] = []
    config = task = None
    try:
        config = config_of(run, record)
        task, changed = data_of(config, run, record, data)
    except CascadeError as error:
        notes.append(f"{run}: MAP is not compared: {error}")
    else:
        for path in changed:
            if path.name == SEEN_BY:
                notes.append(
                    f"{run}: {path} has changed since the run: seen and unseen follow from what it contains now"
                )
            else:
                notes.append(f"{run}: {path} has changed since the run, so MAP is not compared: {FORMER}")
                task = None
    both = config is not None and task is not None
    return Side(run, record, RunContext(config, task, run) if both else None, notes)  # type: ignore[arg-type]


def config_of(run: Path, record: Mapping[str, Any]) -> Config:
    """The run's config as it was then; StageError where its record does not tell it, or in another version's words."""
    settings = copy.deepcopy(record.get("settings"))
    if not isinstance(settings, dict):
        raise StageError("contains no settings", path=run / folder.FILE, mend="run it again")
    settings.pop("time", None)
    resume.without_limits(settings)  # they are kept in seconds, which no config may write
    try:
        return Config.model_validate({**settings, "path": Path(str(record.get("config", "")))})
    except ValidationError as error:
        key = ".".join(map(str, error.errors()[0]["loc"]))
        raise StageError(
            f"its settings are another version's ({key})", path=run / folder.FILE, mend="run it again"
        ) from error


def data_of(config: Config, run: Path, record: Mapping[str, Any], data: Path | None) -> tuple[Task, list[Path]]:
    """What the run read, from `data` or where its record says, and those of its files that have changed since.

    CascadeError where it cannot be read.
    """
    folder_ = data or Path(str(record.get("data") or run))
    try:
        task = read(registry.of(config), folder_)
    except CascadeError as error:
        error.mend = f"{error.mend}, or pass --data" if error.mend else "pass --data"
        raise
    then = record["identity"]
    there = {path.name for path in folder_.glob("*.csv")} | {name for name in then if name.endswith(".csv")}
    paths = [folder_ / name for name in sorted(there - {SAMPLE})] if then else []
    return task, [path for path in paths
                  if then.get(path.name) != (manifest.sha256(path) if path.is_file() else None)]  # fmt: skip


@functools.cache
def read(competition: Competition, data: Path) -> Task:
    """The data, read once for both runs; leniently, as a run of the past is not stopped by it."""
    return competition.read(data, lenient=True)
