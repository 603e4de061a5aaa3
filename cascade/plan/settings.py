"""Which settings, turned alone or together, make a run fit its time: found by planning it again."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from math import ceil
from typing import Any

from cascade.config.schema import AnyPipeline, AnyStage, Config, ListwisePipeline, Pipeline
from cascade.config.selecting import RANKS
from cascade.plan.forecast import Forecast, forecast
from cascade.plan.profile import Measured, Profile
from cascade.plan.selected import descends
from cascade.plan.workload import Planner
from cascade.rankings.windows import LEAST_CANDIDATES, least_candidates

SELECTED_BY = ("top_k", "select.top_n")  # what changes the candidates that a pipeline leaves
LEAST_WRITTEN = 16  # tokens: half a sentence
PERCENT = range(95, 0, -5)
Plan = tuple[Config, Profile]


@dataclass(frozen=True)
class Change:
    """A setting from what it is to `to`, the least change that makes the run fit, or what comes closest to that.

    saved: seconds of the whole run, none where a stage's limit is raised. plan: with the setting turned.
    """

    setting: str
    now: str
    to: str
    saved: float
    plan: Plan
    then: Forecast

    @property
    def fits(self) -> bool:
        return self.then.fits

    @property
    def sentence(self) -> str:
        return f"{self.setting} from {self.now} to {self.to}"


@dataclass(frozen=True)
class Setting:
    """One setting; `steps`: what it may be turned to, the least change first, as (words, the plan with it).

    steady: whether each step saves at least as much as the one before.
    """

    setting: str
    now: str
    steps: Sequence[tuple[str, Callable[[], Plan]]]
    steady: bool = True


def single_changes(planner: Planner, config: Config, profile: Profile, now: Forecast) -> list[Change]:
    """Finds every setting's least change that makes the run fit, greatest saving first; the rest behind."""
    turned = [_turn(planner, knob, now) for knob in (*_limits(config, profile, now), *knobs(config, profile))]
    return sorted(turned, key=lambda turn: (not turn.fits, -turn.saved))


def together(planner: Planner, now: Forecast, alone: Sequence[Change]) -> list[Change]:
    """Turns one upon the other, each time the one that gains most, until the run fits or none gains anything more.

    `alone`: what `turns` found. The last one is the smallest of those that are then enough.
    """
    made: list[Change] = []
    while alone and not now.fits:
        enough = [turn for turn in alone if turn.fits]
        best = min(enough, key=lambda turn: turn.saved) if enough else min(alone, key=lambda turn: turn.then.missing)
        if best.then.missing >= now.missing:
            break
        made.append(best)
        now = best.then
        alone = single_changes(planner, *best.plan, now)
    return made


def _limits(config: Config, profile: Profile, now: Forecast) -> Iterator[Setting]:
    """The stages' limits that are passed, raised to the next minute; not the run's own: Kaggle grants no more."""
    for stage in now.stages:
        if stage.over:
            assert stage.work.limit is not None
            raised = ceil(stage.seconds / 60) * 60.0
            own = next(each for each in config.stages() if each.stage == stage.name)
            step = (minutes(raised), _with(config, profile, own, limit=raised))
            yield Setting(f"limit of {own.name}", minutes(stage.work.limit), [step])


def minutes(seconds: float) -> str:
    """Writes a duration as the config does, rounded up."""
    return f"{ceil(seconds / 60)}m"


def _turn(planner: Planner, knob: Setting, now: Forecast) -> Change:
    @cache
    def at(place: int) -> Forecast:
        config, profile = knob.steps[place][1]()
        return forecast(config, profile, planner.stages(config, profile))

    place = _first(at, len(knob.steps)) if knob.steady else _first_of_any(at, len(knob.steps))
    words, plan = knob.steps[place]
    return Change(knob.setting, knob.now, words, now.seconds - at(place).seconds, plan(), at(place))


def _first(at: Callable[[int], Forecast], count: int) -> int:
    """The first of `count` steps that fits, or the last where none does, of steps that save more and more."""
    first, last = 0, count - 1
    while at(last).fits and first < last:
        middle = (first + last) // 2
        first, last = (first, middle) if at(middle).fits else (middle + 1, last)
    return last


