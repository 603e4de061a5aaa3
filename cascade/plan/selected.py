"""What a pipeline's `top_k` and `select` leave it to score, as far as that can be told before a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from cascade.config.schema import Config, Pipeline
from cascade.plan.profile import Profile

BY_CERTAINTY = ("min_top1", "max_top1", "max_margin")


@dataclass(frozen=True)
class Selected:
    """`share` of the queries, `candidates` a query on average; spread: of their product. notes: what was assumed."""

    share: float
    candidates: float
    spread: float = 0.0
    notes: tuple[str, ...] = ()


def selected(pipeline: Pipeline, config: Config, profile: Profile, sizes: Mapping[str, float]) -> Selected:
    """`sizes`: candidates a query in the table of each retrieval and pipeline that stands before this one.

    What the stage's own run had stands over what is assumed.
    """
    share, count, notes = 1.0, min(float(pipeline.top_k), sizes[pipeline.candidates]), list[str]()
    select, assumed = pipeline.select, profile.assumed
    if select is not None:
        by = next((each for each in config.pipeline if each.name == select.by and each.enabled), None)
        if by is not None:
            count = _by_candidate(pipeline, by, config, profile, count, sizes, notes)
            if any(getattr(select, key) is not None for key in BY_CERTAINTY):
                share = assumed.kept_queries
                notes.append(f"{share:.0%} of the queries are assumed to be left by select")
        count += min(float(select.extra_unseen), max(0.0, sizes[pipeline.candidates] - count))
    measured = profile.measured_of(pipeline.stage)
    if measured is None:
        return Selected(share, count, assumed.spread if notes else 0.0, tuple(notes))
    return Selected(min(1.0, share * measured.queries), min(count * measured.candidates, _most(pipeline, sizes)))


def _most(pipeline: Pipeline, sizes: Mapping[str, float]) -> float:
    extra = pipeline.select.extra_unseen if pipeline.select is not None else 0
    return min(pipeline.top_k + extra, sizes[pipeline.candidates])


def _by_candidate(
    pipeline: Pipeline,
    by: Pipeline,
    config: Config,
    profile: Profile,
    count: float,
    sizes: Mapping[str, float],
    notes: list[str],
) -> float:
    """Candidates left of `count` by `min_score`, `top_n` and `missing`."""
    select, assumed = pipeline.select, profile.assumed
    assert select is not None
    known = count
    if not descends(pipeline.candidates, by.name, config):
        known = min(count, sizes[by.name])
        if _root(pipeline.candidates, config) != _root(by.name, config):
            known *= assumed.overlap
            notes.append(f"{assumed.overlap:.0%} of the shorter list are assumed to be in {by.name}'s and in its own")
    missing = count - known if select.missing == "keep" else 0.0
    if select.top_n is not None:
        known = min(known, float(select.top_n))
    if select.min_score is not None:
        known *= assumed.kept_candidates
        notes.append(f"{assumed.kept_candidates:.0%} of the candidates are assumed to pass min_score")
    return known + missing


def _root(name: str, config: Config) -> str:
    """The retrieval that the candidates of a table come from."""
    of = {pipeline.name: pipeline.candidates for pipeline in config.pipeline}
    while name in of:
        name = of[name]
    return name


def descends(name: str, from_: str, config: Config) -> bool:
    """Whether the candidates of table `name` are all among those of the pipeline `from_`."""
    of = {pipeline.name: pipeline.candidates for pipeline in config.pipeline}
    while name != from_ and name in of:
        name = of[name]
    return name == from_
