"""Submission zero: a valid submission.csv before anything else is tried.

It must run in the image's own Python and on any test.csv the rerun may bring, so it needs only
pandas and scikit-learn, and reads leniently: any encoding, any columns beside the ids and answers.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cascade import submission
from cascade.retrievers.tfidf import tfidf_scores

FILE = "submission-zero.csv"


def _read(path: Path) -> pd.DataFrame:
    # Without index_col=False a comma too many at each row's end would shift every column by one.
    frame = pd.read_csv(
        path, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig", encoding_errors="replace"
    )
    return frame.rename(columns=str.strip)


def rows(data: Path) -> dict[str, list[int]]:
    """`query_id -> 25 ids` for every wrong answer of test.csv, in its order, answers A to D."""
    questions, mapping = _read(data / "test.csv"), _read(data / "misconception_mapping.csv")
    ids = pd.to_numeric(mapping["MisconceptionId"]).astype(int).to_numpy()
    keys, texts = [], []
    for question in questions.to_dict("records"):
        told = " ".join(question.get(key, "") for key in ("SubjectName", "ConstructName", "QuestionText"))
        for answer in "ABCD":
            if answer != question.get("CorrectAnswer", "").strip():
                keys.append(f"{question['QuestionId'].strip()}_{answer}")
                texts.append(f"{told} {question.get(f'Answer{answer}Text', '')}")
    try:
        scores = tfidf_scores(texts, mapping["MisconceptionName"].tolist())
    except ValueError:  # no word in any name: nothing to rank by
        scores = np.zeros((len(texts), len(ids)), dtype=np.float32)
    best = np.argsort(-scores, axis=1, kind="stable")[:, : submission.ROW_LENGTH]
    return dict(zip(keys, ids[best].tolist(), strict=True))


def known(data: Path) -> set[int]:
    """All ids of the mapping."""
    return set(pd.to_numeric(_read(data / "misconception_mapping.csv")["MisconceptionId"]).astype(int))


def write(data: Path, out: Path) -> dict[str, list[int]]:
    """Writes submission.csv, and the same under a name of its own, from which later rows are filled up."""
    out.mkdir(parents=True, exist_ok=True)
    made = rows(data)
    submission.write(made, out / "submission.csv")
    submission.write(made, out / FILE)
    return made
