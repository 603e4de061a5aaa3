"""What an LLM writes about each query before anything is retrieved: `query_id, reason`, one short text a query.

Retrievers and prompts read it as the field `reason`; a query without one is read as it is.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cascade.base.errors import TableError
from cascade.config.schema import Reason
from cascade.rankings import tables

FILE = Reason.table
COLUMNS = ["query_id", "reason"]


def validate(table: pd.DataFrame, what: str) -> pd.DataFrame:
    """The table itself if it keeps the contract, else a TableError that names the breach."""
    again = "run reason.ipynb again"
    if list(table.columns) != COLUMNS:
        raise TableError(f"columns are {list(table.columns)}, not {COLUMNS}", path=what, mend=again)
    if table.empty or table.isna().to_numpy().any():
        raise TableError("has no rows or missing values", path=what, mend=again)
    if not all(pd.api.types.is_string_dtype(table[column]) for column in COLUMNS):
        raise TableError("a column is not text", path=what, mend=again)
    twice = table["query_id"].duplicated()
    if twice.any():
        raise TableError("occurs twice", path=what, key=f"query {table['query_id'][twice].iloc[0]}", mend=again)
    return table


def write(table: pd.DataFrame, path: Path) -> None:
    """Validates, then writes so that a reader sees the old table or the new one, never a part."""
    validate(table, path.name)
    tables.replace(table, path)


def read(path: Path) -> pd.DataFrame:
    """The table at `path`, validated; TableError where it is missing, unreadable or broken."""
    if not path.is_file():
        raise TableError("no such table", path=path, mend="run reason.ipynb first")
    try:
        table = pd.read_parquet(path)
    except Exception as error:  # pyarrow has a dozen ways to say so
        raise TableError(
            f"not a readable parquet file ({type(error).__name__})", path=path, mend="delete it"
        ) from error
    return validate(table, str(path))


def join(queries: pd.DataFrame, reasons: pd.DataFrame | None) -> pd.DataFrame:
    """`queries` with a column `reason`: what was written about each, else empty."""
    written = {} if reasons is None else dict(zip(reasons["query_id"], reasons["reason"], strict=True))
    return queries.assign(reason=[written.get(query, "") for query in queries["query_id"]])
