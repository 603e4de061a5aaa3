"""The competition's CSV files read as far as they go: what submission zero, and the scoring rerun, make of them.

Any encoding, any columns beside the ids and answers, rows of any length; needs pandas only.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from cascade.base.csv_reader import read


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


def misconceptions(data: Path) -> pd.DataFrame:
    """The mapping with its ids as int, each once; rows without one are left out."""
    mapping = read(data / "misconception_mapping.csv")
    ids = mapping["MisconceptionId"].str.strip()
    mapping = mapping[ids.str.fullmatch(r"[0-9]{1,9}(\.0*)?")]
    numbers = mapping["MisconceptionId"].str.strip().str.split(".").str[0].astype(int)
    return mapping.assign(MisconceptionId=numbers).drop_duplicates("MisconceptionId")


def known(data: Path) -> set[int]:
    """All ids of the mapping."""
    return set(misconceptions(data)["MisconceptionId"])


def names(data: Path) -> dict[int, str]:
    """`misconception_id -> name`, as far as the mapping can be read."""
    mapping = misconceptions(data)
    return dict(zip(mapping["MisconceptionId"].tolist(), mapping["MisconceptionName"].str.strip(), strict=True))
