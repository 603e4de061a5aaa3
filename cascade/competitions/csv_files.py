"""A competition's CSV files, checked: what an adaptor reads its columns by. Needs pandas only."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cascade.base import csv_reader
from cascade.base.errors import DataError, nearest

WHOLE = r"[0-9]{1,9}(\.0*)?"  # a cell with an id


def read_csv(path: Path, columns: Sequence[str]) -> pd.DataFrame:
    """Reads all cells as str, unchanged; a byte-order mark and CRLF line ends are accepted.

    DataError for a file that is no such table, or lacks one of `columns`.
    """
    if not path.is_file():
        raise DataError("no such file", path=path, mend="put it into the data folder")
    raw = path.read_bytes()
    if csv_reader.encoding(raw) != "utf-8-sig":
        raise DataError("is UTF-16", path=path, mend="save the file as UTF-8")
    try:
        text = csv_reader.decoded(raw)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"byte 0x{raw[error.start]:02x} is not UTF-8", path=path, key=f"line {line}", mend="save the file as UTF-8"
        ) from error
    try:
        header, rows = csv_reader.strict(text)
    except ValueError as error:
        mend = "export it again" if csv_reader.delimiter(text) == "," else "export it again with commas"
        raise DataError(f"not a CSV table ({error})", path=path, mend=mend) from error
    names = [name.strip() for name in header]
    for column in columns:
        if names.count(column) > 1:
            raise DataError("occurs twice", path=path, key=f"column {column}", mend="remove one of them")
        if column not in names:
            raise DataError(
                f"is missing{nearest(column, names)}", path=path, key=f"column {column}", mend="rename or add it"
            )
    return csv_reader.frame(names, rows)


def read_leniently(path: Path, columns: Sequence[str], keys: Sequence[str]) -> pd.DataFrame | None:
    """The file as far as it can be read, the columns that it lacks empty; None where it lacks one of `keys`."""
    try:
        frame = csv_reader.read(path)
    except (OSError, ValueError, csv.Error):
        return None
    if not set(keys) <= set(frame.columns):
        return None
    for name in columns:
        if name not in frame.columns:
            frame[name] = ""
    for name in keys:
        frame[name] = frame[name].str.strip()
    return frame


def refuse(path: Path, frame: pd.DataFrame, bad: pd.Series | np.ndarray, key: str, why: str, mend: str) -> None:
    """DataError for the first row that `bad` marks, by its `key`; rows are counted from 1 under the header."""
    if bad.any():
        row = int(np.asarray(bad).argmax())
        raise DataError(
            why.format(**frame.iloc[row]),
            path=path,
            key=f"row {row + 1} ({key} {frame[key].iloc[row]})",
            mend=mend,
        )


def whole_numbers(path: Path, frame: pd.DataFrame, column: str, key: str) -> pd.Series:
    """A column of ids as Int64; `1672.0`, as pandas writes a column with gaps, and empty cells are accepted."""
    cells = frame[column].str.strip()
    bad = ~cells.str.fullmatch(WHOLE) & (cells != "") & (cells.str.lower() != "nan")
    refuse(
        path, frame, bad, key, f"{column} is '{{{column}}}'", "it must be a whole number of at most 9 digits, or empty"
    )
    return pd.to_numeric(cells.str.split(".").str[0], errors="coerce").astype("Int64")
