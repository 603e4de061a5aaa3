"""Eedi's CSV files: read, checked, and made long (a query is one question with one wrong answer)."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cascade.base import csv_reader
from cascade.base.errors import DataError
from cascade.competitions.csv_files import WHOLE, read_csv, read_leniently, refuse, whole_numbers

ANSWERS = ("A", "B", "C", "D")
ANSWER_COLUMNS = [f"Answer{answer}Text" for answer in ANSWERS]
LABEL_COLUMNS = [f"Misconception{answer}Id" for answer in ANSWERS]
TEXT_COLUMNS = ["ConstructName", "SubjectName", "QuestionText", *ANSWER_COLUMNS]
TEST_COLUMNS = ["QuestionId", "ConstructId", "SubjectId", "CorrectAnswer", *TEXT_COLUMNS]
KEYS = ["QuestionId", "CorrectAnswer"]  # without which no query can be told
MAPPING = "misconception_mapping.csv"
LEAST = 25  # rows of the mapping, of which a submission ranks as many


def read_test_leniently(path: Path, warnings: list[str]) -> pd.DataFrame:
    """Reads as `read_csv` where that accepts the file, as a commit run does; else as submission zero does."""
    try:
        return read_csv(path, TEST_COLUMNS)
    except DataError as error:
        if not path.is_file():
            raise
        if (frame := read_leniently(path, TEST_COLUMNS, KEYS)) is None:
            raise
        warnings.append(f"{error}; in the rerun it is read as far as it goes")
        return frame


def _read_mapping(path: Path) -> pd.DataFrame:
    frame = read_csv(path, ["MisconceptionId", "MisconceptionName"])
    ids = whole_numbers(path, frame, "MisconceptionId", "MisconceptionId")
    refuse(path, frame, ids.isna(), "MisconceptionId", "the id is empty", "give each misconception a number")
    refuse(path, frame, ids.duplicated(), "MisconceptionId", "the id occurs twice", "remove one of the rows")
    if len(frame) < LEAST:
        raise DataError(
            f"has {len(frame)} rows, and a submission ranks {LEAST}", path=path, mend="add the missing rows"
        )
    return pd.DataFrame({"label_id": ids.astype(np.int64), "text": frame["MisconceptionName"].str.strip()})


def read_mapping(folder: Path, warnings: list[str], lenient: bool) -> pd.DataFrame:
    path = folder / MAPPING
    try:
        return _read_mapping(path)
    except DataError as error:
        if not lenient or not path.is_file():
            raise
        try:
            found = names(folder)
        except (KeyError, ValueError):
            raise error from None
        if len(found) < LEAST:
            raise
        warnings.append(f"{error}; in the rerun the misconceptions that can be read are ranked")
        return pd.DataFrame({"label_id": list(found), "text": list(found.values())})


def read_questions(path: Path, columns: list[str], warnings: list[str]) -> pd.DataFrame:
    """The wide table, one row a question, checked."""
    return checked(path, read_csv(path, columns), warnings, lenient=False)


def checked(path: Path, frame: pd.DataFrame, warnings: list[str], lenient: bool) -> pd.DataFrame:
    for column in ("QuestionId", "CorrectAnswer"):
        frame[column] = frame[column].str.strip()
    id_ = "QuestionId"
    faults = [
        (frame[id_] == "", "the QuestionId is empty", "give each question an id"),
        (frame[id_].duplicated(), "the QuestionId occurs twice", "remove one of the rows"),
        (~frame["CorrectAnswer"].isin(ANSWERS), "CorrectAnswer is '{CorrectAnswer}'", "it must be A, B, C or D"),
    ]
    for bad, why, mend in faults:
        try:
            refuse(path, frame, bad, id_, why, mend)
        except DataError as error:
            if not lenient:
                raise
            warnings.append(f"{error}; in the rerun it and {bad.sum() - 1} more like it are left to submission zero")
    frame = frame[~np.logical_or.reduce([bad for bad, *_ in faults])].reset_index(drop=True)
    if frame.empty:
        raise DataError("has no rows", path=path, mend="add at least one question")
    empty = frame["QuestionText"].str.strip() == ""
    # An empty text still leaves construct, subject and answers to go by: refusing it would cost the whole run.
    warnings += [
        f"{path.name}: QuestionId {id_}: QuestionText is empty; ranked by the rest of the row"
        for id_ in frame.loc[empty, id_]
    ]
    return frame


def to_queries(frame: pd.DataFrame) -> pd.DataFrame:
    """Wide to long: a row for each question and wrong answer, in the file's order, answers A to D."""
    text = frame[ANSWER_COLUMNS].to_numpy()
    right = frame["CorrectAnswer"].map(ANSWERS.index).to_numpy(dtype=int)
    row, answer = np.nonzero(np.arange(len(ANSWERS)) != right[:, None])
    wide = frame.iloc[row].reset_index(drop=True)
    letters = np.asarray(ANSWERS, dtype=object)[answer]
    queries = pd.DataFrame(
        {
            "query_id": wide["QuestionId"] + "_" + letters,
            "text": "",
            "question_id": wide["QuestionId"],
            "answer": letters,
            "construct": wide["ConstructName"].str.strip(),
            "subject": wide["SubjectName"].str.strip(),
            "question": wide["QuestionText"].str.strip(),
            "correct": pd.Series(text[row, right[row]], dtype=object).str.strip(),
            "wrong": pd.Series(text[row, answer], dtype=object).str.strip(),
        }
    )
    # Construct and answers stand before the question so that a model's length limit cuts the question.
    # Of seven orders tried with untuned MiniLM on the real train part, those that begin so ranked best.
    queries["text"] = [
        f"{q.construct}. {q.wrong} instead of {q.correct}. {q.question} {q.subject}" for q in queries.itertuples()
    ]
    return queries


