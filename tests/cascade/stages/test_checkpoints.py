"""Chunks of queries: cut evenly, on disk as soon as they are done, and kept over a stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from cascade.base.errors import ScoreError, TableError
from cascade.processes.workers import DeviceSlot, Pool
from cascade.rankings import reasons, tables
from cascade.stages import checkpoints


def ranking(*queries: str) -> pd.DataFrame:
    rows = [(query, id_, 1 / (id_ + 1)) for query in queries for id_ in range(3)]
    return tables.from_scores(pd.DataFrame(rows, columns=["query_id", "label_id", "score"]))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return tmp_path / "ranking-p.parquet"


def parts(table: Path) -> list[str]:
    return sorted(path.name for path in checkpoints.parts_folder(table).iterdir())


# Sharing out.


def sizes(weights: list[float], size: int, places: int) -> list[int]:
    made = checkpoints.share_out(weights, size, places)
    whole = list(range(len(weights)))
    assert [number for part in made for number in whole[part]] == whole, "a query is lost, twice, or out of order"
    return [part.stop - part.start for part in made]


@pytest.mark.parametrize(
    ("weights", "size", "places", "expected"),
    [
        ([1] * 4, 2, 1, [2, 2]),
        ([1] * 4, 4, 2, [2, 2]),
        ([1] * 4, 16, 1, [4]),
        ([1] * 3, 16, 8, [1, 1, 1]),
        ([1] * 12, 4, 2, [4, 4, 4]),
        ([3, 1, 1, 1], 2, 1, [1, 3]),
        ([1, 1, 1, 3], 2, 1, [3, 1]),
        ([2, 2, 1, 1, 1, 1], 3, 2, [2, 4]),
        ([5], 16, 2, [1]),
    ],
)
def test_queries_are_shared_out_by_weight(weights: list[float], size: int, places: int, expected: list[int]) -> None:
    assert sizes(weights, size, places) == expected


def test_chunks_are_about_equally_heavy() -> None:
    rng = np.random.default_rng(0)
    for count in (10, 57, 300):
        for size, places in ((4, 1), (16, 2), (50, 2)):
            weights = rng.uniform(1, 3, count).tolist()
            made = checkpoints.share_out(weights, size, places)
            heavy = [sum(weights[part]) for part in made]
            assert max(heavy) - min(heavy) <= 2 * 3, "further apart than two of the heaviest queries"
            assert len(made) == max(-(-count // size), min(places, count))
            assert sum(sizes(weights, size, places)) == count


@pytest.mark.parametrize(
    "weights", [[1, 100], [100, 1], [1, 1, 100], [100, 1, 1], [1, 1, 1, 1000], [1000, 1, 1, 1], [1, 1000, 1, 1]]
)
@pytest.mark.parametrize("places", [2, 3, 4])
def test_no_place_is_left_idle_by_one_heavy_query(weights: list[float], places: int) -> None:
    assert len(sizes(weights, 16, places)) >= min(places, len(weights))


def test_where_nothing_is_left_to_do_there_is_no_chunk() -> None:
    """An earlier run was stopped between its last chunk and its table: what is resumed has no query left."""
    assert checkpoints.share_out([], 16, 2) == []


# Parts.


def leave_parts(table: Path, *written: pd.DataFrame) -> None:
    folder = checkpoints.parts_folder(table)
    folder.mkdir()
    for number, chunk in enumerate(written):
        tables.write(chunk, folder / f"{number:05}.parquet")


def test_a_resumed_stage_keeps_what_is_finished(table: Path) -> None:
    assert checkpoints.prepare(table, resume=True) == set()
    assert checkpoints.parts_folder(table).is_dir()
    checkpoints.parts_folder(table).rmdir()
    leave_parts(table, ranking("a", "b"), ranking("c"))
    assert checkpoints.prepare(table, resume=True) == {"a", "b", "c"}
    assert len(parts(table)) == 2


def test_a_stage_that_is_not_resumed_begins_anew(table: Path) -> None:
    leave_parts(table, ranking("a", "b"), ranking("c"))
    assert checkpoints.prepare(table, resume=False) == set()
    assert parts(table) == []


def test_a_torn_part_is_left_out_and_said(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave_parts(table, ranking("a"), ranking("b"), ranking("c"))
    torn = checkpoints.parts_folder(table) / "00001.parquet"
    torn.write_bytes(torn.read_bytes()[:100])
    (checkpoints.parts_folder(table) / ".00003.parquet.77").write_bytes(b"the disk was full")
    assert checkpoints.prepare(table, resume=True) == {"a", "c"}
    assert "00001.parquet: not a readable parquet file" in capsys.readouterr().out
    gathered = checkpoints.gather(table)
    assert gathered["query_id"].unique().tolist() == ["a", "c"]
    pd.testing.assert_frame_equal(tables.read(table), gathered)


def test_a_part_that_breaks_the_contract_is_left_out(table: Path) -> None:
    leave_parts(table, ranking("a"))
    ranking("b").assign(rank=7).to_parquet(checkpoints.parts_folder(table) / "00001.parquet")
    assert checkpoints.prepare(table, resume=True) == {"a"}


def test_without_a_finished_chunk_there_is_no_table(table: Path) -> None:
    checkpoints.prepare(table, resume=False)
    with pytest.raises(TableError, match="no chunk is finished to make it from; run its stage again"):
        checkpoints.gather(table)
    assert not table.exists()


def test_parts_of_reasons_are_reasons(tmp_path: Path) -> None:
    table = tmp_path / reasons.FILE
    folder = checkpoints.parts_folder(table)
    folder.mkdir()
    reasons.write(pd.DataFrame({"query_id": ["a", "b"], "reason": ["one", ""]}), folder / "00000.parquet")
    assert checkpoints.prepare(table, resume=True) == {"a", "b"}
    assert checkpoints.gather(table)["reason"].tolist() == ["one", ""]
    assert reasons.read(table)["query_id"].tolist() == ["a", "b"]
    assert checkpoints.contract(tmp_path / "ranking-reasons.parquet") is tables


# Working through, with real processes.


def make_ranker(place: DeviceSlot) -> Callable[[Any], Any]:
    """Ranks each query; one called `bad` fails its chunk, `slow` takes a while."""

    def work(task: Any) -> Any:
        (queries,) = task
        if "bad" in queries["query_id"].tolist():
            raise ScoreError("prompt bad, number 1: its score is no finite number")
        if "slow" in queries["query_id"].tolist():
            time.sleep(1.0)
        prompts = 3 * len(queries)
        return ranking(*queries["query_id"]), {"prompts": prompts, "tokens": 10 * prompts}

    return work


def work_through(
    table: Path, tasks: list[list[str]], deadline: float = 0.0, places: int = 1, done: int = 0
) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    given = [(pd.DataFrame({"query_id": queries}),) for queries in tasks]
    with Pool("rerank-p", [DeviceSlot(("cpu",))] * places, table.parent / "logs", make_ranker) as pool:
        checkpoints.work_through(pool, given, table, deadline, facts, done)
    return facts


def test_every_chunk_is_on_disk_and_counted(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    checkpoints.prepare(table, resume=False)
    facts = work_through(table, [["a", "b"], ["c"], ["d"]], places=2)
    of_each = facts.pop("chunks")
    assert facts == {"queries": 4, "prompts": 12, "tokens": 120}
    assert sorted((each["queries"], each["prompts"], each["tokens"]) for each in of_each) == [
        (1, 3, 30), (1, 3, 30), (2, 6, 60),
    ]  # fmt: skip
    assert all(each["start"] <= each["end"] for each in of_each)
    assert parts(table) == ["00000.parquet", "00001.parquet", "00002.parquet"]
    assert set(checkpoints.gather(table)["query_id"]) == {"a", "b", "c", "d"}
    said = capsys.readouterr().out.splitlines()
    assert len(said) == 3
    assert said[-1].startswith("rerank-p: 4 of 4 queries, ") and said[-1].endswith(" tokens/s, 0 s left")


def test_a_chunk_that_fails_is_left_out_and_told(table: Path) -> None:
    checkpoints.prepare(table, resume=False)
    facts = work_through(table, [["a"], ["bad", "b"], ["c"]])
    assert facts["decision"] == "2 queries failed: prompt bad, number 1: its score is no finite number"
    assert facts["queries"] == 2 and facts["prompts"] == 6
    assert set(checkpoints.gather(table)["query_id"]) == {"a", "c"}


def test_no_chunk_is_begun_that_would_end_past_the_deadline(table: Path) -> None:
    """The first takes a second, so the second would too, and there is not that long."""
    checkpoints.prepare(table, resume=False)
    facts: dict[str, Any] = {}
    first, *others = [(pd.DataFrame({"query_id": [query]}),) for query in ("loaded", "slow", "b", "c")]
    with Pool("rerank-p", [DeviceSlot(("cpu",))], table.parent / "logs", make_ranker) as pool:
        list(pool.run([first]))  # loading does not count
        checkpoints.work_through(pool, others, table, time.time() + 1.9, facts)
    assert facts["decision"] == "deadline: stopped after 1 of 3 queries"
    assert facts["queries"] == 1
    assert parts(table) == ["00000.parquet"]


def test_after_the_deadline_nothing_is_begun(table: Path) -> None:
    checkpoints.prepare(table, resume=False)
    facts = work_through(table, [["a"], ["b"]], deadline=time.time() - 1)
    assert facts == {"queries": 0, "chunks": [], "decision": "deadline: stopped after 0 of 2 queries"}
    assert parts(table) == []


def test_a_resumed_stage_adds_to_what_is_there(table: Path, capsys: pytest.CaptureFixture[str]) -> None:
    leave_parts(table, ranking("a", "b"))
    done = checkpoints.prepare(table, resume=True)
    facts = work_through(table, [["c"]], done=len(done))
    assert facts["queries"] == 1, "only what this run did is counted"
    assert "rerank-p: 3 of 3 queries" in capsys.readouterr().out
    assert parts(table) == ["00000.parquet", "00001.parquet"]
    assert set(checkpoints.gather(table)["query_id"]) == {"a", "b", "c"}


def test_with_nothing_left_to_do_no_process_is_started(table: Path) -> None:
    leave_parts(table, ranking("a", "b"))
    assert work_through(table, [], done=2) == {"queries": 0, "chunks": []}
    assert not (table.parent / "logs").exists()


def test_a_new_part_never_replaces_one_that_is_finished(table: Path) -> None:
    """A torn part is to be deleted, as its message says: what the others hold must stay."""
    leave_parts(table, ranking("a"), ranking("b"), ranking("c"))
    (checkpoints.parts_folder(table) / "00001.parquet").unlink()
    done = checkpoints.prepare(table, resume=True)
    assert done == {"a", "c"}
    work_through(table, [["b"]], done=len(done))
    assert set(checkpoints.gather(table)["query_id"]) == {"a", "b", "c"}
