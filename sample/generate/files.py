"""The CSV files of a sample, and how many rows they may have."""

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

from cascade.base.errors import DataError


def check_sizes(questions: int, test: int) -> None:
    """DataError where the test would have no row, or leave none to train."""
    if not 0 < test < questions:
        raise DataError(f"--test {test}: must be more than 0 and less than --questions {questions}")


def write(path: Path, header: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Writes a header and rows, with the same bytes on every system."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(header)
        writer.writerows(rows)
