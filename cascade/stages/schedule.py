"""The stages of a run, in the order they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascade.config.schema import AnyStage, Pipeline, Reason, Retrieval
from cascade.stages.context import RunContext


@dataclass(frozen=True)
class Stage:
    """One notebook run: the config's name for it, its parameters beside those of all, and the table it must leave."""

    name: str
    of: str
    notebook: str
    table: Path
    limit: float | None = None
    parameters: Mapping[str, Any] = field(default_factory=dict)


def planned(context: RunContext) -> list[Stage]:
    """The config's enabled stages in the order they run."""
    return [
        Stage(each.stage, each.name, f"{each.notebook}.ipynb", context.run / each.table, each.limit,
              _parameters(context, each))
        for each in context.config.stages()
    ]  # fmt: skip


def _parameters(context: RunContext, stage: AnyStage) -> dict[str, Any]:
    chunked = {"engine": context.config.engine, "resume": context.resume}
    if isinstance(stage, Retrieval):
        return {"retrieval": stage.name}
    if isinstance(stage, Pipeline):
        return {"pipeline": stage.name, **chunked}
    return chunked if isinstance(stage, Reason) else {}
