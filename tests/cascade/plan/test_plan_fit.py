"""Costs and rates from chunks and phases, worked by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from cascade.base.history import Entry
from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from cascade.plan import profile as profiles
from cascade.plan.calibration import _counted, _rates, _selected, write
from cascade.plan.fit import LEAST_SPREAD, _at_work, costs, solve
from cascade.plan.ledgers import Runs, StageRun
from cascade.plan.profile import Measured, Profile, Rate
from cascade.plan.workload import NOTEBOOK, StageWork, Work
from tests.cascade.plan.test_plan_calibration import BASE

CONFIG = configs.load(ROOT / "configs" / "cross-encoder.toml")


def chunks(*taken: tuple[float, float], start: float = 0.0) -> list[Entry]:
    """Of one worker, one after another: prompts and seconds of each."""
    made: list[Entry] = []
    for prompts, took in taken:
        made.append({"start": start, "end": start + took, "queries": 4, "prompts": prompts})
        start += took
    return made


def test_each_workers_first_chunk_tells_the_warm_up_which_is_loading_and_no_prompts() -> None:
    """A second a prompt, and 20 and 40 s more for the first: 30 in the mean, which each run's own time is short of."""
    one, two = ([(10, 10 + more), (8, 8), (12, 12), (9, 9)] for more in (20.0, 40.0))
    found = costs([chunks(*one), chunks(*two)])
    assert found is not None
    assert (found.prompt, found.warm_up, found.spread) == (pytest.approx(1.0), pytest.approx(30), LEAST_SPREAD)


def test_two_workers_warm_up_at_the_same_time_and_do_twice_the_work() -> None:
    """4 prompts a chunk at a second each, 10 s more for each worker's first: 22 s, and 12 of them for 24 prompts."""
    worker = chunks((4, 14), (4, 4), (4, 4))
    found = costs([[*worker, *worker]])
    assert found is not None
    assert (found.prompt, found.warm_up, found.spread) == (pytest.approx(0.5), pytest.approx(10), LEAST_SPREAD)


def test_chunks_that_differ_for_the_same_work_tell_the_spread() -> None:
    """±4 s on four of ten: the root of 64 of 40 s."""
    found = costs([chunks((10, 10), (10, 6), (10, 14), (10, 6), (10, 14))])
    assert found is not None and found.prompt == pytest.approx(1.0) and found.spread == pytest.approx(0.2)


def test_a_first_chunk_that_was_quicker_is_no_negative_warm_up() -> None:
    found = costs([chunks((10, 5), (10, 10), (10, 10), (10, 10), (10, 10))])
    assert found is not None and found.warm_up == 0.0 and found.prompt == pytest.approx(45 / 50)


def test_three_chunks_beside_the_first_tell_its_warm_up_and_two_do_not() -> None:
    found = costs([chunks((10, 15), (10, 5), (10, 5), (10, 5))])
    assert found is not None and (found.warm_up, found.prompt) == (pytest.approx(10), pytest.approx(0.5))
    found = costs([chunks((10, 15), (10, 5), (10, 5))])
    assert found is not None and (found.warm_up, found.prompt) == (0.0, pytest.approx(25 / 30))
    assert costs([[], []]) is None
    assert costs([chunks((0, 5), (0, 5))]) is not None, "of queries without prompts"


def test_four_chunks_a_cost_are_a_fit_and_fewer_a_ratio() -> None:
    """Least squares: 1*1 + 2*2 + 3*3 + 4*14 = 70 by 30; the ratio: 15 s by 6 prompts."""
    counts = np.array([[1.0, 0, 0], [2, 0, 0], [3, 0, 0], [4, 0, 0]])
    assert solve(counts, np.array([1.0, 2, 3, 14])) == pytest.approx([70 / 30, 0, 0])
    assert solve(counts[:3], np.array([1.0, 2, 12])) == pytest.approx([15 / 6, 0, 0])
    two = np.array([[2.0, 10, 0], [1, 30, 0], [4, 20, 0], [3, 40, 0], [2, 50, 0], [5, 10, 0], [1, 20, 0], [2, 20, 0]])
    assert solve(two, two @ [3.0, 0.5, 0]) == pytest.approx([3.0, 0.5, 0])
    seven = two[:7] @ [3.0, 0.5, 0]
    assert solve(two[:7], seven) == pytest.approx([0, seven.sum() / 180, 0]), "all by the tokens"
    assert solve(np.zeros((5, 3)), np.ones(5)).tolist() == [0, 0, 0]


