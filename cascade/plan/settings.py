"""Which settings, turned alone, make a run fit its time: found by planning it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Any

from cascade.config import Config, ListwisePipeline, Pipeline, TournamentPipeline
from cascade.plan.forecast import Forecast, forecast
from cascade.plan.profile import Measured, Profile
from cascade.plan.workload import Planner

LEAST_CANDIDATES = 5  # what 1st place's largest model still ranked
LEAST_WRITTEN = 16  # tokens: half a sentence
PERCENT = range(95, 0, -5)
Plan = tuple[Config, Profile]


@dataclass(frozen=True)
class Turn:
    """A setting from what it is to `to`, the least change that makes the run fit, or the most there is.

    saved: seconds of the whole run; negative where a limit is raised.
    """

    setting: str
    now: str
    to: str
    saved: float
    fits: bool

    @property
    def sentence(self) -> str:
        return f"{self.setting} from {self.now} to {self.to}"


@dataclass(frozen=True)
class Knob:
    """One setting; `steps`: what it may be turned to, the least change first, as (words, the plan with it)."""

    setting: str
    now: str
    steps: Sequence[tuple[str, Callable[[], Plan]]]


def turns(planner: Planner, config: Config, profile: Profile, now: Forecast) -> list[Turn]:
    """For every setting, its least change that makes the run fit, greatest saving first; the rest behind."""
    found = [*_limits(config, now), *(_turn(planner, knob, now) for knob in knobs(config, profile))]
    return sorted(found, key=lambda turn: (not turn.fits, -turn.saved))


def _limits(config: Config, now: Forecast) -> Iterator[Turn]:
    """The limits that are passed, raised to the next minute; raising one is enough where it is the only one."""
    over = [stage for stage in now.stages if stage.over]
    late = now.seconds > now.available
    for stage in over:
        assert stage.work.limit is not None
        passed = f"limit of {stage.name.partition('-')[2] or stage.name}"
        yield Turn(passed, minutes(stage.work.limit), minutes(stage.seconds), 0.0, not late and len(over) == 1)
    if late:
        wanted = now.seconds + config.time.reserve
        yield Turn("limit of [time]", minutes(config.time.limit), minutes(wanted), 0.0, not over)


def minutes(seconds: float) -> str:
    """As the config writes it, rounded up."""
    return f"{ceil(seconds / 60)}m"


def _turn(planner: Planner, knob: Knob, now: Forecast) -> Turn:
    def at(place: int) -> Forecast:
        config, profile = knob.steps[place][1]()
        return forecast(config, profile, planner.stages(config, profile))

    first, last = 0, len(knob.steps) - 1
    if at(last).fits:
        while first < last:  # each step saves at least as much as the one before
            middle = (first + last) // 2
            first, last = (first, middle) if at(middle).fits else (middle + 1, last)
    then = at(last)
    return Turn(knob.setting, knob.now, knob.steps[last][0], now.seconds - then.seconds, then.fits)


def knobs(config: Config, profile: Profile) -> Iterator[Knob]:
    """Every setting of the config that takes time and has room to be turned."""
    for place, pipeline in enumerate(config.pipeline):
        if pipeline.enabled:
            yield from _of_pipeline(config, profile, place, pipeline)
    reason = config.reason
    if reason is not None and reason.enabled:
        lengths = range(reason.max_tokens - 1, LEAST_WRITTEN - 1, -1)
        if lengths:
            changed = [(str(n), _with_reason(config, profile, max_tokens=n)) for n in lengths]
            yield Knob("reason.max_tokens", str(reason.max_tokens), changed)
        yield Knob("reason.enabled", "true", [("false", _with_reason(config, profile, enabled=False))])


def _of_pipeline(config: Config, profile: Profile, place: int, pipeline: Pipeline) -> Iterator[Knob]:
    def changed(**update: Any) -> Callable[[], Plan]:
        return lambda: (_with_pipeline(config, place, update), profile)

    def counts(key: str, now: int, values: Sequence[int], of: Callable[[int], Callable[[], Plan]]) -> Iterator[Knob]:
        if values:
            yield Knob(f"{key} of {pipeline.name}", str(now), [(str(value), of(value)) for value in values])

    least = max(LEAST_CANDIDATES, getattr(pipeline, "group", 0) if isinstance(pipeline, TournamentPipeline) else 0)
    fewer = range(pipeline.top_k - 1, least - 1, -1)
    yield from counts("top_k", pipeline.top_k, fewer, lambda value: changed(top_k=value))
    select = pipeline.select
    if select is not None and select.top_n is not None:
        fewer = range(select.top_n - 1, LEAST_CANDIDATES - 1, -1)
        top_n = lambda value: changed(select=select.model_copy(update={"top_n": value}))  # noqa: E731
        yield from counts("select.top_n", select.top_n, fewer, top_n)
    if select is not None and select.missing == "keep" and select.top_n is not None:
        drop = changed(select=select.model_copy(update={"missing": "drop"}))
        yield Knob(f"select.missing of {pipeline.name}", "keep", [("drop", drop)])
    if isinstance(pipeline, ListwisePipeline):
        now = pipeline.stride or max(1, pipeline.window // 2)
        yield from counts("stride", now, range(now + 1, pipeline.window + 1), lambda value: changed(stride=value))
    if _has_probabilities(config, pipeline):
        steps = [(f"{share} % of the queries", _with_share(config, profile, pipeline, share)) for share in PERCENT]
        yield Knob(f"select by certainty (max_top1, max_margin) of {pipeline.name}", "what it keeps", steps)
    yield Knob(f"enabled of {pipeline.name}", "true", [("false", changed(enabled=False))])


def _has_probabilities(config: Config, pipeline: Pipeline) -> bool:
    """Whether the ranking that the pipeline selects by, or could, tells how sure a query is."""
    name = (pipeline.select and pipeline.select.by) or pipeline.candidates
    by = next((each for each in config.pipeline if each.name == name and each.enabled), None)
    return by is not None and not isinstance(by, TournamentPipeline)


def _with_pipeline(config: Config, place: int, update: dict[str, Any]) -> Config:
    pipelines = list(config.pipeline)
    pipelines[place] = pipelines[place].model_copy(update=update)
    return config.model_copy(update={"pipeline": pipelines})


def _with_reason(config: Config, profile: Profile, **update: Any) -> Callable[[], Plan]:
    assert config.reason is not None
    reason = config.reason.model_copy(update=update)
    return lambda: (config.model_copy(update={"reason": reason}), profile)


def _with_share(config: Config, profile: Profile, pipeline: Pipeline, percent: int) -> Callable[[], Plan]:
    """The profile as if the stage were left so many per cent of the queries it has now."""
    name = f"rerank-{pipeline.name}"
    known = profile.measured_of(name) or Measured(stage=name)
    fewer = known.model_copy(update={"queries": known.queries * percent / 100})
    others = [each for each in profile.measured if each.stage != name]
    return lambda: (config, profile.model_copy(update={"measured": [*others, fewer]}))
