"""How fast a stage goes, and what it leaves out to end in time: candidates first, then whole queries.

The queries come least sure first, so those that are left out are the surest.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import numpy as np

from cascade.base import clock
from cascade.config.schema import Pipeline
from cascade.processes.workers import Pool
from cascade.rankings.windows import effort, least_candidates

STEP = 0.1  # of top_k: smaller changes are not told, as chunks differ by as much
RECENT = 8  # chunks that tell the pace: the first ones are slow, and a machine may slow down
Task = tuple[Any, ...]


class Pace:
    """Watches the chunks of one stage, and cuts those that are not begun.

    tasks: (queries, candidates) or, of a stage without candidates, (queries,) each; the list is changed in place, as
    `pool` reads a task when it gives it. deadline: Unix seconds, 0 for none. decide: is told every cut, in a sentence.
    """

    def __init__(
        self, pool: Pool, tasks: list[Task], deadline: float, pipeline: Pipeline | None, decide: Callable[[str], None]
    ) -> None:
        self.pool, self.tasks, self.deadline, self.decide = pool, tasks, deadline, decide
        self.whole = list(tasks)
        self.counts = [_candidates(task) for task in tasks]
        self.top = max((int(counts.max()) for counts in self.counts if len(counts)), default=1)
        self.least = min(self.top, least_candidates(pipeline)) if pipeline is not None else self.top
        self.cost = np.array([effort(pipeline, n) if pipeline is not None else n for n in range(self.top + 1)])
        self.kept = [self.top] * len(tasks)
        self.unfinished = set(range(len(tasks)))
        self.told = self.top
        self.recent: deque[tuple[float, float]] = deque(maxlen=RECENT)  # seconds and effort

    @property
    def slowest(self) -> float:
        """Seconds for a candidate."""
        return max((seconds / effort for seconds, effort in self.recent), default=0.0)

    def go_on(self) -> bool:
        """Whether another chunk, at the slowest pace of late, would end in time."""
        waiting = self.unfinished - self._busy()
        heaviest = max((self._effort(number, self.kept[number]) for number in waiting), default=0.0)
        return not self.deadline or clock.now() + self.slowest * heaviest <= self.deadline

    def finished(self, task: Task, seconds: float) -> int | None:
        """Counts a chunk, and cuts the candidates of those to come as far as their time asks, or gives them back.

        Returns how many candidates a query of it had at most, None where none were cut. `seconds`: 0 of one whose
        processes died, which says nothing of the pace. Raises nothing: an error costs the cuts.
        """
        number = next(number for number in self.unfinished if self.tasks[number] is task)
        kept = self.kept[number]
        self.unfinished.remove(number)
        if seconds:
            self.recent.append((seconds, max(1.0, self._effort(number, kept))))
        if self.deadline and self.top > self.least and self.recent:
            try:
                self._cut()
            except Exception as error:
                self.least = self.top
                print(f"{self.pool.name}: candidates are no longer cut: {type(error).__name__}: {error}", flush=True)
        return kept if kept < self.top else None

    def _cut(self) -> None:
        busy = self._busy()
        waiting = self.unfinished - busy
        if not waiting:
            return
        hands = max(1, sum(worker.process is not None for worker in self.pool.workers))
        mean, slowest = np.divide(*np.sum(self.recent, axis=0)), self.slowest
        begun = sum(self._effort(number, self.kept[number]) for number in busy) / 2  # about half of it is done
        left = self.deadline - clock.now()

        def takes(top: int) -> float:
            """Seconds until the last chunk, begun at the mean pace, has ended at the slowest."""
            efforts = [self._effort(number, top) for number in waiting]
            return float(mean * (begun + sum(efforts)) / hands + (slowest - mean / hands) * max(efforts))

        fitting = next((top for top in range(self.top, self.least, -1) if takes(top) <= left), self.least)
        now = max(self.kept[number] for number in waiting)  # not alike where one waits again that had been begun
        for number in waiting:
            if self.kept[number] != fitting:
                self.tasks[number], self.kept[number] = _trimmed(self.whole[number], fitting), fitting
        if abs(fitting - self.told) >= STEP * self.top or (fitting != self.told and fitting in (self.least, self.top)):
            self.told = fitting
            queries = sum(len(self.counts[number]) for number in waiting)
            self.decide(
                f"{fitting} of {self.top} candidates for the {queries} queries not begun: with {now} they would take "
                f"{takes(now):.0f} s, and {max(0.0, left):.0f} s are left"
            )

    def _busy(self) -> set[int]:
        """The tasks that are begun: they end as they are."""
        return self.unfinished & {worker.task for worker in self.pool.workers}

    def _effort(self, number: int, top: int) -> float:
        return float(self.cost[np.minimum(self.counts[number], top)].sum())


def _candidates(task: Task) -> np.ndarray:
    """How many candidates each query has; a query without any counts as one piece of work."""
    queries, *candidates = task
    return candidates[0].groupby("query_id").size().to_numpy() if candidates else np.ones(len(queries), dtype=int)


def _trimmed(task: Task, top: int) -> Task:
    queries, candidates = task
    return queries, candidates[candidates["rank"] <= top]
