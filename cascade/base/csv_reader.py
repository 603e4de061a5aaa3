"""The one reader of CSV: the run, submission zero and the check of a submission read the same of the same file.

Not pandas' parser: 3.0.2 ends a cell at a NUL without a word. Needs pandas alone beside the standard library.
"""

from __future__ import annotations

import csv
import io
import sys
from pathlib import Path

import pandas as pd

_END = "end-of-file"  # a last row: where it is no row of its own, a quote before it is not closed


def encoding(raw: bytes) -> str:
    """`utf-16…` where the bytes begin as such a file does, with its mark or without, else `utf-8-sig`."""
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    head = raw[: len(raw[:64]) // 2 * 2]
    halves = head[1::2], head[::2]
    return next((f"utf-16-{order}" for half, order in zip(halves, ("le", "be"), strict=True) if half and not any(half)),
                "utf-8-sig")  # fmt: skip


def decoded(raw: bytes, errors: str = "strict") -> str:
    """The text with LF line ends, within cells too."""
    return raw.decode(encoding(raw), errors).replace("\r\n", "\n").replace("\r", "\n")


def delimiter(text: str) -> str:
    """What separates the header's cells: a comma, unless it has none and another that exports use."""
    header = text.lstrip().partition("\n")[0]
    return next((mark for mark in ",;\t" if mark in header), ",")


def cells(text: str) -> list[list[str]]:
    """The header and the rows of a CSV text, blank lines left out; a cell is whole, whatever characters it has."""
    csv.field_size_limit(sys.maxsize)
    return [row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter(text)) if row]


def strict(text: str) -> tuple[list[str], list[list[str]]]:
    """Header and rows of a text that is comma-separated and whole; ValueError says why it is not."""
    if (mark := delimiter(text)) != ",":
        raise ValueError(f"cells are separated by {mark!r}")
    *rows, end = cells(f"{text}\n{_END}\n")
    if end != [_END]:
        raise ValueError("EOF inside string: a quote is not closed")
    if not rows:
        raise ValueError("the file is empty")
    header, *rows = rows
    for number, row in enumerate(rows, 1):
        if len(row) > len(header):
            raise ValueError(f"row {number} has more cells than the header: expected {len(header)}, saw {len(row)}")
    return header, rows


def frame(header: list[str], rows: list[list[str]]) -> pd.DataFrame:
    """Rows as a table of str: longer ones are cut, shorter ones filled up, of two columns of one name the first."""
    width = len(header)
    table = pd.DataFrame([[*row[:width], *[""] * (width - len(row))] for row in rows], columns=header, dtype=str)
    return table.loc[:, ~table.columns.duplicated()]


def read(path: Path) -> pd.DataFrame:
    """Reads all cells as str, whatever the file is like; ValueError where it has not even a header.

    A quote that is never closed ends with the file.
    """
    header, *rows = cells(decoded(path.read_bytes(), errors="replace"))
    return frame([name.strip() for name in header], rows)
