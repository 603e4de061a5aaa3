"""submission.csv: written atomically, read strictly, checked. Needs pandas only."""

from __future__ import annotations

import os
from pathlib import Path

import pandas as pd

from cascade.base import atomic, csv_reader
from cascade.base.errors import TableError
from cascade.competitions.base import Asked, Rows

FILE = "submission.csv"
LAST = "submission-last.csv"  # a copy of the last valid one, which takes its place where a stage spoils it
SAMPLE = "sample_submission.csv"


def row_length(asked: Asked) -> int:
    """How many labels a row has."""
    return min(asked.competition.depth, len(asked.texts))


def write(rows: Rows, asked: Asked, path: Path) -> None:
    """Writes the rows in their order; a reader sees the old file or the new, never a part."""
    (id_, label), texts = asked.competition.columns, asked.texts
    frame = pd.DataFrame({id_: list(rows), label: [asked.competition.cell(ids, texts) for ids in rows.values()]})
    with atomic.replaced(path) as partial:
        frame.to_csv(partial, index=False)
        with partial.open("rb") as file:
            os.fsync(file.fileno())


def read(path: Path, asked: Asked) -> dict[str, list[int]]:
    """`query_id -> label ids` as the file has them; TableError where it is no submission."""
    columns, texts = [*asked.competition.columns], asked.texts
    header, cells = read_cells(path)
    try:
        if header != columns:
            raise ValueError(f"columns are {header}, not {columns}")
        return {query_id: asked.competition.parse(cell, texts) for query_id, cell in cells.items()}
    except ValueError as error:
        raise _refused(path, error) from error


def read_cells(path: Path) -> tuple[list[str], dict[str, str]]:
    """The header, and each row's labels as they stand there, by its query's id; TableError where it is no such file."""
    try:
        raw = path.read_bytes()
        if not raw.endswith(b"\n"):
            raise ValueError("its last line is cut off")
        header, rows = csv_reader.strict(csv_reader.decoded(raw))
        found: dict[str, str] = {}
        for query_id, *rest in rows:
            if query_id in found:
                raise ValueError(f"{query_id} occurs twice")
            found[query_id] = rest[0] if rest else ""
        return header, found
    except (OSError, ValueError) as error:
        raise _refused(path, error) from error


def _refused(path: Path, error: Exception) -> TableError:
    return TableError(f"not a submission: {str(error).strip()}", path=path, mend="run again")


def validate(path: Path, asked: Asked) -> None:
    """TableError unless the file holds every query once, in order, with as many distinct known labels as it must."""
    check(read(path, asked), asked, str(path))


def check(rows: Rows, asked: Asked, what: str) -> None:
    """Validates rows that are not written yet, as `validate` does a file."""
    length, known, query_ids = row_length(asked), asked.texts.keys(), list(asked.asked)
    if list(rows) != query_ids:
        wrong = next((a for a, b in zip(rows, query_ids, strict=False) if a != b), "the number of rows")
        raise TableError(
            f"its rows are not those of test.csv in the same order (first difference: {wrong})",
            path=what,
            mend="run again",
        )
    for query_id, ids in rows.items():
        if len(ids) != length or len(set(ids)) != length:
            raise TableError(
                f"has {len(set(ids))} distinct labels, not {length}", path=what, key=query_id, mend="run again"
            )
        if not known >= set(ids):
            raise TableError("has an id that no label has", path=what, key=query_id, mend="run again")


def check_against_sample(folder: Path, asked: Asked) -> list[str]:
    """What a sample_submission.csv, where the folder has one, says otherwise than test.csv; one sentence at most."""
    sample, columns = folder / SAMPLE, [*asked.competition.columns]
    if not sample.is_file():
        return []
    try:
        header, rows = csv_reader.strict(csv_reader.decoded(sample.read_bytes()))
        if header != columns:
            return [f"{sample.name}: columns are {header}, not {columns}; check the competition's page"]
        differing = sorted({query_id for query_id, *_ in rows} ^ set(asked.asked))
    except ValueError as error:
        return [f"{sample.name}: not a CSV table ({str(error).strip()}); download it again"]
    if differing:
        return [f"{sample.name}: {len(differing)} rows differ from test.csv's, {differing[0]} first; check the folder"]
    return []
