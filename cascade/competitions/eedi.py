"""The competition's CSV files: read, checked, and made long (a query is one question with one wrong answer)."""

from __future__ import annotations

import csv
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from cascade.base import csv_reader
from cascade.base.errors import DataError, nearest
from cascade.competitions import lenient_csv
from cascade.competitions.submission import ROW_LENGTH, check_against_sample

ANSWERS = ("A", "B", "C", "D")
ANSWER_COLUMNS = [f"Answer{answer}Text" for answer in ANSWERS]
LABEL_COLUMNS = [f"Misconception{answer}Id" for answer in ANSWERS]
TEXT_COLUMNS = ["ConstructName", "SubjectName", "QuestionText", *ANSWER_COLUMNS]
TEST_COLUMNS = ["QuestionId", "ConstructId", "SubjectId", "CorrectAnswer", *TEXT_COLUMNS]
KEYS = ["QuestionId", "CorrectAnswer"]  # without which no query can be told
WHOLE = r"[0-9]{1,9}(\.0*)?"  # a cell with an id
QUERY_COLUMNS = ["query_id", "question_id", "answer", "construct", "subject", "question", "correct", "wrong"]


@dataclass(frozen=True)
class Competition:
    """One folder of competition data.

    train, test: one row a query (`QUERY_COLUMNS`, all str); train has the labelled queries only,
    with `misconception_id`. misconceptions: `misconception_id` (int64), `name`.
    asked: the query ids that a submission must have, in order: test's, and those of questions that were left out of it.
    labels: the test's `query_id, misconception_id` where the folder has a test_labels.csv, else None.
    seen: the misconceptions that occur in train. warnings: what was accepted but is worth a word.
    """

    folder: Path
    train: pd.DataFrame
    test: pd.DataFrame
    asked: list[str]
    misconceptions: pd.DataFrame
    labels: pd.DataFrame | None
    warnings: list[str] = field(default_factory=list)

    @property
    def seen(self) -> set[int]:
        return set(self.train["misconception_id"].tolist())

    @property
    def names(self) -> dict[int, str]:
        return dict(zip(self.misconceptions["misconception_id"].tolist(), self.misconceptions["name"], strict=True))


def read(folder: Path, lenient: bool = False) -> Competition:
    """Reads and checks a whole folder; DataError names the file, the row or column, and the mend.

    `lenient`: of a file that would be refused what can be read is read, with a warning, and the other rows are left
    out: in the scoring rerun nobody can mend it, and submission zero has a row for all that is asked. Only what leaves
    nothing to rank, or to rank for, is refused.
    """
    if not folder.is_dir():
        raise DataError(f"{folder}: no such folder; pass the one that holds test.csv")
    warnings: list[str] = []
    misconceptions = _misconceptions(folder, warnings, lenient)
    known = set(misconceptions["misconception_id"].tolist())
    train_path = folder / "train.csv"
    train = _train_leniently(train_path, known, warnings) if lenient else read_train(train_path, known, warnings)
    path = folder / "test.csv"
    questions = _read_leniently(path, warnings) if lenient else read_csv(path, TEST_COLUMNS)
    asked = list(lenient_csv.queries(questions))
    test = to_queries(_checked(path, questions, warnings, lenient))
    labels_path = folder / "test_labels.csv"
    labels = None
    if labels_path.is_file():
        labels = (
            _labels_leniently(labels_path, known, test, warnings) if lenient else read_labels(labels_path, known, test)
        )
    warnings += check_against_sample(folder / "sample_submission.csv", asked)
    return Competition(folder, train, test, asked, misconceptions, labels, warnings)


def read_csv(path: Path, columns: list[str]) -> pd.DataFrame:
    """All cells as str, as they stand; a byte-order mark and CRLF line ends are accepted."""
    if not path.is_file():
        raise DataError(f"{path}: no such file; the data folder must hold it")
    raw = path.read_bytes()
    if csv_reader.encoding(raw) != "utf-8-sig":
        raise DataError(f"{path}: is UTF-16; save the file as UTF-8")
    try:
        text = csv_reader.decoded(raw)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise DataError(
            f"{path}: line {line}: byte 0x{raw[error.start]:02x} is not UTF-8; save the file as UTF-8"
        ) from error
    try:
        header, rows = csv_reader.strict(text)
    except ValueError as error:
        mend = "export it again" if csv_reader.delimiter(text) == "," else "export it again with commas"
        raise DataError(f"{path}: not a CSV table ({error}); {mend}") from error
    names = [name.strip() for name in header]
    for column in columns:
        if names.count(column) > 1:
            raise DataError(f"{path}: column {column} stands there twice; remove one of them")
    frame = csv_reader.frame(names, rows)
    _demand(path, frame, columns)
    return frame