def test_tokens_that_were_cached_cost_nothing() -> None:
    made = [{**chunk, "prompts": 0, "tokens": 100, "cached_tokens": 60} for chunk in chunks((1, 8), (1, 8))]
    found = costs([made])
    assert found is not None and (found.prompt, found.token) == (0, pytest.approx(8 / 40))


def test_time_at_work_counts_once_what_overlaps_and_not_what_lies_between() -> None:
    assert _at_work([{"start": s, "end": e} for s, e in ((5, 12), (0, 10), (2, 4), (20, 25))]) == 12 + 5


# A stage's runs.


def run(seconds: float, status: str = "ok", **phases: Entry) -> StageRun:
    return StageRun({"start": 0.0, "end": seconds, "status": status}, phases)


def phase(seconds: float, **facts: Any) -> Entry:
    return {"start": 0.0, "end": seconds, **facts}


def rates(stage: StageWork, *runs: StageRun) -> dict[tuple[str, str | None], Rate]:
    return {(rate.kind, rate.model): rate for rate in _rates(stage, CONFIG, runs, "by hand", frozenset())}


def test_several_runs_of_a_stage_count_in_the_mean() -> None:
    work = Work("llm", "m", prompts=50, loads=True)
    stage = StageWork("rerank-p", (NOTEBOOK, work), queries=20)
    scored = chunks((10, 10 + 8.0), (10, 10), (10, 10), (10, 10))
    one = run(10 + 30 + 48, load=phase(30), score=phase(48, chunks=scored))
    two = run(20 + 50 + 48, load=phase(50), score=phase(48, chunks=scored))
    stopped = run(500, "deadline", score=phase(0))  # its own time tells nothing
    found = rates(stage, one, two, stopped)
    assert found["notebook", None].load == pytest.approx((10 + 20) / 2)
    assert found["llm", "m"].load == pytest.approx((30 + 50) / 2 + 8), "the warm-up is loading"
    assert found["llm", "m"].prompt == pytest.approx(1.0)
    uneven = run(60, score=phase(50, chunks=chunks((10, 10), (10, 6), (10, 14), (10, 6), (10, 14))))
    assert found["llm", "m"].spread == LEAST_SPREAD and rates(stage, uneven)["llm", "m"].spread == pytest.approx(0.2)
    fusion = StageWork("ensemble", (NOTEBOOK, Work("fusion", prompts=10)), queries=10)
    assert rates(fusion, run(3, fuse=phase(2)), run(5, fuse=phase(4)))["fusion", None].prompt == pytest.approx(0.3)


EMBEDDING = (
    Work("embedding", "m", prompts=100, tokens=1000, loads=True),
    Work("embedding", "m", prompts=200, tokens=6000),
    Work("embedding", "n", prompts=100, tokens=1000, loads=True),
    Work("embedding", "m", prompts=100, tokens=1000, loads=True),
)


def retrieved(*seconds: float, texts: tuple[int, ...] = (100, 200, 100, 100), more: float = 0.0) -> StageRun:
    loads = (12.0 + more, 0.0, 7.0, 8.0 + more)
    embedded = [
        {"texts": n, "load": load, "seconds": took} for n, load, took in zip(texts, loads, seconds, strict=True)
    ]
    whole = sum(loads) + sum(seconds) + 20
    return run(whole + 3, retrieve=phase(whole, embedded=embedded))


