"""The stages of a run, in the order they run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cascade.config.schema import ENSEMBLE, REASON
from cascade.rankings import reasons
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
    config, run = context.config, context.run
    chunked: dict[str, Any] = {"engine": config.engine, "resume": context.resume}
    plan = []
    if config.reason is not None and config.reason.enabled:
        plan.append(Stage(REASON, REASON, "reason.ipynb", run / reasons.FILE, config.reason.limit, chunked))
    plan += [
        Stage(f"retrieve-{r.name}", r.name, "retrieve.ipynb", config.table_path(r.name, run), r.limit,
              {"retrieval": r.name})
        for r in config.retrieval
    ]  # fmt: skip
    plan += [
        Stage(f"rerank-{p.name}", p.name, "rerank.ipynb", config.table_path(p.name, run), p.limit,
              {"pipeline": p.name, **chunked})
        for p in config.pipeline if p.enabled
    ]  # fmt: skip
    table = config.table_path(ENSEMBLE, run)
    return [*plan, Stage(ENSEMBLE, ENSEMBLE, "ensemble.ipynb", table, config.ensemble.limit)]