def _demand(path: Path, frame: pd.DataFrame, columns: list[str]) -> None:
    for column in columns:
        if column not in frame.columns:
            raise DataError(f"{path}: column {column} is missing{nearest(column, frame.columns)}; rename or add it")


def _read_leniently(path: Path, warnings: list[str]) -> pd.DataFrame:
    """As `read_csv` where that accepts the file, so that the rerun reads what a commit run does; else as zero does."""
    try:
        return read_csv(path, TEST_COLUMNS)
    except DataError as error:
        if not path.is_file():
            raise
        if (frame := _as_zero_reads(path, TEST_COLUMNS, KEYS)) is None:
            raise
        warnings.append(f"{error}; in the rerun it is read as far as it goes")
        return frame


def _as_zero_reads(path: Path, columns: list[str], keys: list[str]) -> pd.DataFrame | None:
    """The file as submission zero reads it, with the columns that it lacks empty; None where it lacks one of `keys`."""
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


def _refuse(path: Path, frame: pd.DataFrame, bad: pd.Series, key: str, why: str, mend: str) -> None:
    """DataError for the first row that `bad` marks; rows are counted from 1 under the header."""
    if bad.any():
        row = int(bad.to_numpy().argmax())
        raise DataError(
            f"{path}: row {row + 1} ({key} {frame[key].iloc[row]}): {why.format(**frame.iloc[row])}; {mend}"
        )


def _whole_numbers(path: Path, frame: pd.DataFrame, column: str, key: str) -> pd.Series:
    """A column of ids as Int64; `1672.0`, as pandas writes a column with gaps, and empty cells are accepted."""
    cells = frame[column].str.strip()
    bad = ~cells.str.fullmatch(WHOLE) & (cells != "") & (cells.str.lower() != "nan")
    mend = "it must be a whole number of at most 9 digits, or empty"
    _refuse(path, frame, bad, key, f"{column} is '{{{column}}}'", mend)
    return pd.to_numeric(cells.str.split(".").str[0], errors="coerce").astype("Int64")


def read_misconceptions(path: Path) -> pd.DataFrame:
    frame = read_csv(path, ["MisconceptionId", "MisconceptionName"])
    ids = _whole_numbers(path, frame, "MisconceptionId", "MisconceptionId")
    _refuse(path, frame, ids.isna(), "MisconceptionId", "the id is empty", "give each misconception a number")
    _refuse(path, frame, ids.duplicated(), "MisconceptionId", "the id stands there twice", "remove one of the rows")
    if len(frame) < ROW_LENGTH:
        raise DataError(f"{path}: {len(frame)} rows; a submission ranks {ROW_LENGTH}, so the mapping needs as many")
    return pd.DataFrame({"misconception_id": ids.astype(np.int64), "name": frame["MisconceptionName"].str.strip()})


def _misconceptions(folder: Path, warnings: list[str], lenient: bool) -> pd.DataFrame:
    path = folder / "misconception_mapping.csv"
    try:
        return read_misconceptions(path)
    except DataError as error:
        if not lenient or not path.is_file():
            raise
        try:
            names = lenient_csv.names(folder)
        except (KeyError, ValueError):
            raise error from None
        if len(names) < ROW_LENGTH:
            raise
        warnings.append(f"{error}; in the rerun the misconceptions that can be read are ranked")
        return pd.DataFrame({"misconception_id": list(names), "name": list(names.values())})


def read_questions(path: Path, columns: list[str], warnings: list[str]) -> pd.DataFrame:
    """The wide table, one row a question, checked."""
    return _checked(path, read_csv(path, columns), warnings, lenient=False)


