"""What each stage is given of the time that is left, by what it and those after it are to take."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from cascade.config.schema import ENSEMBLE

WORTH = 0.25  # of a stage's work: for less its model is not worth loading, if another's is loaded as well

LATE = 4.0  # times what it is to take: what a retrieval has, whatever that costs the stages after it


@dataclass(frozen=True)
class StageEstimate:
    """What a stage is to take: seconds that no cut saves, and those of its `work`. known: whether a rate of it is.

    tail: seconds, of the fixed ones, that come after the work: its pictures.
    """

    name: str
    fixed: float
    work: float = 0.0
    known: bool = True
    tail: float = 0.0

    @property
    def seconds(self) -> float:
        return self.fixed + self.work

    @property
    def chunked(self) -> bool:
        """Whether it can be cut: neither a retrieval, whose table is there whole or not at all, nor the ensemble."""
        return self.work > 0 or not self.known


@dataclass(frozen=True)
class Allotment:
    """What a stage is given, in seconds; 0 where it is left out. why: in words, where that is less than it needs.

    tail: seconds of them that it is to take after its work.
    """

    seconds: float
    why: str = ""
    dropped: bool = False
    tail: float = 0.0


def allot(needs: Sequence[StageEstimate], left: float, optional: Sequence[str] = ()) -> Allotment:
    """What the first of `needs`, the stages to come in their order, is given of the seconds that are `left`.

    As long as they do not suffice, the `optional` stages are dropped in the order given. What is still too much is
    taken from the work of all that are left in the same proportion; the last are left out where that leaves them
    less than `WORTH`, and one that would not get to score is not begun. One without a rate has what the known ones
    leave, or counts as one of them.
    """
    now, *later = needs
    kept = list(needs)
    for name in optional:
        if _seconds(kept) > left:
            kept = [need for need in kept if need.name != name]
    told = f"the stages to come need {_seconds(needs):.0f} s and {max(0.0, left):.0f} s are left"
    if now not in kept:
        return Allotment(0.0, f"dropped, as it is optional: {told}", dropped=True)
    later = [need for need in kept if need is not now]
    if not now.chunked:  # cut off it leaves nothing, so others are cut for it; but one that hangs may not have it all
        least = sum(need.fixed + WORTH * need.work for need in later)
        most = left - sum(need.fixed for need in later if need.name == ENSEMBLE)
        return Allotment(max(left - least, min(most, LATE * now.seconds)))
    spare = left - _seconds(kept)
    if spare >= 0:
        given = now.seconds + spare / (1 + sum(not need.known for need in later))
        why = (
            ""
            if now.known
            else f"no rate is known for it, and the stages after it need {_seconds(later):.0f} of {left:.0f} s"
        )
        return Allotment(given, why)
    known = [need.work for need in kept if need.known and need.work]
    typical = sum(known) / len(known) if known else 1.0
    cut = [need if need.known else replace(need, work=typical) for need in kept]
    own = cut[0]
    while (part := _part(cut, left)) < WORTH and sum(need.chunked for need in cut) > 1:
        cut.remove([need for need in cut if need.chunked][-1])
    given = own.fixed + min(part, 1.0) * own.work  # without the last ones there may be more than enough
    if given < own.fixed:
        why = f"not begun: it needs {own.fixed:.0f} s before its first score, and {max(0.0, given):.0f} s are left"
        return Allotment(0.0, why)
    return Allotment(given, f"gets {given:.0f} of the {own.seconds:.0f} s it needs, as {told}")


def _part(needs: Sequence[StageEstimate], left: float) -> float:
    """The share of all work that there is time for; below 0 where there is none for the rest."""
    return (left - sum(need.fixed for need in needs)) / sum(need.work for need in needs)


def _seconds(needs: Sequence[StageEstimate]) -> float:
    return sum(need.seconds for need in needs)
