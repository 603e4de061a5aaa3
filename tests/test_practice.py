"""The practice's data folder, its submission, and what is predicted from a ledger."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade import data, ledger, practice, rates
from tests.conftest import read_rows, set_cell


def test_the_longest_questions_and_some_others_move_from_train_to_test(folder: Path, tmp_path: Path) -> None:
    set_cell(folder / "train.csv", 4, "QuestionText", "A very long question. " * 30)
    before = data.read(folder)
    made = data.read(practice.write(folder, tmp_path / "made", 6))
    added = [id_ for id_ in made.test["question_id"].unique() if id_ not in set(before.test["question_id"])]
    assert len(added) == 2 and "practice-13" in added
    assert made.test["query_id"].tolist()[: len(before.test)] == before.test["query_id"].tolist()
    taken = {id_.removeprefix("practice-") for id_ in added}
    assert set(before.train["question_id"]) - set(made.train["question_id"]) == taken
    # The same text, and the labels that train had.
    labels = before.train[before.train["question_id"].isin(taken)].set_index("query_id")["misconception_id"]
    assert made.labels is not None
    assert {f"practice-{query}": id_ for query, id_ in labels.items()} == dict(made.labels.itertuples(index=False))
    moved = made.test.set_index("query_id").loc[list(made.labels["query_id"]), "wrong"].tolist()
    assert sorted(moved) == sorted(before.train.set_index("query_id").loc[list(labels.index), "wrong"])


def test_the_same_questions_are_drawn_again_and_never_all_of_train(folder: Path, tmp_path: Path) -> None:
    once, again = (practice.write(folder, tmp_path / name, 600) for name in ("once", "again"))
    for name in ("train.csv", "test.csv", "test_labels.csv"):
        assert (once / name).read_bytes() == (again / name).read_bytes()
    assert len(read_rows(once / "train.csv")) == 1 + 3


def test_unlabelled_questions_are_not_practised_on(folder: Path, tmp_path: Path) -> None:
    for row in (1, 3, 4, 5, 6):
        for letter in "ABCD":
            set_cell(folder / "train.csv", row, f"Misconception{letter}Id", "")
    made = data.read(folder=practice.write(folder, tmp_path / "made", 9))
    assert [id_ for id_ in made.test["question_id"].unique() if id_.startswith("practice-")] == ["practice-11"]


def test_columns_that_only_the_test_has_stay(folder: Path, tmp_path: Path) -> None:
    rows = read_rows(folder / "test.csv")
    lines = [
        ",".join([*(f'"{cell}"' for cell in row), extra]) for row, extra in zip(rows, ["Note", *"abc"], strict=True)
    ]
    (folder / "test.csv").write_text("\n".join(lines) + "\n")
    made = read_rows(practice.write(folder, tmp_path / "made", 3) / "test.csv")
    assert [row[-1] for row in made] == ["Note", *"abc", ""]


LEDGER = [
    # stage, phase, start, end, facts
    ("zero", "stage", 0, 2, {"status": "ok", "queries": 50}),
    ("retrieve-r1", "retrieve", 12, 112, {"queries": 50, "passages": 950}),
    ("retrieve-r1", "stage", 2, 112, {"status": "ok", "peak_memory_mb": 4200.0}),
    ("rerank-p1", "load", 120, 300, {}),
    ("rerank-p1", "score", 300, 400, {"queries": 25, "prompts": 100, "tokens": 42_000}),
    ("rerank-p1", "stage", 112, 410, {"status": "ok", "peak_memory_mb": 9000.0, "peak_gpu_memory_mb": 14336.0}),
]


def write_ledger(run: Path, *more: tuple[str, str, int, int, dict[str, object]]) -> None:
    for stage, phase, start, end, facts in [*LEDGER, *more]:
        ledger.record(run, stage, phase, start, end, **facts)


def test_the_whole_test_is_predicted_by_what_is_fixed_and_what_grows(tmp_path: Path) -> None:
    write_ledger(tmp_path)
    table = rates.table(tmp_path, queries=2050)
    # 1,000 texts took 100 s, and there will be 3,000; 10 s to start.
    assert table.loc["retrieve-r1", "predicted"] == 10 + 300
    # Half of the queries were selected, and will be: 41 times the 100 s; loading and starting stay.
    assert table.loc["rerank-p1", "predicted"] == 198 + 4100
    assert table.loc["rerank-p1", "tokens a second"] == 420
    assert table.loc["rerank-p1", "of a GPU (GiB)"] == 14.0
    assert table.loc[rates.TOTAL, "predicted"] == 2 + 310 + 4298


def test_nothing_is_predicted_from_a_stage_that_failed(tmp_path: Path) -> None:
    write_ledger(tmp_path, ("rerank-p2", "stage", 410, 500, {"status": "deadline: stopped after 3 of 50 queries"}))
    table = rates.table(tmp_path)
    assert table["predicted"].isna().tolist() == [False, False, False, True, True]
    assert table.loc[rates.TOTAL, "seconds"] == pytest.approx(500)


def test_an_empty_ledger_makes_an_empty_table(tmp_path: Path) -> None:
    assert rates.table(tmp_path).empty
