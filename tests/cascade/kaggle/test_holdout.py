"""The practice's data folder and its submission."""

from __future__ import annotations

from pathlib import Path

from cascade.competitions.eedi import EEDI
from cascade.kaggle import holdout
from tests.conftest import read_rows, set_cell


def test_the_longest_questions_and_some_others_move_from_train_to_test(folder: Path, tmp_path: Path) -> None:
    set_cell(folder / "train.csv", 4, "QuestionText", "A very long question. " * 30)
    before = EEDI.read(folder)
    made = EEDI.read(holdout.write(EEDI, folder, tmp_path / "made", 6))
    added = [id_ for id_ in made.queries["question_id"].unique() if id_ not in set(before.queries["question_id"])]
    assert len(added) == 2 and "practice-13" in added
    assert made.queries["query_id"].tolist()[: len(before.queries)] == before.queries["query_id"].tolist()
    taken = {id_.removeprefix("practice-") for id_ in added}
    assert set(before.train["question_id"]) - set(made.train["question_id"]) == taken
    # The same text, and the labels that train had.
    labels = before.train[before.train["question_id"].isin(taken)].set_index("query_id")["label_id"]
    assert made.truth is not None
    assert {f"practice-{query}": id_ for query, id_ in labels.items()} == dict(made.truth.itertuples(index=False))
    moved = made.queries.set_index("query_id").loc[list(made.truth["query_id"]), "wrong"].tolist()
    assert sorted(moved) == sorted(before.train.set_index("query_id").loc[list(labels.index), "wrong"])


def test_the_same_questions_are_drawn_again_and_never_all_of_train(folder: Path, tmp_path: Path) -> None:
    once, again = (holdout.write(EEDI, folder, tmp_path / name, 600) for name in ("once", "again"))
    for name in ("train.csv", "test.csv", "test_labels.csv"):
        assert (once / name).read_bytes() == (again / name).read_bytes()
    assert len(read_rows(once / "train.csv")) == 1 + 3


def test_unlabelled_questions_are_not_practised_on(folder: Path, tmp_path: Path) -> None:
    for row in (1, 3, 4, 5, 6):
        for letter in "ABCD":
            set_cell(folder / "train.csv", row, f"Misconception{letter}Id", "")
    made = EEDI.read(folder=holdout.write(EEDI, folder, tmp_path / "made", 9))
    assert [id_ for id_ in made.queries["question_id"].unique() if id_.startswith("practice-")] == ["practice-11"]


def test_columns_that_only_the_test_has_stay(folder: Path, tmp_path: Path) -> None:
    rows = read_rows(folder / "test.csv")
    lines = [
        ",".join([*(f'"{cell}"' for cell in row), extra]) for row, extra in zip(rows, ["Note", *"abc"], strict=True)
    ]
    (folder / "test.csv").write_text("\n".join(lines) + "\n")
    made = read_rows(holdout.write(EEDI, folder, tmp_path / "made", 3) / "test.csv")
    assert [row[-1] for row in made] == ["Note", *"abc", ""]
