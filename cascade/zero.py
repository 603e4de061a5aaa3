"""Submission zero: a valid submission.csv before anything else is tried.

It must run in the image's own Python and on any test.csv the rerun may bring, so it needs only
pandas and scikit-learn, and reads leniently: any encoding, any columns beside the ids and answers, rows of any length.
"""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import numpy as np
import pandas as pd

from cascade import submission
from cascade.retrievers.tfidf import tfidf_scores

FILE = "submission-zero.csv"


def read(path: Path) -> pd.DataFrame:
    """All cells as str, whatever the file is like; ValueError where it has not even a header.

    Rows of more cells than the header are cut, shorter ones filled up; a quote that is never closed ends with the file.
    pandas refuses both.
    """
    csv.field_size_limit(sys.maxsize)
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as file:
        header, *rows = csv.reader(file)
    cells = [dict(zip(header, row, strict=False)) for row in rows if row]
    return pd.DataFrame(cells, columns=header, dtype=str).fillna("").rename(columns=str.strip)


def queries(questions: pd.DataFrame) -> dict[str, str]:
    """`query_id -> text` for every wrong answer, in the order of `questions`, answers A to D."""
    found = {}
    for question in questions.to_dict("records"):
        told = " ".join(question.get(key, "") for key in ("SubjectName", "ConstructName", "QuestionText"))
        for answer in "ABCD":
            if answer != question.get("CorrectAnswer", "").strip():
                text = f"{told} {question.get(f'Answer{answer}Text', '')}"
                found[f"{question['QuestionId'].strip()}_{answer}"] = text
    return found


def _misconceptions(data: Path) -> pd.DataFrame:
    """The mapping with its ids as int, each once; rows without one are left out."""
    mapping = read(data / "misconception_mapping.csv")
    mapping["MisconceptionId"] = pd.to_numeric(mapping["MisconceptionId"], errors="coerce")
    return mapping.dropna(subset="MisconceptionId").astype({"MisconceptionId": int}).drop_duplicates("MisconceptionId")


def rows(data: Path) -> dict[str, list[int]]:
    """`query_id -> 25 ids` for every wrong answer of test.csv."""
    asked, mapping = queries(read(data / "test.csv")), _misconceptions(data)
    ids = mapping["MisconceptionId"].to_numpy()
    try:
        scores = tfidf_scores(list(asked.values()), mapping["MisconceptionName"].tolist())
    except ValueError:  # no word in any name: nothing to rank by
        scores = np.zeros((len(asked), len(ids)), dtype=np.float32)
    best = np.argsort(-scores, axis=1, kind="stable")[:, : submission.ROW_LENGTH]
    return dict(zip(asked, ids[best].tolist(), strict=True))


def known(data: Path) -> set[int]:
    """All ids of the mapping."""
    return set(_misconceptions(data)["MisconceptionId"])


def write(data: Path, out: Path) -> dict[str, list[int]]:
    """Writes submission.csv, and the same under a name of its own, from which later rows are filled up."""
    out.mkdir(parents=True, exist_ok=True)
    made = rows(data)
    submission.write(made, out / "submission.csv")
    submission.write(made, out / FILE)
    return made
