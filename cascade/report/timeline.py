"""A run's stages on one time axis: the last attempt of each, long pauses between them cut out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cascade.base import history
from cascade.base.history import Attempt


@dataclass(frozen=True)
class Timeline:
    """attempts: of each stage the last, in the order in which they began.

    cuts: the moment at which each long pause ended, and how many seconds of it are cut out. Moments are Unix seconds.
    """

    attempts: Mapping[str, Attempt]
    cuts: list[tuple[float, float]]

    def place(self, moment: float) -> float:
        """Seconds on the axis, which begins with the first stage."""
        origin = min(attempt.start for attempt in self.attempts.values())
        return moment - origin - sum(length for end, length in self.cuts if end <= moment)

    @property
    def longest(self) -> float:
        """Where on the axis the last stage ends."""
        return max(0.001, *(self.place(attempt.end) for attempt in self.attempts.values()))


def read(run: Path) -> Timeline:
    attempts = history.read(run)
    return Timeline(attempts, _pauses([(attempt.start, attempt.end) for attempt in attempts.values()]))


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
