"""Submission zero: a valid submission.csv before anything else is tried.

It must run in the image's own Python and on any test.csv the rerun may bring, so it needs only
pandas and scikit-learn, and goes by the competition's outline, which is read leniently.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from cascade.base.errors import TableError
from cascade.competitions import submission
from cascade.competitions.base import Outline, Rows
from cascade.rankings import fusion, tables
from cascade.retrievers.tfidf import tfidf_blocks

FILE = "submission-zero.csv"
LONGEST = 10_000  # characters of a text that TF-IDF reads: one of megabytes took 20 to 40 s


def rows(outline: Outline) -> dict[str, list[int]]:
    """`query_id -> label ids` of all that is asked: the competition's guesses, then by TF-IDF."""
    asked, ids, length = outline.asked, np.array(list(outline.texts)), submission.row_length(outline)
    try:
        blocks = tfidf_blocks(
            [text[:LONGEST] for text in asked.values()], [text[:LONGEST] for text in outline.texts.values()]
        )
        best = [tables.best_columns(scores, length) for scores in blocks]
    except ValueError:  # no word in any label: nothing to rank by
        best = [np.tile(np.arange(length), (len(asked), 1))]
    found = dict(zip(asked, ids[np.concatenate(best)].tolist(), strict=True)) if best else {}
    return {query: fusion.fill(outline.guesses.get(query, ()), row, length=length) for query, row in found.items()}


def frequent_rows(outline: Outline) -> Rows:
    """The guesses, then the most frequent labels: in no time, however large the data is."""
    length = submission.row_length(outline)
    first = tuple(outline.frequent[:length])
    guesses = {query: fusion.fill(ids, outline.frequent, length=length) for query, ids in outline.guesses.items()}
    return {query: guesses.get(query, first) for query in outline.asked}


def write(outline: Outline, out: Path, anew: bool = False) -> dict[str, list[int]]:
    """Writes submission.csv, and the same under a name of its own, from which later rows are filled up.

    A submission.csv that is there and valid stays, as no earlier run's can be worse; with `anew` it gives way.
    """
    out.mkdir(parents=True, exist_ok=True)
    path = out / submission.FILE
    stands = path.exists() and not anew and is_valid(path, outline)
    if not path.exists():
        submission.write(frequent_rows(outline), outline, path)  # TF-IDF took 45 CPU seconds for 200,000 labels
    made = rows(outline)
    if not stands:
        submission.write(made, outline, path)
    submission.write(made, outline, out / FILE)
    return made


def is_valid(path: Path, outline: Outline) -> bool:
    """Whether the file is a submission for all that is asked."""
    try:
        submission.validate(path, outline)
    except TableError:
        return False
    return True
