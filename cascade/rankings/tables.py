"""Ranking tables: the only thing that passes from one stage to the next.

A table has one row per query and ranked label: `query_id` (str, of what is asked),
`label_id` (int32), `score` (float32, finite, non-increasing with rank) and `rank`
(int32, 1..k without gaps within a query). Rows stand by query, then by rank.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import shorten

import numpy as np
import pandas as pd

from cascade.base import atomic
from cascade.base.errors import ScoreError, TableError

COLUMNS = ["query_id", "label_id", "score", "rank"]
BLOCK = 2_500_000  # scores that are held and sorted at a time


def from_scores(rows: pd.DataFrame) -> pd.DataFrame:
    """Ranks `query_id, label_id, score` rows by falling score; ties by label id.

    Queries keep the order in which they first appear.
    """
    query, queries = pd.factorize(rows["query_id"])
    query = query.astype(np.min_scalar_type(len(queries)))  # numbers of two bytes are sorted by radix
    score, id_ = rows["score"].to_numpy(np.float32), rows["label_id"].to_numpy(np.int32)
    order = np.lexsort((id_, -score, query))
    return pd.DataFrame(
        {
            "query_id": rows["query_id"].take(order).reset_index(drop=True),
            "label_id": id_[order],
            "score": score[order],
            "rank": places(query[order]),
        }
    )


def places(query: np.ndarray) -> np.ndarray:
    """Ranks 1, 2, 3, … within each run of equal numbers: int32."""
    first = np.flatnonzero(changes(query))
    lengths = np.diff(np.append(first, len(query)))
    return np.arange(1, len(query) + 1, dtype=np.int32) - np.repeat(first.astype(np.int32), lengths)


def changes(query: np.ndarray) -> np.ndarray:
    """Whether each number differs from the one before it; the first does."""
    first: np.ndarray = np.r_[True, query[1:] != query[:-1]][: len(query)]
    return first


def keys(*rankings: pd.DataFrame) -> tuple[pd.Index, list[np.ndarray]]:
    """Lists all queries in the order in which they first appear, with a number for every row of each ranking.

    It is the query's place there times 2^32, plus the label's id: joining by such numbers takes a tenth of
    what joining by texts does.
    """
    place: dict[str, int] = {}
    found = []
    for ranking in rankings:
        query, queries = pd.factorize(ranking["query_id"])
        number = np.array([place.setdefault(each, len(place)) for each in queries.tolist()], dtype=np.int64)
        found.append((number[query] << 32) + ranking["label_id"].to_numpy(np.int64))
    return pd.Index(list(place)), found


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


def from_matrix(query_ids: list[str], label_ids: np.ndarray, scores: np.ndarray, top_k: int) -> pd.DataFrame:
    """The `top_k` best columns of every row of `scores` [n_queries, n_labels] as a table."""
    blocks = (scores[rows] for rows in parts(len(query_ids), len(label_ids)))
    return from_blocks(query_ids, label_ids, blocks, top_k)


def parts(rows: int, columns: int) -> list[slice]:
    """Cuts the rows of a matrix of scores into parts of about `BLOCK` scores."""
    step = max(1, BLOCK // max(1, columns))
    return [slice(start, start + step) for start in range(0, rows, step)]


def from_blocks(query_ids: list[str], label_ids: np.ndarray, blocks: Iterable[np.ndarray], top_k: int) -> pd.DataFrame:
    """Makes the table of a matrix that is given some rows at a time, as `from_matrix` does of a whole one."""
    top_k = min(top_k, len(label_ids))
    # Columns in rising order of id break ties by label id, as `from_scores` does.
    by_id = np.argsort(label_ids, kind="stable")
    ids = label_ids[by_id].astype(np.int32)
    in_order = bool((by_id[1:] > by_id[:-1]).all())
    best = np.empty((len(query_ids), top_k), dtype=np.int32)
    values = np.empty((len(query_ids), top_k), dtype=np.float32)
    start = 0
    for scores in blocks:
        # What is a tie is decided in the table's own precision.
        block = scores.astype(np.float32, copy=False)
        block = block if in_order else block[:, by_id]
        columns = best_columns(block, top_k)
        best[start : start + len(block)] = ids[columns]
        values[start : start + len(block)] = np.take_along_axis(block, columns, axis=1)
        start += len(block)
    return pd.DataFrame(
        {
            "query_id": pd.Series(query_ids, dtype=str).repeat(top_k).reset_index(drop=True),
            "label_id": best.ravel(),
            "score": values.ravel(),
            "rank": np.tile(np.arange(1, top_k + 1, dtype=np.int32), len(query_ids)),
        }
    )


def validate(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """The table itself if it keeps the contract, else a TableError that names the first breach."""
    if list(table.columns) != COLUMNS:
        raise TableError(f"columns are {list(table.columns)}, not {COLUMNS}", path=what, mend="run its stage again")
    if table.empty:
        raise TableError("has no rows", path=what, mend="run its stage again")
    if any(table[column].isna().any() for column in COLUMNS):
        raise TableError("has missing values", path=what, mend="run its stage again")

    def refuse(bad: np.ndarray, why: str) -> None:
        if bad.any():
            query = table["query_id"].iloc[int(bad.argmax())]
            raise TableError(why, path=what, key=f"query {query}", mend="run its stage again")

    if not pd.api.types.is_string_dtype(table["query_id"]):
        raise TableError(
            f"is {table['query_id'].dtype}, not text", path=what, key="query_id", mend="run its stage again"
        )
    score = table["score"].to_numpy()
    if score.dtype != np.float32:
        raise TableError(f"is {score.dtype}, not float32", path=what, key="score", mend="run its stage again")
    for column in ("label_id", "rank"):
        if table[column].dtype.kind != "i":
            raise TableError(
                f"is {table[column].dtype}, not an integer", path=what, key=column, mend="run its stage again"
            )
    refuse(~np.isfinite(score), "a score is not finite")
    query = pd.factorize(table["query_id"])[0]
    first = changes(query)
    again = first.copy()
    again[first] = pd.Series(query[first]).duplicated()
    refuse(again, "its rows are not consecutive")
    rank = table["rank"].to_numpy()
    refuse(np.where(first, rank != 1, rank != np.r_[0, rank[:-1] + 1]), "ranks are not 1, 2, 3, … in order")
    refuse(~first & (score > np.r_[np.float32(np.inf), score[:-1]]), "a score rises with the rank")
    pair = (query << 32) + table["label_id"].to_numpy(np.int64)
    refuse(pd.Series(pair).duplicated().to_numpy(), "a label occurs twice")
    return table


def write(table: pd.DataFrame, path: Path) -> None:
    """Validates, then writes so that a reader sees the old table or the new one, never a part."""
    validate(table, path.name)
    replace(table, path)


def replace(table: pd.DataFrame, path: Path) -> None:
    """Writes any table as parquet, whole or not at all."""
    with atomic.replaced(path) as partial:
        table.to_parquet(partial, index=False)


def read(path: Path) -> pd.DataFrame:
    """The table at `path`, validated; TableError where it is missing, unreadable or broken."""
    if not path.is_file():
        raise TableError("no such table", path=path, mend="run the stage that makes it first")
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # pyarrow has a dozen ways to say so, and a torn file can meet any of them
        raise TableError(
            f"not a readable parquet file ({type(error).__name__})", path=path, mend="delete it"
        ) from error
    return validate(table, str(path))


def cut(table: pd.DataFrame, top_k: int) -> pd.DataFrame:
    """The first `top_k` of every query."""
    return table[table["rank"] <= top_k].reset_index(drop=True)


def ids(table: pd.DataFrame) -> dict[str, list[int]]:
    """Each query's label ids, best first."""
    query, queries = pd.factorize(table["query_id"])
    ranked = table["label_id"].to_numpy()[np.argsort(query, kind="stable")].tolist()
    ends = np.cumsum(np.bincount(query, minlength=len(queries))).tolist()
    return {each: ranked[start:end] for each, start, end in zip(queries.tolist(), [0, *ends], ends, strict=False)}


def from_rows(queries: Iterable[str], rows: Mapping[str, Sequence[int]]) -> pd.DataFrame | None:
    """The ranking of a submission's rows, whose score is 1/rank; None where they hold none of the queries."""
    ranked = [(query, id_, 1 / rank)
              for query in queries for rank, id_ in enumerate(dict.fromkeys(rows.get(query, [])), start=1)]  # fmt: skip
    if not ranked:
        return None
    return from_scores(pd.DataFrame(ranked, columns=["query_id", "label_id", "score"]))


def check_finite(scores: np.ndarray, names: Sequence[str]) -> None:
    """ScoreError for the first row of `scores` [n, m] that holds a NaN or an infinite number, by its text's name."""
    bad = ~np.isfinite(scores).all(axis=1)
    if bad.any():
        name = shorten(names[int(bad.argmax())], 120)
        raise ScoreError(
            f"its score is not a finite number ({bad.sum()} of {len(bad)} are not): the model overflows in this "
            "precision",
            key=f"prompt {name}",
            mend="try another dtype or quantisation",
        )
