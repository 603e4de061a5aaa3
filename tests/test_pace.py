"""A stage that is behind leaves out candidates first, then queries, and gives back what turns out to be in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest

from cascade import chunks, config, ledger, pace, stages, tables
from cascade import data as csvs
from cascade.config import Pipeline
from cascade.pace import Pace
from cascade.paths import ROOT
from cascade.rerankers.windows import effort
from cascade.stages import Bench
from cascade.workers import Place, Pool
from tests.runs import Run

CHUNKS, QUERIES, CANDIDATES = 10, 4, 20
LLM = {"model": "m", "prompt": "p"}


def pipeline(kind: str = "pointwise", **keys: Any) -> Pipeline:
    made = {
        "pointwise": config.PointwisePipeline,
        "listwise": config.ListwisePipeline,
        "tournament": config.TournamentPipeline,
    }[kind]
    return made(name="p", candidates="r1", kind=kind, top_k=CANDIDATES, **LLM, **keys)


def task(number: int, queries: int = QUERIES, candidates: int = CANDIDATES) -> tuple[pd.DataFrame, pd.DataFrame]:
    names = [f"{number}-{query}" for query in range(queries)]
    rows = [(name, id_, id_ + 1) for name in names for id_ in range(candidates)]
    return pd.DataFrame({"query_id": names}), pd.DataFrame(rows, columns=["query_id", "misconception_id", "rank"])


class Worked:
    """A stage of ten chunks, worked through by a clock of its own: a second for every candidate that is scored."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds: float, kind: str = "pointwise", **keys: Any) -> None:
        self.now, self.given, self.said = 1000.0, [], list[str]()
        monkeypatch.setattr(pace.clock, "now", lambda: self.now)
        self.tasks: list[Any] = [task(number) for number in range(CHUNKS)]
        pool = cast(Pool, SimpleNamespace(name="rerank-p", workers=[]))
        self.deadline = self.now + seconds
        self.pipeline = pipeline(kind, **keys)
        self.pace = Pace(pool, self.tasks, self.deadline, self.pipeline, self.said.append)

    def work(self, slow: dict[int, float] | None = None) -> None:
        for number in range(CHUNKS):
            if not self.pace.go_on():
                break
            each = self.tasks[number]
            counts = each[1].groupby("query_id").size()
            took = (slow or {}).get(number, 1.0) * sum(effort(self.pipeline, count) for count in counts)
            self.now += took
            self.given.append(int(counts.max()))
            self.pace.finished(each, took)


WHOLE = CHUNKS * QUERIES * CANDIDATES  # seconds


def test_a_stage_in_time_keeps_every_candidate(monkeypatch: pytest.MonkeyPatch) -> None:
    worked = Worked(monkeypatch, WHOLE + 1)
    worked.work()
    assert worked.given == [CANDIDATES] * CHUNKS and worked.said == []


def test_a_stage_behind_scores_fewer_candidates_of_every_query(monkeypatch: pytest.MonkeyPatch) -> None:
    worked = Worked(monkeypatch, WHOLE / 2)
    worked.work()
    assert len(worked.given) == CHUNKS, "every query is scored"
    assert worked.given[0] == CANDIDATES and set(worked.given[1:]) <= {8, 9}
    assert worked.now <= worked.deadline
    assert worked.now - 1000 >= 0.9 * WHOLE / 2, "and the time is used"
    assert worked.said[0] == (
        "8 of 20 candidates for the 36 queries not begun: with 20 they would take 720 s, and 320 s are left"
    )


def test_only_when_few_candidates_are_left_are_there_fewer_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    worked = Worked(monkeypatch, WHOLE / 5)
    worked.work()
    assert worked.given[1:] == [5] * (len(worked.given) - 1) and 1 < len(worked.given) < CHUNKS
    assert worked.now <= worked.deadline


def test_what_a_slow_beginning_took_away_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    worked = Worked(monkeypatch, WHOLE * 1.3)
    worked.work(slow={0: 3.0})
    assert min(worked.given[1:]) < CANDIDATES and worked.given[-1] == CANDIDATES
    assert worked.now <= worked.deadline


def test_the_best_candidates_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    worked = Worked(monkeypatch, WHOLE / 2)
    worked.work()
    ranks = worked.tasks[-1][1].groupby("query_id")["rank"].agg(list).tolist()
    assert ranks == [list(range(1, worked.given[-1] + 1))] * QUERIES


def test_a_tournament_keeps_a_whole_group(monkeypatch: pytest.MonkeyPatch) -> None:
    worked = Worked(monkeypatch, 1000, "tournament", group=9)
    worked.work()
    assert min(worked.given) == 9


def test_a_listwise_stage_loses_a_window_before_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """20 candidates are three windows of 10: half of the time holds two of them, or one whole."""
    whole = CHUNKS * QUERIES * effort(pipeline("listwise", window=10), CANDIDATES)
    worked = Worked(monkeypatch, whole / 2, "listwise", window=10)
    worked.work()
    assert len(worked.given) == CHUNKS and 5 < min(worked.given) <= 15
    assert worked.now <= worked.deadline


def test_an_error_in_cutting_costs_the_cuts_and_nothing_else(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    worked = Worked(monkeypatch, WHOLE / 2)
    monkeypatch.setattr(pace, "_trimmed", lambda *_: 1 // 0)
    worked.work()
    assert worked.given == [CANDIDATES] * (CHUNKS // 2)
    assert capsys.readouterr().out.count("rerank-p: candidates are not cut any more: ZeroDivisionError") == 1


def make_scorer(place: Place) -> Callable[[Any], Any]:
    def work(given: Any) -> Any:
        _, candidates = given
        time.sleep(0.02 * len(candidates))
        scored = candidates.assign(score=1 / candidates["rank"])
        return tables.from_scores(scored[["query_id", "misconception_id", "score"]]), {"prompts": len(candidates)}

    return work


def test_a_real_process_is_given_fewer_candidates_and_the_ledger_says_so(tmp_path: Path) -> None:
    """10 chunks of 80 candidates, 1.6 s each: 16 s in all, and 14 are given, the start of the process among them."""
    loaded = config.load(Run(tmp_path, "").write_config())
    table = tmp_path / "ranking-p.parquet"
    chunks.prepare(table, resume=False)
    tasks = [task(number) for number in range(CHUNKS)]
    bench = Bench(loaded, csvs.read(ROOT / "sample"), tmp_path, deadline=time.time() + 14)
    facts = stages._in_chunks(bench, "rerank-p", pipeline(), table, tasks, 0, make_scorer, ())
    assert time.time() <= bench.deadline + 1
    cut = [chunk["candidates_cut_to"] for chunk in facts["chunks"] if "candidates_cut_to" in chunk]
    assert cut and max(cut) < CANDIDATES
    scored = chunks.gather(table)
    assert scored["query_id"].nunique() == facts["queries"]
    assert scored.groupby("query_id").size().min() == min(cut)
    told = [entry["decision"] for entry in ledger.read(tmp_path) if entry["phase"] == ledger.BUDGET]
    assert told and " of 20 candidates for the " in told[0]