def _first_of_any(at: Callable[[int], Forecast], count: int) -> int:
    """The first that fits, or the one that comes closest where none does, of steps in no order."""
    fitting = next((place for place in range(count) if at(place).fits), None)
    return min(range(count), key=lambda place: at(place).missing) if fitting is None else fitting


def knobs(config: Config, profile: Profile) -> Iterator[Setting]:
    """Every setting of the config that takes time and has room to be turned."""
    for pipeline in config.pipeline:
        if pipeline.enabled:
            yield from _of_pipeline(config, profile, pipeline)
    reason = config.reason
    if reason is not None and reason.enabled:
        lengths = range(reason.max_tokens - 1, LEAST_WRITTEN - 1, -1)
        if lengths:
            changed = [(str(n), _with(config, profile, reason, max_tokens=n)) for n in lengths]
            yield Setting("reason.max_tokens", str(reason.max_tokens), changed)
        yield Setting("reason.enabled", "true", [("false", _with(config, profile, reason, enabled=False))])


def _of_pipeline(config: Config, profile: Profile, pipeline: AnyPipeline) -> Iterator[Setting]:
    def changed(**update: Any) -> Callable[[], Plan]:
        return _with(config, profile, pipeline, **update)

    def counts(key: str, now: int, values: Sequence[int], of: Callable[[int], Callable[[], Plan]]) -> Iterator[Setting]:
        if values:
            steps = [(str(value), of(value)) for value in values]
            yield Setting(f"{key} of {pipeline.name}", str(now), steps, not (key in SELECTED_BY and judges))

    judges = _judges(config, pipeline)
    fewer = range(pipeline.top_k - 1, least_candidates(pipeline) - 1, -1)
    yield from counts("top_k", pipeline.top_k, fewer, lambda value: changed(top_k=value))
    select = pipeline.select
    if select is not None and select.top_n is not None:
        fewer = range(select.top_n - 1, LEAST_CANDIDATES - 1, -1)
        top_n = lambda value: changed(select=select.model_copy(update={"top_n": value}))  # noqa: E731
        yield from counts("select.top_n", select.top_n, fewer, top_n)
    if select is not None and select.missing == "keep" and select.top_n is not None:
        drop = changed(select=select.model_copy(update={"missing": "drop"}))
        yield Setting(f"select.missing of {pipeline.name}", "keep", [("drop", drop)])
    if isinstance(pipeline, ListwisePipeline):
        now = pipeline.stride or max(1, pipeline.window // 2)
        yield from counts("stride", now, range(now + 1, pipeline.window + 1), lambda value: changed(stride=value))
    if _tells_certainty(config, pipeline):
        steps = [(f"{share} % of the queries", _with_share(config, profile, pipeline, share)) for share in PERCENT]
        yield Setting(f"select by certainty (max_top1, max_margin) of {pipeline.name}", "what it keeps", steps)
    yield Setting(f"enabled of {pipeline.name}", "true", [("false", changed(enabled=False))])


def _judges(config: Config, pipeline: Pipeline) -> bool:
    """Whether another goes by what the pipeline left: the fewer it scores, the more that one may have to keep."""
    selects = [each.select for each in config.pipeline if each.enabled and each.select is not None]
    return any(select.by is not None and descends(select.by, pipeline.name, config) for select in selects)


def _tells_certainty(config: Config, pipeline: Pipeline) -> bool:
    """Whether the ranking that the pipeline selects by, or could, tells how sure a query is."""
    name = (pipeline.select and pipeline.select.by) or pipeline.candidates
    by = next((each for each in config.pipeline if each.name == name and each.enabled), None)
    return by is not None and by.scale != RANKS


def _with(config: Config, profile: Profile, stage: AnyStage, **update: Any) -> Callable[[], Plan]:
    return lambda: (config.changed(stage, **update), profile)


def _with_share(config: Config, profile: Profile, pipeline: Pipeline, percent: int) -> Callable[[], Plan]:
    """The profile as if the stage were left so many per cent of the queries it has now."""
    known = profile.measured_of(pipeline.stage) or Measured(stage=pipeline.stage)
    fewer = known.model_copy(update={"queries": known.queries * percent / 100})
    others = [each for each in profile.measured if each.stage != pipeline.stage]
    return lambda: (config, profile.model_copy(update={"measured": [*others, fewer]}))
