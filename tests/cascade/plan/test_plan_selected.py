"""What a selection leaves a pipeline, as the plan has it before a run: worked by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from cascade.config.schema import Config, Pipeline, PointwisePipeline, Select
from cascade.plan.profile import Assumed, Measured, Profile, Rate
from cascade.plan.selected import Selected, descends, selected

ASSUMED = Assumed(kept_queries=0.5, kept_candidates=0.25, overlap=0.8, written=1, spread=0.3, source="by hand")
SIZES = {"r1": 60.0, "r2": 100.0, "first": 40.0}


def pipeline(name: str, candidates: str, top_k: int, enabled: bool = True, **select: Any) -> Pipeline:
    return PointwisePipeline(
        name=name, kind="pointwise", candidates=candidates, model="m", prompt="p", top_k=top_k, enabled=enabled,
        select=Select(**select) if select else None,
    )  # fmt: skip


def left(of: Pipeline, measured: Measured | None = None, enabled: bool = True) -> Selected:
    config = cast(Config, SimpleNamespace(pipeline=[pipeline("first", "r1", 40, enabled), of]))
    rate = Rate(kind="llm", spread=0.1, source="by hand")
    profile = Profile(characters_per_token=4, assumed=ASSUMED, rate=[rate], measured=[measured] if measured else [])
    return selected(of, config, profile, SIZES)


@pytest.mark.parametrize(
    ("candidates", "top_k", "select", "share", "count", "assumed"),
    [
        ("r2", 70, {}, 1.0, 70, False),
        ("r2", 500, {}, 1.0, 100, False),
        # Of another retrieval: 0.8 of first's 40 are known, and the rest of 70 are kept or dropped.
        ("r2", 70, {"by": "first", "top_n": 25}, 1.0, 25 + 70 - 32, True),
        ("r2", 70, {"by": "first", "top_n": 25, "missing": "drop"}, 1.0, 25, True),
        ("r2", 70, {"by": "first", "top_n": 50, "missing": "drop"}, 1.0, 32, True),
        ("r2", 30, {"by": "first", "top_n": 50, "missing": "drop"}, 1.0, 0.8 * 30, True),
        ("r2", 70, {"by": "first", "min_score": 0.5}, 1.0, 0.25 * 32 + 70 - 32, True),
        # Of the same retrieval: first knows 40 of the 50.
        ("r1", 50, {"by": "first", "top_n": 25}, 1.0, 25 + 10, False),
        ("r1", 50, {"by": "first", "missing": "drop", "max_top1": 0.9}, 0.5, 40, True),
        # Of first's own candidates: all are known.
        ("first", 30, {"by": "first", "top_n": 25}, 1.0, 25, False),
        ("first", 30, {"by": "first", "min_top1": 0.1, "min_score": 0.5, "top_n": 20}, 0.5, 5, True),
        # Unseen ones come back as far as there are any.
        ("r2", 70, {"extra_unseen": 5}, 1.0, 75, False),
        ("r2", 98, {"extra_unseen": 5}, 1.0, 100, False),
        ("first", 40, {"by": "first", "top_n": 25, "extra_unseen": 5}, 1.0, 30, False),
    ],
)
def test_what_is_left(
    candidates: str, top_k: int, select: dict[str, Any], share: float, count: float, assumed: bool
) -> None:
    found = left(pipeline("p", candidates, top_k, **select))
    assert (found.share, found.candidates) == (share, pytest.approx(count))
    assert found.spread == (0.3 if assumed else 0.0) and bool(found.notes) is assumed


def test_what_is_not_enabled_selects_nothing() -> None:
    assert left(pipeline("p", "r2", 70, by="first", top_n=5), enabled=False) == Selected(1.0, 70)


def test_what_a_run_had_is_a_factor_and_no_more_than_there_is() -> None:
    of = pipeline("p", "r2", 70, by="first", top_n=25, max_top1=0.9, extra_unseen=5)  # half, and 25 + 38 + 5
    assert left(of, Measured(stage="rerank-p", queries=1.2, candidates=0.5)) == Selected(0.6, 34)
    assert left(of, Measured(stage="rerank-p", queries=3, candidates=4)) == Selected(1.0, 75)
    few = pipeline("p", "r1", 58, by="first", top_n=58, extra_unseen=9)
    assert left(few, Measured(stage="rerank-p", candidates=4)) == Selected(1.0, 60)
    assert left(of, Measured(stage="rerank-other", candidates=4)).candidates == 68


def test_candidates_descend_from_every_pipeline_that_they_went_through() -> None:
    chain = [pipeline("first", "r1", 40), pipeline("second", "first", 20), pipeline("third", "second", 10)]
    config = cast(Config, SimpleNamespace(pipeline=chain))
    found = {(name, of): descends(name, of, config) for name in ("r1", "first", "third") for of in ("first", "second")}
    assert [pair for pair, down in found.items() if down] == [
        ("first", "first"),
        ("third", "first"),
        ("third", "second"),
    ]
