"""The budget of a run: what each stage gets of the time that is left, by what it and those after it are to take.

What they are to take is the plan's forecast, with the rates that this run's own ledger shows so far in place of the
profile's. So a stage that is ahead of the plan hands its time on, and one that is behind cannot take the later ones'.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from cascade import clock, ledger
from cascade.config import ENSEMBLE, REASON
from cascade.stages import Bench

if TYPE_CHECKING:
    from cascade.plan.progress import Progress

# Kept back before the deadline for the page and the last lines.
RESERVE = 20.0  # seconds, and at most
LEAST_RESERVE, RESERVE_SHARE = 2.0, 0.05  # seconds, and so much of the whole run's time
WORTH = 0.25  # of a stage's work: for less its model is not worth loading, if another's is loaded as well
LATE = 4.0  # times what it is to take: what a retrieval has, whatever that costs the stages after it
PATIENCE = 60.0  # seconds for one decision, and at most: the first reads tokenizers, from a disk that may hang
PATIENCE_SHARE = 0.2  # of what is left
T = TypeVar("T")


@dataclass(frozen=True)
class Need:
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
class Share:
    """What a stage is given, in seconds; 0 where it is left out. why: in words, where that is less than it needs.

    tail: seconds of them that it is to take after its work.
    """

    seconds: float
    why: str = ""
    dropped: bool = False
    tail: float = 0.0


def share(needs: Sequence[Need], left: float, optional: Sequence[str] = ()) -> Share:
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
        return Share(0.0, f"dropped, as it is optional: {told}", dropped=True)
    later = [need for need in kept if need is not now]
    if not now.chunked:  # cut off it leaves nothing, so others are cut for it; but one that hangs may not have it all
        least = sum(need.fixed + WORTH * need.work for need in later)
        most = left - sum(need.fixed for need in later if need.name == ENSEMBLE)
        return Share(max(left - least, min(most, LATE * now.seconds)))
    spare = left - _seconds(kept)
    if spare >= 0:
        given = now.seconds + spare / (1 + sum(not need.known for need in later))
        why = (
            ""
            if now.known
            else f"no rate is known for it, and the stages after it need {_seconds(later):.0f} of {left:.0f} s"
        )
        return Share(given, why)
    known = [need.work for need in kept if need.known and need.work]
    typical = sum(known) / len(known) if known else 1.0
    cut = [need if need.known else replace(need, work=typical) for need in kept]
    own = cut[0]
    while (part := _part(cut, left)) < WORTH and sum(need.chunked for need in cut) > 1:
        cut.remove([need for need in cut if need.chunked][-1])
    given = own.fixed + min(part, 1.0) * own.work  # without the last ones there may be more than enough
    if given < own.fixed:
        why = f"not begun: it needs {own.fixed:.0f} s before its first score, and {max(0.0, given):.0f} s are left"
        return Share(0.0, why)
    return Share(given, f"gets {given:.0f} of the {own.seconds:.0f} s it needs, as {told}")


def _part(needs: Sequence[Need], left: float) -> float:
    """The share of all work that there is time for; below 0 where there is none for the rest."""
    return (left - sum(need.fixed for need in needs)) / sum(need.work for need in needs)


def _seconds(needs: Sequence[Need]) -> float:
    return sum(need.seconds for need in needs)


class Budget:
    """Decides for one run, which `identity` stands for. `began`, `deadline`: Unix seconds."""

    def __init__(self, bench: Bench, identity: Mapping[str, str], began: float, deadline: float) -> None:
        self.bench, self.identity = bench, identity
        self.end = deadline - min(RESERVE, LEAST_RESERVE + RESERVE_SHARE * max(0.0, deadline - began))
        self.optional = [name if name == REASON else f"rerank-{name}" for name in bench.config.time.optional]
        self._progress: Progress | None = None
        self._lost = False
        self.told: set[str] = set()

    def share(self, stages: Sequence[str]) -> Share:
        """What the first of `stages`, all that are still to come, is given; recorded with its reason. Never raises.

        Where nothing can be planned it is all that is left, as without a budget, which is said.
        """
        start = clock.now()
        found, expected, trouble = Share(self.end - start), dict[str, float](), ""
        if found.seconds <= 0:
            if stages[0] not in self.optional:
                return found
            found = Share(0.0, "dropped, as it is optional: no time is left", dropped=True)
        elif self._lost:
            return found
        else:
            try:
                needs = within(min(PATIENCE, PATIENCE_SHARE * found.seconds), lambda: self._needs(stages))
                found = replace(share(needs, self.end - clock.now(), self.optional), tail=needs[0].tail)
                expected = {"expected": round(needs[0].seconds, 1), "later": round(_seconds(needs[1:]), 1)}
            except Exception as error:  # no error of a plan may cost a stage
                logging.getLogger("cascade").exception("no plan for %s", stages[0])
                self._lost = isinstance(error, TimeoutError)  # what hangs would be waited for again
                who = "each stage" if self._lost else "this stage"
                trouble = f"no plan, so {who} has all that is left: {type(error).__name__}: {error}"
        said = trouble or found.why
        facts = {"given": round(found.seconds, 1), **expected, **({"decision": said} if said else {})}
        ledger.record(self.bench.run, stages[0], ledger.BUDGET, start, clock.now(), **facts)
        if said:
            self.told.add(said)
            print(f"budget: {stages[0]}: {said}", flush=True)
        return found

    def _needs(self, stages: Sequence[str]) -> list[Need]:
        from cascade.plan.progress import Progress  # here, so that not even its import can cost the run

        if self._progress is None:
            self._progress = Progress(self.bench, self.identity)
        found = self._progress.needs()
        return [found[name] for name in stages]


def within(seconds: float, make: Callable[[], T]) -> T:
    """What `make` returns; TimeoutError where that takes longer, and it is left to itself."""
    found: list[T] = []
    raised: list[BaseException] = []

    def run() -> None:
        try:
            found.append(make())
        except BaseException as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    if raised:
        raise raised[0]
    if not found:
        raise TimeoutError(f"no answer within {seconds:.0f} s")
    return found[0]