def _labels(path: Path, frame: pd.DataFrame, known: set[int]) -> pd.DataFrame:
    """Label columns as `query_id, label_id`, the labelled ones only."""
    parts = []
    for answer, column in zip(ANSWERS, LABEL_COLUMNS, strict=True):
        ids = whole_numbers(path, frame, column, "QuestionId")
        unknown = ids.notna() & ~ids.isin(known)
        why = f"{column} {{{column}}} is not in misconception_mapping.csv"
        refuse(path, frame, unknown, "QuestionId", why, "add it there or empty the cell")
        parts.append(pd.DataFrame({"query_id": frame["QuestionId"] + "_" + answer, "label_id": ids}))
    labels = pd.concat(parts).dropna()
    return labels.assign(label_id=labels["label_id"].astype(np.int64))


def read_train(path: Path, known: set[int], warnings: list[str]) -> pd.DataFrame:
    frame = read_questions(path, TEST_COLUMNS + LABEL_COLUMNS, warnings)
    queries = to_queries(frame)
    # A label on the right answer has no query to belong to and falls away here.
    return queries.merge(_labels(path, frame, known), on="query_id").reset_index(drop=True)


def read_train_leniently(path: Path, known: set[int], warnings: list[str]) -> pd.DataFrame:
    """Reads as `read_train` where that accepts the file; else the rows and labels that can be read, if any."""
    told: list[str] = []
    try:
        train = read_train(path, known, told)
        warnings += told
        return train
    except DataError as error:
        why = error
    frame = read_leniently(path, TEST_COLUMNS + LABEL_COLUMNS, KEYS)
    if frame is None:
        frame = pd.DataFrame(columns=TEST_COLUMNS + LABEL_COLUMNS, dtype=str)
    good = (frame["QuestionId"] != "") & ~frame["QuestionId"].duplicated() & frame["CorrectAnswer"].isin(ANSWERS)
    frame = frame[good].reset_index(drop=True)
    train = to_queries(frame).merge(_labels(path, _known_only(frame, known), known), on="query_id")
    left = "neighbours find nothing and all count as unseen" if train.empty else f"its {len(train)} labels are used"
    warnings.append(f"{why}; in the rerun it is read as far as it goes: {left}")
    return train.reset_index(drop=True)


def read_labels_leniently(path: Path, known: set[int], test: pd.DataFrame, warnings: list[str]) -> pd.DataFrame | None:
    try:
        return read_labels(path, known, test)
    except DataError as error:
        frame = read_leniently(path, ["QuestionId", *LABEL_COLUMNS], ["QuestionId"])
        labels = None
        if frame is not None:
            frame = frame[~frame["QuestionId"].duplicated()].reset_index(drop=True)
            labels = test[["query_id"]].merge(_labels(path, _known_only(frame, known), known), on="query_id")
        found = 0 if labels is None else len(labels)
        warnings.append(f"{error}; in the rerun it is read as far as it goes: {found} labels")
        return labels if found else None


def _known_only(frame: pd.DataFrame, known: set[int]) -> pd.DataFrame:
    """The table with the label cells emptied that are no misconception's id."""
    frame = frame.copy()
    for column in LABEL_COLUMNS:
        cells = frame[column].str.strip()
        ids = pd.to_numeric(cells.where(cells.str.fullmatch(WHOLE), ""), errors="coerce")
        frame[column] = cells.where(ids.isin(known), "")
    return frame


def read_labels(path: Path, known: set[int], test: pd.DataFrame) -> pd.DataFrame:
    """test_labels.csv: `QuestionId` and train.csv's four label columns, for questions of test.csv."""
    frame = read_csv(path, ["QuestionId", *LABEL_COLUMNS])
    frame["QuestionId"] = frame["QuestionId"].str.strip()
    twice = frame["QuestionId"].duplicated()
    refuse(path, frame, twice, "QuestionId", "the QuestionId occurs twice", "remove one of the rows")
    stranger = ~frame["QuestionId"].isin(test["question_id"])
    refuse(path, frame, stranger, "QuestionId", "test.csv has no such question", "remove the row")
    labels = _labels(path, frame, known)
    return test[["query_id"]].merge(labels, on="query_id").reset_index(drop=True)


def outlined(questions: pd.DataFrame) -> dict[str, str]:
    """`query_id -> text` for every wrong answer, in the order of the rows, answers A to D; whatever else is wrong."""
    found = {}
    for question in questions.to_dict("records"):
        told = " ".join(question.get(key, "") for key in ("SubjectName", "ConstructName", "QuestionText"))
        for answer in ANSWERS:
            if answer != question.get("CorrectAnswer", "").strip():
                text = f"{told} {question.get(f'Answer{answer}Text', '')}"
                found[f"{question['QuestionId'].strip()}_{answer}"] = text
    return found


def names(folder: Path) -> dict[int, str]:
    """`label_id -> text`, each id once, as far as the mapping can be read; rows without one are left out."""
    mapping = csv_reader.read(folder / MAPPING)
    mapping = mapping[mapping["MisconceptionId"].str.strip().str.fullmatch(WHOLE)]
    numbers = mapping["MisconceptionId"].str.strip().str.split(".").str[0].astype(int)
    mapping = mapping.assign(MisconceptionId=numbers).drop_duplicates("MisconceptionId")
    return dict(zip(mapping["MisconceptionId"].tolist(), mapping["MisconceptionName"].str.strip(), strict=True))
