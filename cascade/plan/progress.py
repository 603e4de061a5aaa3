"""What the stages of a run that is under way are to take: the plan's forecast at the pace that the run has shown."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping

from cascade.base import ledger
from cascade.base.errors import PlanError
from cascade.plan import calibration, ledgers, profile
from cascade.plan import profile as profiles
from cascade.plan.allotment import StageEstimate
from cascade.plan.forecast import Forecast, Part, Stage, forecast
from cascade.plan.profile import Profile
from cascade.plan.workload import Planner
from cascade.stages.context import RunContext

THIS_RUN = "this run"
CUT = ("llm", "cross-encoder")  # kinds of work that are done chunk by chunk, and so can be cut
PICTURES = 0.6  # of a notebook's own time comes after the work: measured, 3 of 7 s (retrieve) to 14 of 18 s (rerank)
Key = tuple[str, str, bool]  # a kind of work, its model or "" for any, whether it is the loading


class Progress:
    """The progress of one run, which `identity` stands for; it keeps what it has counted of the config's prompts."""

    def __init__(self, context: RunContext, identity: Mapping[str, str]) -> None:
        self.context, self.identity = context, identity
        self.base = profiles.load(profile.default_profile(context.config))
        self.planner = Planner(context.config, context.task, self.base)

    def needs(self) -> dict[str, StageEstimate]:
        """Estimates every stage, by its name, from the ledger as it is now."""
        config = self.context.config
        before, now = (
            forecast(config, known, self.planner.stages(config, known)) for known in (self.base, self._calibrated())
        )
        times = _times(before, now)
        return {old.name: _need(old, new, times) for old, new in zip(before.stages, now.stages, strict=True)}

    def _calibrated(self) -> Profile:
        try:
            runs = ledgers.read([self.context.run / ledger.FILE], self.identity)
            return calibration.calibrate(
                self.context.config, self.context.task, self.base, runs, THIS_RUN, self.planner
            )
        except PlanError:  # nothing has run that a rate could be read from
            return self.base


def _times(before: Forecast, now: Forecast) -> dict[Key, float]:
    """How many times what the profile says this run has taken, where it has done any."""
    said: dict[Key, float] = defaultdict(float)
    took: dict[Key, float] = defaultdict(float)
    for old, new in zip(before.stages, now.stages, strict=True):
        own = [part for part in new.parts if part.rate and (part.rate.source, part.rate.stage) == (THIS_RUN, new.name)]
        kinds = {part.work.kind for part in own}
        for sums, parts in ((took, own), (said, [part for part in old.parts if part.rate and part.work.kind in kinds])):
            for part in parts:
                for model in {part.work.model, ""}:
                    sums[part.work.kind, model, True] += part.load
                    sums[part.work.kind, model, False] += part.seconds - part.load
    return {key: took[key] / seconds for key, seconds in said.items() if seconds}


def _need(old: Stage, new: Stage, times: Mapping[Key, float]) -> StageEstimate:
    """Estimates a stage by the profile, `old`, and by what this run has shown, within its own limit."""
    fixed = work = tail = 0.0
    known = True
    for part in old.parts:
        took = _took(part, new, times)
        cut = part.work.kind in CUT
        if took is None:
            known = known and not cut
            continue
        load, rest = took
        tail += PICTURES * load if part.work.kind == "notebook" else 0.0
        fixed, work = (fixed + load, work + rest) if cut else (fixed + load + rest, work)
    limit = old.work.limit
    if limit is not None:
        fixed, work = min(fixed, limit), max(0.0, min(work, limit - fixed))
    return StageEstimate(old.name, fixed, work, known, min(tail, fixed))


def _took(part: Part, new: Stage, times: Mapping[Key, float]) -> tuple[float, float] | None:
    """Seconds of loading and of the rest, at this run's pace; None where no rate is known.

    Another stage's rate is read only where the profile has none: what writes and what scores spends its time otherwise.
    """
    if part.rate is None:
        shown = next((each for each in new.parts if each.rate is not None and each.work.kind == part.work.kind), None)
        return None if shown is None else (shown.load, shown.seconds - shown.load)
    kind, model = part.work.kind, part.work.model
    load, rest = (times.get((kind, model, loads), times.get((kind, "", loads), 1.0)) for loads in (True, False))
    return load * part.load, rest * (part.seconds - part.load)