def test_embedding_goes_by_the_tokens_of_all_lists_and_a_loading_by_how_often_it_was() -> None:
    """8000 tokens of m in 24 s; it was loaded for 12 and 8 s, and the next time for 14 and 10."""
    stage = StageWork("retrieve-r", (NOTEBOOK, Work("blend", prompts=10), *EMBEDDING), queries=10)
    found = rates(stage, retrieved(4, 16, 5, 4), retrieved(4, 16, 5, 4, more=2.0))
    assert (found["embedding", "m"].prompt, found["embedding", "m"].token) == (0, pytest.approx(24 / 8000))
    assert found["embedding", "m"].load == pytest.approx((12 + 8 + 14 + 10) / 4)
    assert (found["embedding", "n"].token, found["embedding", "n"].load) == (pytest.approx(5 / 1000), 7)
    assert found["blend", None].prompt == pytest.approx(20 / 10)
    cached = retrieved(0, 16, 5, 4, texts=(0, 200, 100, 100))  # a run that found texts in its cache
    assert rates(stage, cached, retrieved(4, 16, 5, 4))["embedding", "m"].load == pytest.approx(10)
    assert ("embedding", "m") not in rates(stage, cached)


def test_texts_and_tokens_are_told_apart_where_enough_runs_had_them() -> None:
    """0.01 s a text and 0.002 s a token: 100 of 1000 are 3 s, 200 of 6000 are 14."""
    stage = StageWork("retrieve-r", (NOTEBOOK, *EMBEDDING[:2]), queries=10)
    seen = [run(60, retrieve=phase(50, embedded=[{"texts": 100, "load": 5.0, "seconds": 3.0},
            {"texts": 200, "load": 0.0, "seconds": 14.0}])) for _ in range(4)]  # fmt: skip
    found = rates(stage, *seen)["embedding", "m"]
    assert (found.prompt, found.token, found.load) == (pytest.approx(0.01), pytest.approx(0.002), 5)
    fewer = rates(stage, *seen[:3])["embedding", "m"]
    assert (fewer.prompt, fewer.token) == (0, pytest.approx(17 / 7000))


def test_a_profile_keeps_six_figures(tmp_path: Path) -> None:
    rate = BASE.rate[0].model_copy(update={"load": 1.23456789})
    write(BASE.model_copy(update={"rate": [rate]}), tmp_path / "profile.toml")
    assert profiles.load(tmp_path / "profile.toml").rate[0].load == 1.23457


def test_what_select_left_and_the_tokens_are_factors_on_the_plan() -> None:
    """30 of 40 and 10 of 40 queries, with 300 and 60 candidates: half, and 9 each; the plan says 20 of 80, and 12."""
    work = Work("llm", "m", prompts=240, tokens=8000, cached=2000, written=0, loads=True)
    stage = StageWork("rerank-p", (NOTEBOOK, work), queries=20, candidates=12)
    seen = [run(9, select=phase(0, selected={"queries": queries, "of_queries": 40, "candidates": candidates}))
            for queries, candidates in ((30, 300), (10, 60))]  # fmt: skip
    left = _selected(stage, Runs({"rerank-p": [*seen, run(1)]}), 80)
    assert left is not None
    assert (left.queries, left.candidates) == (pytest.approx(0.5 * 80 / 20), pytest.approx(9 / 12))
    assert _selected(stage, Runs({"rerank-p": [run(1)]}), 80) is None
    # Ten of the plan's 20 queries: 4000 tokens and 1000 of them cached would be as planned. Cut ones do not count.
    had = [{"queries": 10, "tokens": 6000, "cached_tokens": 500, "written_tokens": 70}]
    cut = [{"queries": 9, "tokens": 9, "candidates_cut_to": 5}]
    known: Profile = BASE.model_copy(update={"measured": [left]})
    found = _counted(stage, known, Runs({"rerank-p": [run(9, score=phase(9, chunks=[*had, *cut]))]}))
    assert found == Measured(
        stage="rerank-p", queries=left.queries, candidates=left.candidates, tokens=1.5, cached=0.5, written=1.0
    )
    assert _counted(stage, known, Runs({"rerank-p": [run(9, score=phase(9, chunks=cut))]})) == left
