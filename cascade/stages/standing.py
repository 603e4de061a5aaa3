"""The submission.csv that stands: brought up to what the stages have made, and put back where one spoils it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from cascade.base.errors import TableError
from cascade.competitions import submission
from cascade.stages import fusing, reading
from cascade.stages.context import RunContext

Rows = Mapping[str, Sequence[int]]


class Standing:
    """A run's submission.csv. `baseline`: submission zero, for where no valid one is there."""

    def __init__(self, context: RunContext, baseline: Rows) -> None:
        self.context, self.path = context, context.run / submission.FILE
        self.rows = self._valid(self.path) or self._valid(context.run / submission.LAST) or baseline

    def _valid(self, path: Path) -> Rows | None:
        try:
            rows = submission.read(path, self.context.task)
            submission.check(rows, self.context.task, str(path))
        except TableError:
            return None
        return rows

    def improve(self) -> None:
        """Replaces it by the fusion of the tables there are, where that is better; else the last valid one stands."""
        self._restore()
        try:
            if rankings := reading.members(self.context):
                fused = fusing.fuse(self.context, rankings)
                self.rows = fusing.write_submission(self.context, fused, list(rankings)) or self.rows
        finally:
            self._restore()

    def _restore(self) -> None:
        if (found := self._valid(self.path)) is not None:
            self.rows = found
        else:  # a stage has spoiled it
            submission.write(self.rows, self.context.task, self.path)
