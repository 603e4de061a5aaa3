"""Ranking tables: the only thing that passes from one stage to the next.

A table has one row per query and ranked misconception: `query_id` (str, `QuestionId_Answer`),
`misconception_id` (int32), `score` (float32, finite, non-increasing with rank) and `rank`
(int32, 1..k without gaps within a query). Rows stand by query, then by rank.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cascade import whole
from cascade.errors import TableError

COLUMNS = ["query_id", "misconception_id", "score", "rank"]
BLOCK = 4_000_000  # scores that are sorted at a time


def from_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Ranks `query_id, misconception_id, score` rows by falling score; ties by misconception id.

    Queries keep the order in which they first appear.
    """
    order = pd.factorize(rows["query_id"])[0]
    table = rows.assign(
        _query=order, score=rows["score"].astype(np.float32), misconception_id=rows["misconception_id"].astype(np.int32)
    ).sort_values(["_query", "score", "misconception_id"], ascending=[True, False, True], kind="stable")
    table["rank"] = table.groupby("_query").cumcount().add(1).astype(np.int32)
    return table[COLUMNS].reset_index(drop=True)


def best_columns(scores: np.ndarray, top_k: int) -> np.ndarray:
    """The `top_k` best columns of every row, best first, ties by column: int64 [n_rows, top_k].

    As a stable sort of whole rows, of which it sorts only what reaches the last place.
    """
    top_k = min(top_k, scores.shape[1])
    if not scores.size:
        return np.zeros((len(scores), top_k), dtype=np.int64)
    last = -np.partition(-scores, top_k - 1, axis=1)[:, top_k - 1 : top_k]
    row, column = np.nonzero(~(scores < last))
    order = np.lexsort((column, -scores[row, column], row))
    first = np.searchsorted(row, np.arange(len(scores)))
    best: np.ndarray = column[order[first[:, None] + np.arange(top_k)]]
    return best


def from_matrix(query_ids: list[str], misconception_ids: np.ndarray, scores: np.ndarray, top_k: int) -> pd.DataFrame:
    """The `top_k` best columns of every row of `scores` [n_queries, n_misconceptions] as a table."""
    top_k = min(top_k, len(misconception_ids))
    # Columns in rising order of id break ties by misconception id, as `from_scores` does.
    by_id = np.argsort(misconception_ids, kind="stable")
    best = np.empty((len(scores), top_k), dtype=np.int64)
    values = np.empty((len(scores), top_k), dtype=np.float32)
    step = max(1, BLOCK // max(1, len(misconception_ids)))
    for start in range(0, len(scores), step):
        # What is a tie is decided in the table's own precision.
        block = scores[start : start + step].astype(np.float32, copy=False)[:, by_id]
        columns = best_columns(block, top_k)
        best[start : start + step] = by_id[columns]
        values[start : start + step] = np.take_along_axis(block, columns, axis=1)
    return pd.DataFrame(
        {
            "query_id": np.repeat(np.asarray(query_ids, dtype=object), top_k),
            "misconception_id": misconception_ids[best].ravel().astype(np.int32),
            "score": values.ravel(),
            "rank": np.tile(np.arange(1, top_k + 1, dtype=np.int32), len(query_ids)),
        }
    )


def validate(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """The table itself if it keeps the contract, else a TableError that names the first breach."""
    if list(table.columns) != COLUMNS:
        raise TableError(f"{what}: columns are {list(table.columns)}, a ranking has {COLUMNS}; run its stage again")
    if table.empty:
        raise TableError(f"{what}: has no rows; run its stage again")
    if table.isna().to_numpy().any():
        raise TableError(f"{what}: has missing values; run its stage again")

    def refuse(bad: np.ndarray, why: str) -> None:
        if bad.any():
            query = table["query_id"].iloc[int(bad.argmax())]
            raise TableError(f"{what}: query {query}: {why}; run its stage again")

    if not pd.api.types.is_string_dtype(table["query_id"]):
        raise TableError(f"{what}: query_id is {table['query_id'].dtype}, not text; run its stage again")
    score = table["score"].to_numpy()
    if score.dtype != np.float32:
        raise TableError(f"{what}: score is {score.dtype}, not float32; run its stage again")
    for column in ("misconception_id", "rank"):
        if table[column].dtype.kind != "i":
            raise TableError(f"{what}: {column} is {table[column].dtype}, not an integer; run its stage again")
    refuse(~np.isfinite(score), "a score is not finite")
    query = table["query_id"].to_numpy()
    first = np.r_[True, query[1:] != query[:-1]]
    refuse(first & table["query_id"].duplicated().to_numpy(), "its rows do not stand together")
    rank = table["rank"].to_numpy()
    refuse(np.where(first, rank != 1, rank != np.r_[0, rank[:-1] + 1]), "ranks are not 1, 2, 3, … in order")
    refuse(~first & (score > np.r_[np.float32(np.inf), score[:-1]]), "a score rises with the rank")
    refuse(table.duplicated(["query_id", "misconception_id"]).to_numpy(), "a misconception stands there twice")
    return table


def write(table: pd.DataFrame, path: Path) -> None:
    """Validates, then writes so that a reader sees the old table or the new one, never a part."""
    validate(table, path.name)
    replace(table, path)


def replace(table: pd.DataFrame, path: Path) -> None:
    """Writes any table as parquet, whole or not at all."""
    with whole.replaced(path) as partial:
        table.to_parquet(partial, index=False)


def read(path: Path) -> pd.DataFrame:
    """The table at `path`, validated; TableError where it is missing, unreadable or broken."""
    if not path.is_file():
        raise TableError(f"{path}: no such table; run the stage that makes it first")
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # pyarrow has a dozen ways to say so, and a torn file can meet any of them
        raise TableError(f"{path}: not a readable parquet file ({type(error).__name__}); delete it") from error
    return validate(table, str(path))


def cut(table: pd.DataFrame, top_k: int) -> pd.DataFrame:
    """The first `top_k` of every query."""
    return table[table["rank"] <= top_k].reset_index(drop=True)
