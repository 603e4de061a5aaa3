"""Folds are data folders of their own that hold out questions and misconceptions."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cascade.base.errors import DataError
from cascade.base.runtime import ROOT
from cascade.competitions import eedi
from cascade.competitions.base import Task
from cascade.competitions.eedi import EEDI
from cascade.competitions.map2025 import MAP2025
from cascade.evaluation.folds import write_again, write_folds
from tests.conftest import read_rows, set_cell, write_rows
from tests.refusals import refused

SAMPLE = ROOT / "sample"


def question_ids(path: Path) -> list[str]:
    header, *rows = read_rows(path)
    return [row[header.index("QuestionId")] for row in rows]


def unseen_share(task: Task) -> float:
    assert task.truth is not None
    return float((~task.truth["label_id"].isin(task.seen)).mean())


@pytest.fixture(params=["tiny", "sample"])
def source(request: pytest.FixtureRequest, folder: Path) -> Path:
    return folder if request.param == "tiny" else SAMPLE


def test_every_question_is_in_one_test_and_in_all_other_trains(source: Path, tmp_path: Path) -> None:
    every = question_ids(source / "train.csv")
    tests = []
    for fold in write_folds(EEDI, source, tmp_path / "folds", folds=3, unseen_share=0.6, seed=0):
        test, train = question_ids(fold / "test.csv"), question_ids(fold / "train.csv")
        assert sorted(test + train) == sorted(every)
        assert question_ids(fold / "test_labels.csv") == test
        tests += test
    assert sorted(tests) == sorted(every)


def test_folds_are_valid_folders(source: Path, tmp_path: Path) -> None:
    train = EEDI.read(source).train
    truth = dict(zip(train["query_id"], train["label_id"], strict=True))
    told: dict[str, int] = {}
    for number, fold in enumerate(write_folds(EEDI, source, tmp_path / "folds", folds=3, unseen_share=0.6, seed=0)):
        assert fold == tmp_path / "folds" / f"fold-{number}"
        task = EEDI.read(fold)
        assert task.warnings == []
        assert task.truth is not None
        told.update(zip(task.truth["query_id"], task.truth["label_id"], strict=True))
        # What train still tells is true.
        kept = dict(zip(task.train["query_id"], task.train["label_id"], strict=True))
        assert kept.items() <= truth.items()
    assert told == truth


@pytest.mark.parametrize("seed", range(3))
def test_unseen_share_is_near_the_one_asked_for(tmp_path: Path, seed: int) -> None:
    for fold in write_folds(EEDI, SAMPLE, tmp_path, folds=3, unseen_share=0.6, seed=seed):
        assert unseen_share(EEDI.read(fold)) == pytest.approx(0.6, abs=0.08)


@pytest.mark.parametrize(("asked", "least", "most"), [(1.0, 1.0, 1.0), (0.0, 0.0, 0.3)])
def test_extreme_shares(tmp_path: Path, asked: float, least: float, most: float) -> None:
    for fold in write_folds(EEDI, SAMPLE, tmp_path, folds=3, unseen_share=asked, seed=0):
        assert least <= unseen_share(EEDI.read(fold)) <= most


def test_only_labels_are_taken_from_train(tmp_path: Path) -> None:
    header, *rows = read_rows(SAMPLE / "train.csv")
    told = {row[0]: row for row in rows}
    emptied = 0
    for fold in write_folds(EEDI, SAMPLE, tmp_path, folds=2, unseen_share=0.6, seed=0):
        for row in read_rows(fold / "train.csv")[1:]:
            assert row[:-4] == told[row[0]][:-4]
            assert all(cell in ("", before) for cell, before in zip(row[-4:], told[row[0]][-4:], strict=True))
            emptied += row != told[row[0]]
        for row in read_rows(fold / "test.csv")[1:]:
            assert row == told[row[0]][:-4]
    assert emptied > 0
    assert header[-4:] == eedi.LABEL_COLUMNS


def test_same_seed_same_bytes_other_seed_other_bytes(source: Path, tmp_path: Path) -> None:
    def contents(name: str, seed: int) -> dict[str, bytes]:
        write_folds(EEDI, source, tmp_path / name, folds=3, unseen_share=0.6, seed=seed)
        return {str(f.relative_to(tmp_path / name)): f.read_bytes() for f in (tmp_path / name).rglob("*.csv")}

    first = contents("a", 1)
    assert len(first) == 12
    assert contents("b", 1) == first
    assert contents("c", 2) != first


def test_at_most_so_many_questions_a_test(tmp_path: Path) -> None:
    whole = question_ids(SAMPLE / "train.csv")
    for fold in write_folds(EEDI, SAMPLE, tmp_path, folds=4, unseen_share=0.6, seed=0, questions=10):
        test, train = question_ids(fold / "test.csv"), question_ids(fold / "train.csv")
        assert len(test) == 10
        assert len(train) == len(whole) - len(whole) // 4  # the fold's other questions stay out of train
        assert not set(test) & set(train)


def test_two_spellings_of_an_id_are_one_misconception(folder: Path, tmp_path: Path) -> None:
    path = folder / "train.csv"
    header, *rows = read_rows(path)
    # 0 is written as 0.0 in one of the two questions that show it, and may never be held out in part.
    write_rows(
        path,
        [header, *([*row[:-4], *(f"{c}.0" if c and i == 0 else c for c in row[-4:])] for i, row in enumerate(rows))],
    )
    for fold in write_folds(EEDI, folder, tmp_path / "folds", folds=6, unseen_share=1.0, seed=0):
        assert unseen_share(EEDI.read(fold)) == 1.0


def test_label_on_a_right_answer_belongs_to_no_pair(folder: Path, tmp_path: Path) -> None:
    expected = [EEDI.read(fold) for fold in write_folds(EEDI, folder, tmp_path / "a", 3, 0.6, seed=4)]
    set_cell(folder / "train.csv", 1, "MisconceptionAId", "29")
    set_cell(folder / "train.csv", 5, "MisconceptionAId", "3")
    found = [EEDI.read(fold) for fold in write_folds(EEDI, folder, tmp_path / "b", 3, 0.6, seed=4)]
    assert [fold.seen for fold in found] == [fold.seen for fold in expected]


@pytest.mark.parametrize("folds", [-1, 0, 1, 7])
def test_impossible_number_of_folds_is_refused(folder: Path, tmp_path: Path, folds: int) -> None:
    with refused(DataError, f"{folds} folds cannot be made of 6 questions", "train.csv", mend="2 to 6"):
        write_folds(EEDI, folder, tmp_path / "folds", folds, 0.6, seed=0)
    assert not (tmp_path / "folds").exists()


def test_broken_train_is_refused_before_anything_is_written(folder: Path, tmp_path: Path) -> None:
    set_cell(folder / "train.csv", 2, "CorrectAnswer", "E")
    with pytest.raises(DataError, match=r"train\.csv: row 2 .*CorrectAnswer is 'E'"):
        write_folds(EEDI, folder, tmp_path / "folds", 3, 0.6, seed=0)
    assert not (tmp_path / "folds").exists()


def test_a_group_is_in_one_fold(tmp_path: Path) -> None:
    tests = []
    for fold in write_folds(EEDI, SAMPLE, tmp_path / "folds", folds=3, unseen_share=0.6, seed=0, by="ConstructId"):
        header, *rows = read_rows(fold / "test.csv")
        tests.append({row[header.index("ConstructId")] for row in rows})
        assert unseen_share(EEDI.read(fold)) > 0.5
        assert abs(len(rows) - 400 / 3) < 10, "folds are about as large"
    assert not tests[0] & tests[1] and not tests[0] & tests[2] and not tests[1] & tests[2]


def test_explanations_of_a_question_are_in_one_fold(tmp_path: Path) -> None:
    data = SAMPLE / "map2025"
    questions = []
    for fold in write_folds(MAP2025, data, tmp_path / "folds", folds=2, unseen_share=0.0, seed=0, by="QuestionId"):
        header, *rows = read_rows(fold / "test.csv")
        questions.append({row[header.index("QuestionId")] for row in rows})
    assert questions[0] and questions[1] and not questions[0] & questions[1]


@pytest.mark.parametrize(
    ("by", "folds", "what", "mend"),
    [
        ("Construct", 3, "has no groups by 'Construct'", "use one of ConstructId, SubjectId"),
        ("SubjectId", 399, "399 folds cannot be made of", "use at most"),
    ],
)
def test_groups_that_cannot_be_kept_together(tmp_path: Path, by: str, folds: int, what: str, mend: str) -> None:
    with pytest.raises(DataError) as error:
        write_folds(EEDI, SAMPLE, tmp_path / "folds", folds=folds, unseen_share=0.6, seed=0, by=by)
    assert error.value.path == SAMPLE / "train.csv" and what in error.value.what and mend in error.value.mend
    assert not (tmp_path / "folds").exists()


def contents(folder: Path) -> dict[str, bytes]:
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("more", [{}, {"by": "ConstructId"}, {"questions": 10}])
def test_the_file_of_folds_makes_the_same_folds_again(tmp_path: Path, more: dict[str, Any]) -> None:
    write_folds(EEDI, SAMPLE, tmp_path / "a", folds=3, unseen_share=0.6, seed=5, **more)
    again = write_again(EEDI, SAMPLE, tmp_path / "b", tmp_path / "a" / "folds.json")
    assert [path.name for path in again] == ["fold-0", "fold-1", "fold-2"]
    one, other = contents(tmp_path / "a"), contents(tmp_path / "b")
    assert len(one) > 12 and one == other


def test_a_file_of_folds_for_other_data_is_refused(tmp_path: Path, folder: Path) -> None:
    write_folds(EEDI, SAMPLE, tmp_path / "a", folds=2, unseen_share=0.6, seed=0)
    file = tmp_path / "a" / "folds.json"
    with refused(DataError, "was made for another file", file, key="train.csv", mend="split anew"):
        write_again(EEDI, folder, tmp_path / "b", file)
    told = json.loads(file.read_text())
    told["folds"][0]["test"].append(10_000)
    file.write_text(json.dumps(told))
    with refused(DataError, "its rows are not among", file, key="fold 0", mend="split anew"):
        write_again(EEDI, SAMPLE, tmp_path / "b", file)
    file.write_text(file.read_text().replace('"eedi"', '"map2025"'))
    with refused(DataError, "was made for map2025", file, key="competition", mend="split anew"):
        write_again(EEDI, SAMPLE, tmp_path / "b", file)
    for text in ("[]", "{", '{"folds": [{"test": []}], "competition": "eedi", "train.csv": ""}'):
        file.write_text(text)
        with refused(DataError, "is no file of folds", file, mend="folds.json"):
            write_again(EEDI, SAMPLE, tmp_path / "b", file)
    assert not (tmp_path / "b").exists()
