"""How long each stage takes, by a profile's rates, and whether the run fits its time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from math import hypot

from cascade.config.schema import Config
from cascade.plan.profile import Profile, Rate
from cascade.plan.workload import StageWork, Work


@dataclass(frozen=True)
class Part:
    """One kind of work: its seconds, `load` among them, within ± `spread`; `rate` is None where none is known."""

    work: Work
    rate: Rate | None
    load: float
    seconds: float
    spread: float


@dataclass(frozen=True)
class Stage:
    """A stage in time: seconds from the start of the run to its own, and how long it takes. spread: of `seconds`."""

    work: StageWork
    parts: tuple[Part, ...]
    start: float

    @property
    def name(self) -> str:
        return self.work.name

    @property
    def load(self) -> float:
        """Seconds until models are loaded, the notebook's own start left out."""
        return sum(part.load for part in self.parts if part.work.kind != "notebook")

    @property
    def seconds(self) -> float:
        return sum(part.seconds for part in self.parts)

    @property
    def spread(self) -> float:
        return together(self.parts)

    @property
    def end(self) -> float:
        return self.start + self.seconds

    @property
    def over(self) -> float:
        """Seconds by which the stage is expected to pass its own limit."""
        return max(0.0, self.seconds - self.work.limit) if self.work.limit is not None else 0.0

    @property
    def unknown(self) -> list[Part]:
        return [part for part in self.parts if part.rate is None]


@dataclass(frozen=True)
class Forecast:
    """A forecast has all stages in order; `available`: seconds from the start to the deadline."""

    stages: tuple[Stage, ...]
    available: float

    @property
    def seconds(self) -> float:
        return self.stages[-1].end

    @property
    def spread(self) -> float:
        return together([part for stage in self.stages for part in stage.parts])

    @property
    def missing(self) -> float:
        """Seconds by which the expected time is too long for the run, and every stage's for its own limit, together."""
        return max(0.0, self.seconds - self.available) + sum(stage.over for stage in self.stages)

    @property
    def fits(self) -> bool:
        return not self.missing


def together(parts: Sequence[Part]) -> float:
    """The spread of a sum: parts that rest on one rate, or on none, err together, others by chance."""
    sums: dict[int, float] = defaultdict(float)
    for part in parts:
        sums[id(part.rate)] += part.spread
    return hypot(*sums.values())


def forecast(config: Config, profile: Profile, stages: Sequence[StageWork]) -> Forecast:
    """The stages one after another. One without a rate takes anything from nothing to its limit, or the run's."""
    found: list[Stage] = []
    for stage in stages:
        rates = [
            profile.find(work.kind, stage.name, work.model, config.engine, dict(work.settings)) for work in stage.works
        ]
        parts = [_part(work, rate) for work, rate in zip(stage.works, rates, strict=True) if rate is not None]
        unknown = [work for work, rate in zip(stage.works, rates, strict=True) if rate is None]
        limit = stage.limit if stage.limit is not None else config.time.available
        half = max(0.0, limit - sum(part.seconds for part in parts)) / 2
        parts += [Part(work, None, 0.0, half / len(unknown), half / len(unknown)) for work in unknown]
        found.append(Stage(stage, tuple(parts), found[-1].end if found else 0.0))
    return Forecast(tuple(found), config.time.available)


def _part(work: Work, rate: Rate) -> Part:
    load = rate.load if work.loads else 0.0
    counted = rate.prompt * work.prompts + rate.token * (work.tokens - work.cached) + rate.written * work.written
    spread = hypot(rate.spread * (load + counted), work.spread * counted)
    return Part(work, rate, load, load + counted, spread)
