"""The competition's files: what is read, what is refused, and in which words."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest

from cascade.base.errors import DataError
from cascade.competitions.eedi import EEDI
from tests.conftest import drop_column, read_rows, set_cell, write_rows
from tests.refusals import refused

Spoil = Callable[[Path], object]


def rename(file: str, old: str, new: str) -> Spoil:
    return lambda folder: set_cell(folder / file, 0, old, new)


def cell(file: str, row: int, column: str, value: str) -> Spoil:
    return lambda folder: set_cell(folder / file, row, column, value)


def keep_rows(file: str, count: int) -> Spoil:
    return lambda folder: write_rows(folder / file, read_rows(folder / file)[: count + 1])


def add_row(file: str, *cells: str) -> Spoil:
    return lambda folder: write_rows(folder / file, [*read_rows(folder / file), list(cells)])


def content(file: str, raw: bytes) -> Spoil:
    return lambda folder: (folder / file).write_bytes(raw)


def replace_bytes(file: str, old: bytes, new: bytes) -> Spoil:
    def spoil(folder: Path) -> None:
        raw = (folder / file).read_bytes()
        assert old in raw
        (folder / file).write_bytes(raw.replace(old, new))

    return spoil


MAPPING = "misconception_mapping.csv"
REFUSED: dict[str, tuple[Spoil, list[str]]] = {
    "missing column in test": (
        lambda folder: drop_column(folder / "test.csv", "SubjectName"),
        ["test.csv", "column SubjectName: is missing", "add it"],
    ),
    "missing column in train": (
        lambda folder: drop_column(folder / "train.csv", "MisconceptionCId"),
        ["train.csv", "column MisconceptionCId: is missing"],
    ),
    "missing column in the mapping": (
        lambda folder: drop_column(folder / MAPPING, "MisconceptionName"),
        [MAPPING, "column MisconceptionName: is missing"],
    ),
    "missing column in the labels": (
        lambda folder: drop_column(folder / "test_labels.csv", "MisconceptionAId"),
        ["test_labels.csv", "column MisconceptionAId: is missing"],
    ),
    "renamed column": (
        rename("test.csv", "QuestionText", "Question_Text"),
        ["test.csv", "column QuestionText: is missing", "did you mean 'Question_Text'?", "rename"],
    ),
    "duplicate question in test": (
        cell("test.csv", 3, "QuestionId", "20"),
        ["test.csv", "row 3", "QuestionId 20", "twice", "remove"],
    ),
    "duplicate question in train": (cell("train.csv", 2, "QuestionId", " 10 "), ["train.csv", "row 2", "10", "twice"]),
    "duplicate question in the labels": (
        cell("test_labels.csv", 2, "QuestionId", "20"),
        ["test_labels.csv", "row 2", "20", "twice"],
    ),
    "empty question id": (cell("test.csv", 2, "QuestionId", " "), ["test.csv", "row 2", "QuestionId is empty"]),
    "right answer E": (
        cell("test.csv", 2, "CorrectAnswer", "E"),
        ["test.csv", "row 2", "QuestionId 21", "CorrectAnswer is 'E'", "A, B, C or D"],
    ),
    "right answer empty": (cell("train.csv", 6, "CorrectAnswer", ""), ["train.csv", "row 6", "CorrectAnswer is ''"]),
    "right answer in lower case": (cell("test.csv", 1, "CorrectAnswer", "c"), ["test.csv", "row 1", "is 'c'"]),
    "right answer with braces": (cell("test.csv", 1, "CorrectAnswer", "{x}"), ["test.csv", "row 1", "is '{x}'"]),
    "label that the mapping lacks": (
        cell("train.csv", 4, "MisconceptionCId", "30"),
        ["train.csv", "row 4", "QuestionId 13", "MisconceptionCId 30", MAPPING, "add it there or empty the cell"],
    ),
    "test label that the mapping lacks": (
        cell("test_labels.csv", 1, "MisconceptionBId", "99"),
        ["test_labels.csv", "row 1", "QuestionId 20", "MisconceptionBId 99"],
    ),
    **{
        f"label {label}": (
            cell("train.csv", 1, "MisconceptionBId", label),
            ["train.csv", "row 1", "QuestionId 10", f"MisconceptionBId is '{label}'", "whole number"],
        )
        for label in ("x", "3.5", "-1", "1e3", "1 2", "9" * 20)
    },
    "duplicate misconception": (
        cell(MAPPING, 8, "MisconceptionId", "3"),
        [MAPPING, "row 8", "MisconceptionId 3", "twice", "remove"],
    ),
    "misconception without id": (cell(MAPPING, 8, "MisconceptionId", ""), [MAPPING, "row 8", "the id is empty"]),
    "misconception id x": (cell(MAPPING, 8, "MisconceptionId", "x"), [MAPPING, "row 8", "is 'x'", "whole number"]),
    "mapping with 24 rows": (keep_rows(MAPPING, 24), [MAPPING, "24 rows", "25"]),
    "test with a header only": (keep_rows("test.csv", 0), ["test.csv", "no rows", "at least one question"]),
    "test entirely empty": (content("test.csv", b""), ["test.csv", "not a CSV table", "export it again"]),
    "test with nothing but a byte-order mark": (content("test.csv", b"\xef\xbb\xbf"), ["test.csv", "not a CSV table"]),
    "one cell too many": (
        add_row("test.csv", *(["30", "1", "c", "1", "s", "A", "text", "1", "2", "3", "4", "5"])),
        ["test.csv", "not a CSV table", "saw 12"],
    ),
    "row of one cell": (add_row("test.csv", "30"), ["test.csv", "row 4"]),
    "labels of a question that test lacks": (
        cell("test_labels.csv", 3, "QuestionId", "10"),
        ["test_labels.csv", "row 3", "QuestionId 10", "test.csv has no such question", "remove"],
    ),
    **{
        f"no {file}": (lambda folder, file=file: (folder / file).unlink(), [file, "no such file"])  # type: ignore[misc]
        for file in ("train.csv", "test.csv", MAPPING)
    },
    "Latin-1": (
        replace_bytes("test.csv", "“and”".encode(), "é".encode("latin-1")),
        ["test.csv", "line 3", "0xe9", "not UTF-8", "save the file as UTF-8"],
    ),
}


@pytest.mark.parametrize("case", REFUSED)
def test_refused_with_one_sentence_that_says_where(folder: Path, case: str) -> None:
    spoil, told = REFUSED[case]
    spoil(folder)
    with pytest.raises(DataError) as caught:
        EEDI.read(folder)
    message = str(caught.value)
    assert message.startswith(str(folder))
    assert "\n" not in message
    assert Path(str(caught.value.path)).parent == folder and caught.value.mend
    for part in told:
        assert part in message


def test_every_row_with_a_cell_too_many_is_refused_and_not_shifted(folder: Path) -> None:
    path = folder / "test_labels.csv"
    rows = read_rows(path)
    write_rows(path, [rows[0], *([*row, ""] for row in rows[1:])])
    with pytest.raises(DataError, match="more cells than the header"):
        EEDI.read(folder)


def test_unclosed_quote_is_refused(folder: Path) -> None:
    path = folder / MAPPING
    path.write_text(path.read_text() + '30,"never closed\n')
    with pytest.raises(DataError, match=r"not a CSV table .*EOF inside string"):
        EEDI.read(folder)


def test_missing_folder_is_named(tmp_path: Path) -> None:
    with refused(DataError, "no such folder", "nowhere", mend="the folder that contains test.csv"):
        EEDI.read(tmp_path / "nowhere")


def test_valid_folder_reads_without_warnings(folder: Path) -> None:
    task = EEDI.read(folder)
    assert task.warnings == []
    assert task.folder == folder
    assert task.texts == {id_: f"Adds the fractions' numerators {id_} times" for id_ in range(30)}
    columns = ["query_id", "text", "question_id", "answer", "construct", "subject", "question", "correct", "wrong"]
    assert list(task.queries.columns) == columns
    assert list(task.train.columns) == [*columns, "label_id"]


def test_labels_file_is_optional(folder: Path) -> None:
    (folder / "test_labels.csv").unlink()
    assert EEDI.read(folder).truth is None


def test_long_form_has_the_wrong_answers_in_order(folder: Path) -> None:
    test = EEDI.read(folder).queries
    assert test["query_id"].tolist() == ["20_A", "20_B", "20_D", "21_B", "21_C", "21_D", "22_A", "22_B", "22_C"]
    assert test["wrong"].tolist()[:3] == [r"\( 20 \)", r"\( 21 \)", r"\( 23 \)"]
    assert test["correct"].tolist() == [r"\( 22 \)"] * 3 + [r"\( 21 \)"] * 3 + [r"\( 25 \)"] * 3
    assert test["construct"].tolist()[::3] == ["Add fractions 2", "Add fractions 0", "Add fractions 1"]


def test_train_holds_the_labelled_answers_only(folder: Path) -> None:
    train = EEDI.read(folder).train
    assert dict(zip(train["query_id"], train["label_id"], strict=True)) == {
        "10_B": 0,
        "10_C": 1,
        "10_D": 2,
        "11_A": 3,
        "11_D": 4,
        "12_A": 0,
        "12_B": 5,
        "13_A": 6,
        "13_C": 7,
        "14_B": 8,
        "14_D": 1,
        "15_A": 9,
        "15_C": 10,
        "15_D": 11,
    }


def test_seen_is_what_train_labels(folder: Path) -> None:
    assert EEDI.read(folder).seen == set(range(12))


def test_test_labels_follow_the_order_of_test(folder: Path) -> None:
    path = folder / "test_labels.csv"
    header, *rows = read_rows(path)
    write_rows(path, [header, *reversed(rows)])
    labels = EEDI.read(folder).truth
    assert labels is not None
    assert list(zip(labels["query_id"], labels["label_id"], strict=True)) == [
        ("20_A", 0),
        ("20_B", 20),
        ("20_D", 21),
        ("21_B", 22),
        ("21_D", 5),
        ("22_B", 23),
        ("22_C", 7),
    ]


def test_label_on_the_right_answer_falls_away(folder: Path) -> None:
    set_cell(folder / "train.csv", 1, "MisconceptionAId", "29")
    task = EEDI.read(folder)
    assert 29 not in task.seen
    assert "10_A" not in task.train["query_id"].tolist()


def test_train_without_any_label_is_accepted(folder: Path) -> None:
    header, *rows = read_rows(folder / "train.csv")
    write_rows(folder / "train.csv", [header, *([*row[:-4], "", "", "", ""] for row in rows)])
    task = EEDI.read(folder)
    assert task.train.empty
    assert task.seen == set()


def test_empty_question_text_is_a_warning_that_names_it(folder: Path) -> None:
    set_cell(folder / "test.csv", 2, "QuestionText", "  ")
    task = EEDI.read(folder)
    assert len(task.warnings) == 1
    assert task.warnings[0].startswith("test.csv: QuestionId 21: QuestionText is empty")
    assert len(task.queries) == 9


@pytest.mark.parametrize("prefix", [b"", b"\xef\xbb\xbf"], ids=["plain", "byte-order mark"])
@pytest.mark.parametrize("line_end", [b"\n", b"\r\n"], ids=["LF", "CRLF"])
def test_byte_order_mark_and_line_ends_change_nothing(folder: Path, prefix: bytes, line_end: bytes) -> None:
    expected = EEDI.read(folder)
    for path in folder.iterdir():
        path.write_bytes(prefix + path.read_bytes().replace(b"\n", line_end))
    read = EEDI.read(folder)
    for part in ("train", "queries", "labels", "truth"):
        pd.testing.assert_frame_equal(getattr(read, part), getattr(expected, part))
    assert "\n" in read.queries["question"].iloc[0]
    assert "\r" not in read.queries["question"].iloc[0]


@pytest.mark.parametrize("spelling", ["{}.0", "{}.", " {} ", "0{}"])
def test_other_spellings_of_a_label_are_equal(folder: Path, spelling: str) -> None:
    expected = EEDI.read(folder).train
    set_cell(folder / "train.csv", 6, "MisconceptionCId", spelling.format(10))
    pd.testing.assert_frame_equal(EEDI.read(folder).train, expected)


def test_nan_in_a_label_column_is_empty(folder: Path) -> None:
    expected = EEDI.read(folder).train
    set_cell(folder / "train.csv", 2, "MisconceptionCId", "NaN")
    pd.testing.assert_frame_equal(EEDI.read(folder).train, expected)


@pytest.mark.parametrize("text", ["NA", "None", "nan", "null", "007", "1.50", "TRUE", "-inf"])
def test_text_cells_stay_text(folder: Path, text: str) -> None:
    set_cell(folder / "test.csv", 1, "AnswerAText", text)
    set_cell(folder / "test.csv", 1, "AnswerCText", text)
    test = EEDI.read(folder).queries
    assert test["wrong"].iloc[0] == text
    assert test["correct"].iloc[0] == text


@pytest.mark.parametrize(
    "text", ["one\ntwo\n\nthree", 'says "no", then, "yes"', "a,b\n,c", "½ × π ≠ “x”", "{braces} %s"]
)
def test_question_texts_survive_as_they_are(folder: Path, text: str) -> None:
    set_cell(folder / "test.csv", 3, "QuestionText", text)
    assert EEDI.read(folder).queries["question"].tolist()[6:] == [text] * 3


def test_further_columns_are_ignored(folder: Path) -> None:
    expected = EEDI.read(folder).queries
    rows = read_rows(folder / "test.csv")
    write_rows(folder / "test.csv", [["Notes", *rows[0]], *(["x", *row] for row in rows[1:])])
    pd.testing.assert_frame_equal(EEDI.read(folder).queries, expected)


def test_question_ids_need_not_be_numbers(folder: Path) -> None:
    set_cell(folder / "test.csv", 1, "QuestionId", "0x-é")
    set_cell(folder / "test_labels.csv", 1, "QuestionId", " 0x-é ")
    task = EEDI.read(folder)
    assert task.truth is not None
    assert task.truth["query_id"].iloc[0] == "0x-é_A"


def test_query_text_names_answers_question_and_topic(folder: Path) -> None:
    task = EEDI.read(folder)
    texts = task.queries["text"].tolist()
    assert len(texts) == 9
    assert texts[0].startswith(r"Add fractions 2. \( 20 \) instead of \( 22 \). Add the fractions.")
    assert texts[0].endswith("Fractions, Decimals")
