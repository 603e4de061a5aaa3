"""The contract of a ranking table, and that nobody reads or writes a table that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cascade.base.errors import TableError
from cascade.rankings import tables


def valid() -> pd.DataFrame:
    return pd.DataFrame(
        {
            "query_id": ["20_A", "20_A", "20_A", "3_B", "3_B"],
            "label_id": np.array([7, 0, 3, 0, 9], dtype=np.int32),
            "score": np.array([0.5, 0.5, -1.0, 2.0, 0.0], dtype=np.float32),
            "rank": np.array([1, 2, 3, 1, 2], dtype=np.int32),
        }
    )


def scores(*values: float) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table.assign(score=np.array(values, dtype=np.float32))


def ranks(*values: int) -> Callable[[pd.DataFrame], pd.DataFrame]:
    return lambda table: table.assign(rank=np.array(values, dtype=np.int32))


BREACHES: dict[str, tuple[Callable[[pd.DataFrame], pd.DataFrame], str]] = {
    "column missing": (lambda table: table.drop(columns="rank"), "columns are"),
    "column too many": (lambda table: table.assign(note="x"), "columns are"),
    "columns in another order": (lambda table: table[tables.COLUMNS[::-1]], "columns are"),
    "no rows": (lambda table: table.iloc[:0], "has no rows"),
    "score float64": (lambda table: table.astype({"score": np.float64}), "score: is float64, not float32"),
    "score int": (lambda table: table.astype({"score": np.int32}), "score: is int32"),
    "score NaN": (scores(0.5, np.nan, -1, 2, 0), "missing values"),
    "score inf": (scores(np.inf, 0.5, -1, 2, 0), "query 20_A: a score is not finite"),
    "score -inf": (scores(0.5, 0.5, -1, 2, -np.inf), "query 3_B: a score is not finite"),
    "score rises": (scores(0.5, 0.25, 0.3, 2, 0), "query 20_A: a score rises"),
    "rank gap": (ranks(1, 2, 4, 1, 2), "query 20_A: ranks are not"),
    "rank starts with 0": (ranks(1, 2, 3, 0, 1), "query 3_B: ranks are not"),
    "rank starts with 2": (ranks(2, 3, 4, 1, 2), "query 20_A: ranks are not"),
    "rank twice": (ranks(1, 1, 2, 1, 2), "query 20_A: ranks are not"),
    "rank goes on over queries": (ranks(1, 2, 3, 4, 5), "query 3_B: ranks are not"),
    "rank str": (lambda table: table.astype({"rank": str}), "rank: is str"),
    "rank float": (lambda table: table.astype({"rank": np.float32}), "rank: is float32"),
    "misconception float": (lambda table: table.astype({"label_id": float}), "label_id: is float64"),
    "misconception twice": (
        lambda table: table.assign(label_id=np.array([7, 0, 7, 0, 9], dtype=np.int32)),
        "query 20_A: a label occurs twice",
    ),
    "query's rows apart": (
        lambda table: table.assign(
            query_id=["20_A", "20_A", "3_B", "20_A", "3_B"], rank=np.array([1, 2, 1, 3, 2], dtype=np.int32)
        ),
        "query 20_A: its rows are not consecutive",
    ),
    "query missing": (
        lambda table: table.assign(query_id=table["query_id"].where(table["rank"] != 2)),
        "missing values",
    ),
    "query a number": (lambda table: table.assign(query_id=[20, 20, 20, 3, 3]), "query_id: is int64, not text"),
}


def test_valid_table_is_returned_as_it_is() -> None:
    table = valid()
    assert tables.validate(table, "here") is table


@pytest.mark.parametrize("case", BREACHES)
def test_breach_is_named(case: str) -> None:
    spoil, told = BREACHES[case]
    with pytest.raises(TableError) as caught:
        tables.validate(spoil(valid()), "here")
    error = caught.value
    assert (error.path, error.mend) == ("here", "run its stage again")
    assert told in str(error) and "\n" not in str(error)


@pytest.mark.parametrize("case", BREACHES)
def test_breach_is_not_written_and_leaves_the_old_table(case: str, tmp_path: Path) -> None:
    path = tmp_path / "ranking-x.parquet"
    tables.write(valid(), path)
    before = path.read_bytes()
    with pytest.raises(TableError, match=r"ranking-x\.parquet"):
        tables.write(BREACHES[case][0](valid()), path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("case", BREACHES)
def test_breach_on_disk_is_refused(case: str, tmp_path: Path) -> None:
    path = tmp_path / "ranking-x.parquet"
    BREACHES[case][0](valid()).to_parquet(path)
    with pytest.raises(TableError, match=r"ranking-x\.parquet"):
        tables.read(path)


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "seed=1" / "ranking-x.parquet"  # no partition: the folder's name adds no column
    path.parent.mkdir()
    tables.write(valid(), path)
    pd.testing.assert_frame_equal(tables.read(path), valid())
    assert list(path.parent.iterdir()) == [path]


def test_failed_write_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "ranking-x.parquet").mkdir()  # a folder in the way: everything but the last step succeeds
    with pytest.raises(OSError, match="ranking-x"):
        tables.write(valid(), tmp_path / "ranking-x.parquet")
    assert [path.name for path in tmp_path.iterdir()] == ["ranking-x.parquet"]


def test_missing_table(tmp_path: Path) -> None:
    with pytest.raises(TableError, match=r"x\.parquet: no such table; run the stage that makes it first"):
        tables.read(tmp_path / "x.parquet")


def test_truncated_table_is_refused_at_every_length(tmp_path: Path) -> None:
    path = tmp_path / "x.parquet"
    tables.write(valid(), path)
    whole = path.read_bytes()
    for length in range(0, len(whole), 97):
        path.write_bytes(whole[:length])
        with pytest.raises(TableError, match=r"x\.parquet: not a readable parquet file .*; delete it"):
            tables.read(path)


@pytest.mark.parametrize("raw", [b"query_id,rank\n1,2\n", b"PAR1", b"PAR1" * 50, bytes(1000)])
def test_other_files_are_refused(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "x.parquet"
    path.write_bytes(raw)
    with pytest.raises(TableError, match="not a readable parquet file"):
        tables.read(path)


def test_from_scores_worked_by_hand() -> None:
    rows = pd.DataFrame(
        {
            "query_id": ["9_A", "1_B", "9_A", "1_B", "9_A"],
            "label_id": [5, 1, 3, 2, 4],
            "score": [0.1, 0.0, 0.1, 0.7, 0.9],
        }
    )
    table = tables.validate(tables.from_scores(rows), "made")
    assert table["query_id"].tolist() == ["9_A"] * 3 + ["1_B"] * 2
    assert table["label_id"].tolist() == [4, 3, 5, 2, 1]
    assert table["rank"].tolist() == [1, 2, 3, 1, 2]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("seed", range(12))
def test_from_scores_and_from_matrix_agree(seed: int, dtype: type) -> None:
    rng = np.random.default_rng(seed)
    n_queries, n_ids = int(rng.integers(1, 8)), int(rng.integers(1, 40))
    ids = rng.permutation(100)[:n_ids]
    # Few levels make many ties; the second term makes ties of float32 that are none of float64.
    matrix: np.ndarray = (
        rng.integers(-2, 3, (n_queries, n_ids)) / 3 + rng.integers(0, 2, (n_queries, n_ids)) * 1e-12
    ).astype(dtype)
    queries = [f"{q}_A" for q in rng.permutation(n_queries)]
    rows = pd.DataFrame(
        {"query_id": np.repeat(queries, n_ids), "label_id": np.tile(ids, n_queries), "score": matrix.ravel()}
    )
    ranked = tables.from_scores(rows)
    for top_k in (1, 5, n_ids, n_ids + 3):
        table = tables.from_matrix(queries, ids, matrix, top_k)
        tables.validate(table, "made")
        pd.testing.assert_frame_equal(table, tables.cut(ranked, top_k), check_dtype=False)
        assert [str(table[c].dtype) for c in ("label_id", "score", "rank")] == ["int32", "float32", "int32"]


def test_equal_scores_stand_by_id_whatever_the_order_of_the_columns() -> None:
    table = tables.from_matrix(["1_A"], np.array([30, 10, 20]), np.zeros((1, 3), dtype=np.float32), 3)
    assert table["label_id"].tolist() == [10, 20, 30]


def test_cut_keeps_the_first_of_every_query() -> None:
    table = tables.validate(tables.cut(valid(), 2), "cut")
    assert table["label_id"].tolist() == [7, 0, 0, 9]


@pytest.mark.parametrize("top_k", [1, 7, 40, 50])
@pytest.mark.parametrize("levels", [1, 3, 1000], ids=["all equal", "many ties", "few ties"])
def test_the_best_columns_are_those_of_a_stable_sort_of_whole_rows(top_k: int, levels: int) -> None:
    scores = np.random.default_rng(0).integers(levels, size=(60, 40)).astype(np.float32)
    expected = np.argsort(-scores, axis=1, kind="stable")[:, :top_k]
    assert (tables.best_columns(scores, top_k) == expected).all()


def test_ranked_in_blocks_a_table_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    scores = np.random.default_rng(0).integers(5, size=(10, 40)).astype(np.float32)
    ids, queries = np.arange(40)[::-1].copy(), [f"{n}_A" for n in range(10)]
    whole = tables.from_matrix(queries, ids, scores, 25)
    monkeypatch.setattr(tables, "BLOCK", 120)  # three rows at a time
    assert len(tables.parts(*scores.shape)) == 4
    pd.testing.assert_frame_equal(tables.from_matrix(queries, ids, scores, 25), whole)


def test_rows_of_one_query_and_misconception_have_one_key_in_all_tables() -> None:
    one, other = valid(), valid().iloc[[3, 4, 0]].assign(label_id=[9, 5, 7])
    queries, (first, second) = tables.keys(one, other)
    assert queries.tolist() == ["20_A", "3_B"]
    assert (first >> 32).tolist() == [0, 0, 0, 1, 1] and (first & 0xFFFFFFFF).tolist() == [7, 0, 3, 0, 9]
    assert second.tolist() == [first[4], (1 << 32) + 5, first[0]]
