"""What every stage works on."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from cascade.base import folder as folders
from cascade.base.errors import TableError
from cascade.base.runtime import is_rerun, resolve, resolve_output
from cascade.competitions import registry
from cascade.competitions.base import Task
from cascade.config import schema as configs
from cascade.config.schema import Config
from cascade.rankings import reasons


@dataclass(frozen=True)
class RunContext:
    """What every stage works on: its config, the data, the run's folder, and when it must have stopped.

    resume: go on with what an earlier run of a chunked stage finished. proves: whether LLMs are asked for their
    canaries, which are of the config's adapters, not of others in their place.
    """

    config: Config
    task: Task
    run: Path
    deadline: float = 0.0
    resume: bool = False
    proves: bool = True
    # The tables that were read, each with the file that it was: see `reading.table_at`.
    read: dict[Path, tuple[Any, pd.DataFrame]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def cache(self) -> Path:
        """Where embeddings are kept between the stages of a run."""
        return self.run / folders.CACHE

    @property
    def logs(self) -> Path:
        """Where a stage's model processes leave what they print."""
        return self.run / folders.LOGS

    def queries(self) -> pd.DataFrame:
        """The test's queries, each with its `reason`, empty where none was written."""
        path = self.run / reasons.FILE
        wanted = self.config.reason is not None and self.config.reason.enabled and path.is_file()
        try:
            return reasons.join(self.task.queries, reasons.read(path) if wanted else None)
        except TableError as error:
            print(f"left out: {error}")
            return reasons.join(self.task.queries, None)


def open_context(
    config: str, data: str, run: str, deadline: float = 0.0, engine: str = "", resume: bool = False
) -> RunContext:
    """Reads config and data, and makes the run's folder; relative paths are found from notebooks/ as well.

    `engine`: the config's, where empty. StageError for a folder that is not empty and no run's.
    """
    loaded = configs.load(resolve(config), engine)
    task = registry.of(loaded).read(resolve(data), lenient=is_rerun())
    folder = resolve_output(run)
    folder.mkdir(parents=True, exist_ok=True)
    if not is_rerun():
        folders.claim(folder)
    return RunContext(loaded, task, folder, deadline, resume)
