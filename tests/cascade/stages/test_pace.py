"""A stage that is behind leaves out candidates first, then queries, and gives back what turns out to be in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest

from cascade.base import ledger
from cascade.base.runtime import ROOT
from cascade.competitions.eedi import EEDI
from cascade.config import schema
from cascade.config.schema import Pipeline
from cascade.processes.workers import DeviceSlot, Pool
from cascade.rankings import tables
from cascade.rankings.windows import effort
from cascade.stages import checkpoints, pace, stages
from cascade.stages.context import RunContext
from cascade.stages.pace import Pace
from tests.runs import Run

CHUNKS, QUERIES, CANDIDATES = 10, 4, 20
LLM = {"model": "m", "prompt": "p"}


def pipeline(kind: str = "pointwise", **keys: Any) -> Pipeline:
    made = {
        "pointwise": schema.PointwisePipeline,
        "listwise": schema.ListwisePipeline,
        "tournament": schema.TournamentPipeline,
    }[kind]
    return made(name="p", candidates="r1", kind=kind, top_k=CANDIDATES, **LLM, **keys)


def task(number: int, queries: int = QUERIES, candidates: int = CANDIDATES) -> tuple[pd.DataFrame, pd.DataFrame]:
    names = [f"{number}-{query}" for query in range(queries)]
    rows = [(name, id_, id_ + 1) for name in names for id_ in range(candidates)]
    return pd.DataFrame({"query_id": names}), pd.DataFrame(rows, columns=["query_id", "label_id", "rank"])


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
    assert capsys.readouterr().out.count("rerank-p: candidates are no longer cut: ZeroDivisionError") == 1


# A moment worked by hand. Chunk 0 took 80 s for 80 candidates and chunk 1 took 160 s for as many, so the mean pace is
# 1.5 s a candidate and the slowest 2 s. Two workers have begun 2 and 3, of 80 and 40; 4 has four queries, and 5 one.
SIZES = (4, 4, 4, 2, 4, 1)


class Moment:
    def __init__(self, monkeypatch: pytest.MonkeyPatch, left: float) -> None:
        self.now, self.said = 1000.0, list[str]()
        monkeypatch.setattr(pace.clock, "now", lambda: self.now)
        self.tasks: list[Any] = [task(number, queries) for number, queries in enumerate(SIZES)]
        self.workers = [SimpleNamespace(task=0, process="alive"), SimpleNamespace(task=1, process="alive")]
        self.workers.append(SimpleNamespace(task=None, process=None))  # given up
        pool = cast(Pool, SimpleNamespace(name="rerank-p", workers=self.workers))
        self.pace = Pace(pool, self.tasks, self.now + 1000, pipeline(), self.said.append)
        assert self.ended(0, 80, then=2) is None
        self.pace.deadline = self.now + 80 + left
        self.ended(1, 80, then=3, seconds=160)

    def ended(self, number: int, later: float, then: int | None = None, seconds: float | None = None) -> int | None:
        """Chunk `number` has ended, `later` seconds from now, and its worker has already begun `then`."""
        self.now += later
        next(worker for worker in self.workers if worker.task == number).task = then
        return self.pace.finished(self.tasks[number], later if seconds is None else seconds)

    def counts(self) -> list[int]:
        return [int(candidates.groupby("query_id").size().max()) for _, candidates in self.tasks]


@pytest.mark.parametrize(
    ("left", "fitting"),
    [(220, 20), (219, 19), (202.5, 18), (176.25, 15), (150, 12), (149, 11), (88.75, 5), (1, 5), (-9, 5)],
)
def test_what_is_cut_follows_from_both_paces_the_workers_and_what_they_have_begun(
    monkeypatch: pytest.MonkeyPatch, left: float, fitting: int
) -> None:
    """Half of the 120 begun and 5t of t each, by two, at 1.5 s; and the last chunk, 4t, at 2 s: 45 + 8.75t s."""
    moment = Moment(monkeypatch, left)
    assert moment.counts() == [20, 20, 20, 20, fitting, fitting]
    told = [f"{fitting} of 20 candidates for the 5 queries not begun: with 20 they would take 220 s, and "
            f"{max(0, left):.0f} s are left"]  # fmt: skip
    assert moment.said == (told if fitting <= 18 else []), "a change of less than a tenth is not told"


def test_a_chunk_says_how_many_it_had_and_what_died_is_cut_as_those_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = Moment(monkeypatch, 150)
    moment.workers[0].task = None  # chunk 2's process has died: it waits again, with 20 candidates
    assert moment.ended(3, 10, then=4, seconds=40) is None, "it was begun whole"
    # 200 candidates took 280 s, and of chunk 4 half of 48 are done: 1.4 * (24 + 5t) / 2 + (2 - 0.7) * 4t is <= 140 s.
    assert moment.counts()[2] == moment.counts()[5] == 14 and moment.counts()[4] == 12
    assert moment.ended(4, 1, then=5, seconds=1) == 12
    assert moment.ended(5, 1, then=2, seconds=1) == 14


def test_all_that_wait_are_given_back_what_one_that_died_has_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    moment = Moment(monkeypatch, 150)
    moment.workers[0].task = None
    moment.pace.deadline += 1000
    moment.ended(3, 10, seconds=40)
    assert moment.counts() == [20] * 6
    assert [said.split(" candidates")[0] for said in moment.said] == ["12 of 20", "20 of 20"]


def test_another_chunk_is_begun_where_the_heaviest_that_waits_would_end_in_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Chunk 4 has 48 candidates after the cut and takes 96 s at the slowest pace; what is begun does not count."""
    moment = Moment(monkeypatch, 150)
    moment.now = moment.pace.deadline - 96
    assert moment.pace.go_on()
    moment.now += 1
    assert not moment.pace.go_on()
    moment.workers[2].task = 4
    assert moment.pace.go_on(), "chunk 5 takes 24 s"


