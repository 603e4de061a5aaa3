"""Submission zero: a valid submission.csv before anything else is tried.

It must run in the image's own Python and on any test.csv the rerun may bring, so it needs only
pandas and scikit-learn, and reads leniently.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd

from cascade.base.csv_reader import read
from cascade.base.errors import TableError
from cascade.competitions import submission
from cascade.competitions.lenient_csv import known, misconceptions, queries
from cascade.rankings import tables
from cascade.retrievers.tfidf import tfidf_blocks

FILE = "submission-zero.csv"
LONGEST = 10_000  # characters of a text that TF-IDF reads: one of megabytes took 20 to 40 s


def rows(data: Path) -> dict[str, list[int]]:
    """`query_id -> 25 ids` for every wrong answer of test.csv."""
    asked, mapping = queries(read(data / "test.csv")), misconceptions(data)
    ids = mapping["MisconceptionId"].to_numpy()
    names = mapping["MisconceptionName"].str[:LONGEST].tolist()
    try:
        blocks = tfidf_blocks([text[:LONGEST] for text in asked.values()], names)
        best = [tables.best_columns(scores, submission.ROW_LENGTH) for scores in blocks]
    except ValueError:  # no word in any name: nothing to rank by
        return {query: ids[: submission.ROW_LENGTH].tolist() for query in asked}
    return dict(zip(asked, ids[np.concatenate(best)].tolist(), strict=True)) if best else {}


def frequent_rows(data: Path) -> dict[str, list[int]]:
    """`query_id -> 25 ids` of test.csv, the same for all: the most frequent labels of train.csv, then the mapping's.

    A valid submission in seconds, however large the data is; train.csv may be missing or broken.
    """
    ids = misconceptions(data)["MisconceptionId"]
    try:
        train = read(data / "train.csv")
        cells = pd.concat([train[name] for name in train.columns.astype(str) if name.startswith("Misconception")])
        counts = pd.to_numeric(cells, errors="coerce").value_counts()
        ids = ids.iloc[np.argsort(-ids.map(counts).fillna(0).to_numpy(), kind="stable")]
    except (OSError, ValueError, csv.Error):
        pass
    return dict.fromkeys(queries(read(data / "test.csv")), ids.tolist()[: submission.ROW_LENGTH])


def write(data: Path, out: Path, anew: bool = False) -> dict[str, list[int]]:
    """Writes submission.csv, and the same under a name of its own, from which later rows are filled up.

    A submission.csv that is there and valid stays, as no earlier run's can be worse; with `anew` it gives way.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / submission.FILE
    stands = path.exists() and not anew and is_valid(path, data)
    if not path.exists():
        submission.write(frequent_rows(data), path)  # TF-IDF took 45 CPU seconds for 200,000 labels
    made = rows(data)
    if not stands:
        submission.write(made, path)
    submission.write(made, out / FILE)
    return made


def is_valid(path: Path, data: Path) -> bool:
    """Whether the file is a submission for all that test.csv asks, as leniently as that is read here."""
    try:
        submission.validate(path, list(queries(read(data / "test.csv"))), known(data))
    except TableError:
        return False
    return True
