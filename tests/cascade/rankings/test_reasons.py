"""The table of reasons: its contract, and how queries get theirs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from cascade.base.errors import TableError
from cascade.rankings import reasons

GOOD = pd.DataFrame({"query_id": ["a", "b"], "reason": ["Adds across.", ""]})


def test_what_is_written_is_read(tmp_path: Path) -> None:
    path = tmp_path / reasons.FILE
    reasons.write(GOOD, path)
    pd.testing.assert_frame_equal(reasons.read(path), GOOD)
    assert [each.name for each in tmp_path.iterdir()] == [reasons.FILE]


BREACHES: dict[str, tuple[Any, str]] = {
    "a column more": (GOOD.assign(score=1.0), r"columns are \['query_id', 'reason', 'score'\], not"),
    "a column less": (GOOD[["query_id"]], r"columns are \['query_id'\], not"),
    "another order": (GOOD[["reason", "query_id"]], r"columns are \['reason', 'query_id'\], not"),
    "no rows": (GOOD.head(0), "has no rows or missing values"),
    "a missing reason": (GOOD.assign(reason=["x", None]), "has no rows or missing values"),
    "a missing query": (GOOD.assign(query_id=["x", None]), "has no rows or missing values"),
    "numbers": (GOOD.assign(reason=[1, 2]), "a column is not text"),
    "a number among texts": (GOOD.assign(reason=pd.Series(["x", 2], dtype=object)), "a column is not text"),
    "a query twice": (GOOD.assign(query_id=["b", "b"]), "query b: occurs twice"),
}


@pytest.mark.parametrize("breach", BREACHES)
def test_a_breach_is_named_and_leaves_the_table_as_it_was(tmp_path: Path, breach: str) -> None:
    path = tmp_path / reasons.FILE
    reasons.write(GOOD, path)
    table, told = BREACHES[breach]
    with pytest.raises(TableError, match=f"^reasons.parquet: {told}.*; run reason.ipynb again$"):
        reasons.write(table, path)
    pd.testing.assert_frame_equal(reasons.read(path), GOOD)


@pytest.mark.parametrize("breach", [name for name in BREACHES if name != "a number among texts"])
def test_a_breach_on_disk_is_named_with_its_file(tmp_path: Path, breach: str) -> None:
    path = tmp_path / reasons.FILE
    table, told = BREACHES[breach]
    table.to_parquet(path, index=False)
    with pytest.raises(TableError, match=f"{path}: {told}"):
        reasons.read(path)


def test_a_torn_file_is_named(tmp_path: Path) -> None:
    path = tmp_path / reasons.FILE
    reasons.write(GOOD, path)
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(TableError, match=f"{path}: not a readable parquet file .*; delete it"):
        reasons.read(path)


def test_a_file_that_is_not_there_is_not_one_to_delete(tmp_path: Path) -> None:
    with pytest.raises(TableError, match="parquet") as caught:
        reasons.read(tmp_path / reasons.FILE)
    assert "delete it" not in str(caught.value)


def test_a_write_that_fails_leaves_nothing_behind(tmp_path: Path) -> None:
    (tmp_path / reasons.FILE).mkdir()  # a file cannot take the place of a folder
    with pytest.raises(OSError, match="directory"):
        reasons.write(GOOD, tmp_path / reasons.FILE)
    assert [each.name for each in tmp_path.iterdir()] == [reasons.FILE]


def test_queries_get_their_reasons_and_those_without_stay_empty() -> None:
    queries = pd.DataFrame({"query_id": ["c", "b", "a"], "question": ["3", "2", "1"]}, index=[5, 6, 7])
    written = pd.DataFrame({"query_id": ["a", "c", "z"], "reason": ["first", "third", "nobody's"]})
    joined = reasons.join(queries, written)
    assert joined["reason"].tolist() == ["third", "", "first"]
    assert joined.index.tolist() == [5, 6, 7]
    assert list(queries.columns) == ["query_id", "question"], "the queries themselves were changed"
    assert reasons.join(queries, None)["reason"].tolist() == ["", "", ""]
    assert reasons.join(joined, None)["reason"].tolist() == ["", "", ""]