def test_what_is_cut_in_one_step_is_told_once_and_so_is_its_return(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tournament of groups of 19 has nothing between 19 candidates and 20, less than a tenth."""
    chunk = QUERIES * effort(pipeline("tournament", group=19), CANDIDATES)
    worked = Worked(monkeypatch, 1.3 * CHUNKS * chunk, "tournament", group=19)
    worked.work(slow={0: 3.0})
    assert worked.given == [20, *[19] * 6, *[20] * 3]
    assert [said.split(" candidates")[0] for said in worked.said] == ["19 of 20", "20 of 20"]


def test_before_the_first_chunk_ends_any_time_is_enough_and_without_a_deadline_none_is_asked(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    worked = Worked(monkeypatch, 1)
    assert worked.pace.go_on()
    worked.now += 2
    assert not worked.pace.go_on()
    worked.pace.deadline = 0.0
    worked.pace.finished(worked.tasks[0], 500.0)
    assert worked.pace.go_on() and worked.said == []


def test_a_stage_without_candidates_goes_by_its_queries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace.clock, "now", lambda: 1000.0)
    tasks: list[Any] = [(pd.DataFrame({"query_id": list("abcd")}),), (pd.DataFrame({"query_id": list("efghij")}),)]
    pool = cast(Pool, SimpleNamespace(name="reason", workers=[]))
    for deadline, enough in ((1012.0, True), (1011.0, False)):  # 2 s a query, and six are left
        made = Pace(pool, tasks, deadline, None, lambda _: None)
        assert made.finished(tasks[0], 8.0) is None
        assert made.go_on() is enough


def test_a_stage_has_as_many_candidates_as_its_longest_list(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace.clock, "now", lambda: 1000.0)
    tasks: list[Any] = [task(0, 1, 20), task(1, 1, 7), task(2, 1, 20)]
    made = Pace(cast(Pool, SimpleNamespace(name="p", workers=[])), tasks, 1018.0, pipeline(), lambda _: None)
    made.finished(tasks[0], 20.0)  # 7 and t of t at a second each: 11 and 7 are 18
    assert [len(candidates) for _, candidates in tasks] == [20, 7, 11]


def test_a_chunk_of_nothing_says_next_to_nothing_of_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    worked = Worked(monkeypatch, WHOLE)
    worked.pace.counts[0] = worked.pace.counts[0][:0]
    worked.pace.finished(worked.tasks[0], 0.5)
    assert worked.pace.slowest == 0.5


def make_scorer(place: DeviceSlot) -> Callable[[Any], Any]:
    def work(given: Any) -> Any:
        _, candidates = given
        time.sleep(0.02 * len(candidates))
        scored = candidates.assign(score=1 / candidates["rank"])
        return tables.from_scores(scored[["query_id", "label_id", "score"]]), {"prompts": len(candidates)}

    return work


def test_a_real_process_is_given_fewer_candidates_and_the_ledger_says_so(tmp_path: Path) -> None:
    """10 chunks of 80 candidates, 1.6 s each: 16 s in all, and 14 are given, the start of the process among them."""
    loaded = schema.load(Run(tmp_path, "").write_config())
    table = tmp_path / "ranking-p.parquet"
    checkpoints.prepare(table, resume=False)
    tasks = [task(number) for number in range(CHUNKS)]
    context = RunContext(loaded, EEDI.read(ROOT / "sample"), tmp_path, deadline=time.time() + 14)
    facts = stages._in_chunks(context, "rerank-p", pipeline(), table, tasks, 0, make_scorer, ())
    assert time.time() <= context.deadline + 1
    cut = [chunk["candidates_cut_to"] for chunk in facts["chunks"] if "candidates_cut_to" in chunk]
    assert cut and max(cut) < CANDIDATES
    scored = checkpoints.gather(table)
    assert scored["query_id"].nunique() == facts["queries"]
    assert scored.groupby("query_id").size().min() == min(cut)
    told = [entry["decision"] for entry in ledger.read(tmp_path) if entry["phase"] == ledger.BUDGET]
    assert told and " of 20 candidates for the " in told[0]