def _checked(path: Path, frame: pd.DataFrame, warnings: list[str], lenient: bool) -> pd.DataFrame:
    for column in ("QuestionId", "CorrectAnswer"):
        frame[column] = frame[column].str.strip()
    id_ = "QuestionId"
    faults = [
        (frame[id_] == "", "the QuestionId is empty", "give each question an id"),
        (frame[id_].duplicated(), "the QuestionId stands there twice", "remove one of the rows"),
        (~frame["CorrectAnswer"].isin(ANSWERS), "CorrectAnswer is '{CorrectAnswer}'", "it must be A, B, C or D"),
    ]
    for bad, why, mend in faults:
        try:
            _refuse(path, frame, bad, id_, why, mend)
        except DataError as error:
            if not lenient:
                raise
            warnings.append(f"{error}; in the rerun it and {bad.sum() - 1} more like it are left to submission zero")
    frame = frame[~np.logical_or.reduce([bad for bad, *_ in faults])].reset_index(drop=True)
    if frame.empty:
        raise DataError(f"{path}: no rows; it must hold at least one question")
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
    return pd.DataFrame(
        {
            "query_id": wide["QuestionId"] + "_" + letters,
            "question_id": wide["QuestionId"],
            "answer": letters,
            "construct": wide["ConstructName"].str.strip(),
            "subject": wide["SubjectName"].str.strip(),
            "question": wide["QuestionText"].str.strip(),
            "correct": pd.Series(text[row, right[row]], dtype=object).str.strip(),
            "wrong": pd.Series(text[row, answer], dtype=object).str.strip(),
        }
    )


def _labels(path: Path, frame: pd.DataFrame, known: set[int]) -> pd.DataFrame:
    """Label columns as `query_id, misconception_id`, the labelled ones only."""
    parts = []
    for answer, column in zip(ANSWERS, LABEL_COLUMNS, strict=True):
        ids = _whole_numbers(path, frame, column, "QuestionId")
        unknown = ids.notna() & ~ids.isin(known)
        why = f"{column} {{{column}}} is not in misconception_mapping.csv"
        _refuse(path, frame, unknown, "QuestionId", why, "add it there or empty the cell")
        parts.append(pd.DataFrame({"query_id": frame["QuestionId"] + "_" + answer, "misconception_id": ids}))
    labels = pd.concat(parts).dropna()
    return labels.assign(misconception_id=labels["misconception_id"].astype(np.int64))


def read_train(path: Path, known: set[int], warnings: list[str]) -> pd.DataFrame:
    frame = read_questions(path, TEST_COLUMNS + LABEL_COLUMNS, warnings)
    queries = to_queries(frame)
    # A label on the right answer has no query to belong to and falls away here.
    return queries.merge(_labels(path, frame, known), on="query_id").reset_index(drop=True)


def _train_leniently(path: Path, known: set[int], warnings: list[str]) -> pd.DataFrame:
    """As `read_train` where that accepts the file; else the rows and labels that can be read, be it none at all."""
    told: list[str] = []
    try:
        train = read_train(path, known, told)
        warnings += told
        return train
    except DataError as error:
        why = error
    frame = _as_zero_reads(path, TEST_COLUMNS + LABEL_COLUMNS, KEYS)
    if frame is None:
        frame = pd.DataFrame(columns=TEST_COLUMNS + LABEL_COLUMNS, dtype=str)
    good = (frame["QuestionId"] != "") & ~frame["QuestionId"].duplicated() & frame["CorrectAnswer"].isin(ANSWERS)
    frame = frame[good].reset_index(drop=True)
    train = to_queries(frame).merge(_labels(path, _known_only(frame, known), known), on="query_id")
    left = "neighbours find nothing and all count as unseen" if train.empty else f"its {len(train)} labels are used"
    warnings.append(f"{why}; in the rerun it is read as far as it goes: {left}")
    return train.reset_index(drop=True)


def _labels_leniently(path: Path, known: set[int], test: pd.DataFrame, warnings: list[str]) -> pd.DataFrame | None:
    try:
        return read_labels(path, known, test)
    except DataError as error:
        frame = _as_zero_reads(path, ["QuestionId", *LABEL_COLUMNS], ["QuestionId"])
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
    _refuse(path, frame, twice, "QuestionId", "the QuestionId stands there twice", "remove one of the rows")
    stranger = ~frame["QuestionId"].isin(test["question_id"])
    _refuse(path, frame, stranger, "QuestionId", "test.csv has no such question", "remove the row")
    labels = _labels(path, frame, known)
    return test[["query_id"]].merge(labels, on="query_id").reset_index(drop=True)


def query_texts(queries: pd.DataFrame) -> list[str]:
    """What every retriever and the cross-encoder read of a query.

    Construct and answers stand before the question so that a model's length limit cuts the question.
    Of seven orders tried with untuned MiniLM on the real competition's train part, those that begin so ranked best.
    """
    return [f"{q.construct}. {q.wrong} instead of {q.correct}. {q.question} {q.subject}" for q in queries.itertuples()]


# The competition's own sizes, which a run on other data is planned for.
FULL_TEST = 2055  # queries: about 685 questions of the hidden test with three wrong answers each

FULL_MAPPING = 2587  # rows of misconception_mapping.csv
