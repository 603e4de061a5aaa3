"""submission.csv: written atomically, checked, and filled up to 25. Needs pandas only."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import pandas as pd

from cascade.base import atomic, csv_reader
from cascade.base.errors import TableError

ROW_LENGTH = 25
COLUMNS = ["QuestionId_Answer", "MisconceptionId"]
FILE = "submission.csv"
LAST = "submission-last.csv"  # a copy of the last valid one, which takes its place where a stage spoils it


def write(rows: Mapping[str, Sequence[int]], path: Path) -> None:
    """Writes `query_id -> 25 ids` in the mapping's order; a reader sees the old file or the new, never a part."""
    frame = pd.DataFrame(
        {COLUMNS[0]: list(rows), COLUMNS[1]: [" ".join(map(str, ids)) for ids in rows.values()]}, columns=COLUMNS
    )
    with atomic.replaced(path) as partial:
        frame.to_csv(partial, index=False)
        with partial.open("rb") as file:
            os.fsync(file.fileno())


def read(path: Path) -> dict[str, list[int]]:
    """`query_id -> ids` as the file has them; TableError where it is no submission."""
    try:
        raw = path.read_bytes()
        if not raw.endswith(b"\n"):
            raise ValueError("its last line is cut off")
        header, rows = csv_reader.strict(csv_reader.decoded(raw))
        if header != COLUMNS:
            raise ValueError(f"columns are {header}, not {COLUMNS}")
        found: dict[str, list[int]] = {}
        for query_id, *rest in rows:
            if query_id in found:
                raise ValueError(f"{query_id} stands there twice")
            found[query_id] = [_id(each) for each in rest[0].split()] if rest else []
        return found
    except (OSError, ValueError) as error:
        raise TableError(f"{path}: not a submission: {str(error).strip()}; run again") from error


def _id(text: str) -> int:
    """Not all that int() takes for a number: 1_0 and digits of other scripts."""
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ValueError(f"{text!r} is no whole number")
    return int(text)


def validate(path: Path, query_ids: Sequence[str], known: set[int]) -> None:
    """TableError unless the file holds every query once, in order, with 25 distinct known ids."""
    check(read(path), query_ids, known, str(path))


def check(rows: Mapping[str, Sequence[int]], query_ids: Sequence[str], known: set[int], what: str) -> None:
    """As `validate`, for rows that are not written yet."""
    if list(rows) != list(query_ids):
        wrong = next((a for a, b in zip(rows, query_ids, strict=False) if a != b), "the number of rows")
        raise TableError(f"{what}: rows are not test.csv's, in its order (first difference: {wrong}); run again")
    for query_id, ids in rows.items():
        if len(ids) != ROW_LENGTH or len(set(ids)) != ROW_LENGTH:
            raise TableError(f"{what}: {query_id} has {len(set(ids))} distinct ids, not {ROW_LENGTH}; run again")
        if not known.issuperset(ids):
            raise TableError(f"{what}: {query_id} has an id that the mapping lacks; run again")


def check_against_sample(sample: Path, query_ids: Sequence[str]) -> list[str]:
    """What a sample_submission.csv, where there is one, says otherwise than test.csv; one sentence at most."""
    if not sample.is_file():
        return []
    try:
        header, rows = csv_reader.strict(csv_reader.decoded(sample.read_bytes()))
        if header != COLUMNS:
            return [f"{sample.name}: columns are {header}, not {COLUMNS}; check the competition's page"]
        differing = sorted({query_id for query_id, *_ in rows} ^ set(query_ids))
    except ValueError as error:
        return [f"{sample.name}: not a CSV table ({str(error).strip()}); download it again"]
    if differing:
        return [f"{sample.name}: {len(differing)} rows differ from test.csv's, {differing[0]} first; check the folder"]
    return []
