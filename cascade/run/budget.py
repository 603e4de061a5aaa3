"""The budget of a run: what each stage gets of the time that is left, by what it and those after it are to take.

What they are to take is the plan's forecast, with the rates that this run's own ledger shows so far in place of the
profile's. So a stage that is ahead of the plan hands its time on, and one that is behind cannot take the later ones'.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from cascade.base import clock, ledger
from cascade.base.patience import within
from cascade.plan.allotment import Allotment, StageEstimate, _seconds, allot
from cascade.stages.context import RunContext

if TYPE_CHECKING:
    from cascade.plan.progress import Progress

# Kept back before the deadline for the page and the last lines.
RESERVE = 20.0  # seconds, and at most
LEAST_RESERVE, RESERVE_SHARE = 2.0, 0.05  # seconds, and so much of the whole run's time
PATIENCE = 60.0  # seconds for one decision, and at most: the first reads tokenizers, from a disk that may hang
PATIENCE_SHARE = 0.2  # of what is left


class Budget:
    """Decides for one run, which `identity` stands for. `began`, `deadline`: Unix seconds."""

    def __init__(self, context: RunContext, identity: Mapping[str, str], began: float, deadline: float) -> None:
        self.context, self.identity = context, identity
        self.end = deadline - min(RESERVE, LEAST_RESERVE + RESERVE_SHARE * max(0.0, deadline - began))
        names = {stage.name: stage.stage for stage in context.config.stages()}
        self.optional = [names[name] for name in context.config.time.optional if name in names]
        self._progress: Progress | None = None
        self._lost = False
        self.told: set[str] = set()

    def share(self, stages: Sequence[str]) -> Allotment:
        """What the first of `stages`, all that are still to come, is given; recorded with its reason. Never raises.

        Where nothing can be planned it is all that is left, as without a budget, which is said.
        """
        start = clock.now()
        found, expected, trouble = Allotment(self.end - start), dict[str, float](), ""
        if found.seconds <= 0:
            if stages[0] not in self.optional:
                return found
            found = Allotment(0.0, "dropped, as it is optional: no time is left", dropped=True)
        elif self._lost:
            return found
        else:
            try:
                needs = within(min(PATIENCE, PATIENCE_SHARE * found.seconds), lambda: self._needs(stages))
                found = replace(allot(needs, self.end - clock.now(), self.optional), tail=needs[0].tail)
                expected = {"expected": round(needs[0].seconds, 1), "later": round(_seconds(needs[1:]), 1)}
            except Exception as error:  # no error of a plan may cost a stage
                logging.getLogger("cascade").exception("no plan for %s", stages[0])
                self._lost = isinstance(error, TimeoutError)  # what hangs would be waited for again
                who = "each stage" if self._lost else "this stage"
                trouble = f"no plan, so {who} gets all the time that is left: {type(error).__name__}: {error}"
        said = trouble or found.why
        facts = {"given": round(found.seconds, 1), **expected, **({"decision": said} if said else {})}
        ledger.record(self.context.run, stages[0], ledger.BUDGET, start, clock.now(), **facts)
        if said:
            self.told.add(said)
            print(f"budget: {stages[0]}: {said}", flush=True)
        return found

    def _needs(self, stages: Sequence[str]) -> list[StageEstimate]:
        from cascade.plan.progress import Progress  # here, so that not even its import can cost the run

        if self._progress is None:
            self._progress = Progress(self.context, self.identity)
        found = self._progress.needs()
        return [found[name] for name in stages]
