"""MAP 2025: what its files may hold, which labels a query can have, and what is held out together."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from cascade.base.errors import DataError, TableError
from cascade.competitions import registry, submission
from cascade.competitions.map2025 import MAP2025
from cascade.evaluation.folds import write_folds
from cascade.kaggle import holdout
from cascade.stages import baseline
from tests.refusals import refused

COLUMNS = ["row_id", "QuestionId", "QuestionText", "MC_Answer", "StudentExplanation", "Category", "Misconception"]
HALF, SUM = ("7", r"What is half of \( 6 \)?"), ("8", r"Calculate \( 2+3 \)")
TRAIN = [
    ["0", *HALF, r"\( 3 \)", "6 shared by 2 is 3", "True_Correct", "NA"],
    ["1", *HALF, r"\( 3 \)", "I guessed", "True_Neither", ""],
    ["2", *HALF, r"\( 3 \)", "6 take away 3 is 3", "True_Misconception", "Subtraction"],
    ["3", *HALF, r"\( 12 \)", "half means two times", "False_Misconception", "Doubling"],
    ["4", *HALF, r"\( 12 \)", "Two times - half means!", "False_Misconception", "Doubling"],
    ["5", *HALF, r"\( 12 \)", "dunno", "False_Neither", "nan"],
    ["6", *SUM, r"\( 6 \)", "2 times 3", "False_Misconception", "Multiplying"],
    ["7", *SUM, r"\( 5 \)", "I counted on", "True_Correct", "NA"],
]
TEST = [
    ["20", *HALF, "3", "because"],
    ["21", *HALF, r"\(12\)", "because"],
    ["22", *HALF, r"\( 4 \)", "because"],
    ["23", "9", "How many?", "3", "because"],
]
UNKNOWN = "train.csv does not tell which labels 1 of 4 rows can have, row_id 23 first; check that both files"
DOUBLING = "wrong answer, with the misconception: Doubling"


@pytest.fixture
def data(tmp_path: Path) -> Path:
    folder = tmp_path / "data"
    write(folder, TRAIN)
    return folder


def write(folder: Path, train: list[list[str]], test: list[list[str]] = TEST) -> None:
    folder.mkdir(exist_ok=True)
    pd.DataFrame(train, columns=COLUMNS).to_csv(folder / "train.csv", index=False)
    pd.DataFrame(test, columns=COLUMNS[:5]).to_csv(folder / "test.csv", index=False)


def allowed(folder: Path, lenient: bool = False) -> dict[str, set[str] | None]:
    task = MAP2025.read(folder, lenient)
    assert task.allowed is not None
    found = {query: task.allowed.get(query) for query in task.queries["query_id"]}
    return {q: None if ids is None else {MAP2025.named(task.texts[i]) for i in ids} for q, ids in found.items()}


def test_a_query_can_have_the_labels_of_its_question_and_its_answers_side(data: Path) -> None:
    right = {"True_Correct:NA", "True_Neither:NA", "True_Misconception:Subtraction"}
    wrong = {"False_Misconception:Doubling", "False_Neither:NA"}
    assert allowed(data) == {"20": right, "21": wrong, "22": right | wrong, "23": None}


@pytest.mark.parametrize(("others", "both"), [(99, True), (100, False)])
def test_an_answer_told_both_ways_keeps_both_sides(tmp_path: Path, others: int, both: bool) -> None:
    """One row in a hundred: fewer are slips. Where one answer's rows are told by what a student meant, all count."""
    rows = [[str(n), *HALF, "3", f"shared {n}", "True_Correct", "NA"] for n in range(others)]
    write(tmp_path, [*rows, ["x", *HALF, "3", "a third", "False_Neither", "NA"]])
    sides = {"True_Correct:NA", *(["False_Neither:NA"] if both else [])}
    assert allowed(tmp_path)["20"] == sides


def test_a_label_is_told_in_words_and_submitted_by_its_name(data: Path, tmp_path: Path) -> None:
    task = MAP2025.read(data)
    assert set(task.labels["text"]) == {
        "right answer, explained correctly",
        "right answer, and the explanation says neither",
        "right answer, with the misconception: Subtraction",
        DOUBLING,
        "wrong answer, with the misconception: Multiplying",
        "wrong answer, and the explanation says neither",
    }
    outline = MAP2025.outline(data)
    submission.write(baseline.rows(outline), outline, tmp_path / "submission.csv")
    submission.validate(tmp_path / "submission.csv", task)
    lines = (tmp_path / "submission.csv").read_text().splitlines()
    assert lines[0] == "row_id,Category:Misconception"
    assert lines[1] == "20,True_Correct:NA True_Neither:NA True_Misconception:Subtraction"
    assert lines[2].startswith("21,False_Misconception:Doubling False_Neither:NA ")
    assert submission.read(tmp_path / "submission.csv", task) == baseline.rows(outline)


def test_submission_zero_goes_by_question_and_answer(data: Path) -> None:
    outline = MAP2025.outline(data)
    for rows in (baseline.rows(outline), baseline.frequent_rows(outline)):
        first = {query: MAP2025.named(outline.texts[ids[0]]) for query, ids in rows.items()}
        assert (first["21"], first["22"]) == ("False_Misconception:Doubling",) * 2
        assert all(len(set(ids)) == 3 for ids in rows.values())


@pytest.mark.parametrize(
    ("row", "said"),
    [
        (
            ["9", *HALF, "3", "x", "TrueCorrect", "NA"],
            r"row 9 \(row_id 9\): Category is 'TrueCorrect'; it must",
        ),
        (
            ["9", *HALF, "3", "x", "True_Corect", "NA"],
            "Category is 'True_Corect'; it must be True_ or False_ and Correct",
        ),
        (["9", "5", "?", "3", "x", "", ""], r"row 9 \(row_id 9\): no row of question 5 has a Category; fill one in"),
        (["7", *HALF, "3", "x", "True_Correct", "NA"], r"row 9 \(row_id 7\): the id occurs twice; remove one"),
        (["", *HALF, "3", "x", "True_Correct", "NA"], r"row 9 \(row_id \): the id is empty; give each row an id"),
        (
            ["9", *HALF, "3", "x", "True_Misconception", "two words"],
            "Misconception 'two words' has a space",
        ),
        (["9", *HALF, "3", "x", "True_Misconception", "two\nlines"], r"Misconception 'two\\nlines' has a space"),
    ],
)
def test_a_row_that_cannot_be_is_refused_and_left_out_in_the_rerun(data: Path, row: list[str], said: str) -> None:
    write(data, [*TRAIN, row])
    with pytest.raises(DataError, match=said):
        MAP2025.read(data)
    task = MAP2025.read(data, lenient=True)
    assert len(task.train) == 8 and len(task.warnings) == 2 and UNKNOWN in task.warnings[1]


def test_a_blank_about_a_questions_id_does_not_make_it_another(data: Path) -> None:
    write(data, [*TRAIN, ["9", " 7", HALF[1], "3", "x", "", ""]])
    assert len(MAP2025.read(data).train) == 8


def test_a_question_that_train_lacks_gets_the_most_frequent_labels(data: Path) -> None:
    write(data, [*TRAIN, ["9", *HALF, r"\( 12 \)", "twice", "False_Misconception", "Doubling"]])
    outline = MAP2025.outline(data)
    assert outline.texts[outline.guesses["23"][0]] == DOUBLING  # three rows, more than any other
    assert outline.texts[baseline.rows(outline)["23"][0]] == DOUBLING


@pytest.mark.parametrize(
    ("category", "misconception"),
    [("False_Misconception", ""), ("False_Misconception", "NA"), ("True_Correct", "Doubling"), ("", "Doubling")],
)
def test_a_misconception_without_its_category_is_told(data: Path, category: str, misconception: str) -> None:
    write(data, [*TRAIN, ["9", *HALF, r"\( 12 \)", "x", category, misconception]])
    [said, unknown] = MAP2025.read(data).warnings
    assert UNKNOWN in unknown
    assert said.startswith(f"{data / 'train.csv'}: in 1 rows Category and Misconception disagree, row_id 9 first ")
    assert f"('{category}' with '{misconception}')" in said


@pytest.mark.parametrize("column", COLUMNS)
def test_a_column_that_is_missing_is_named(data: Path, column: str) -> None:
    pd.DataFrame(TRAIN, columns=COLUMNS).drop(columns=column).to_csv(data / "train.csv", index=False)
    with refused(DataError, "is missing", data / "train.csv", f"column {column}", "rename or add it"):
        MAP2025.read(data)


def test_a_row_of_the_test_that_occurs_twice_is_refused(data: Path) -> None:
    write(data, TRAIN, [*TEST, TEST[1]])
    with refused(DataError, "the id occurs twice", data / "test.csv", "row 5 (row_id 21)", "remove one"):
        MAP2025.read(data)
    assert MAP2025.read(data, lenient=True).asked == ["20", "21", "22", "23"]


@pytest.mark.parametrize("category", ["TrueCorrect", "Correct", "True", "true_Correct"])
def test_a_category_of_the_tests_labels_is_checked(data: Path, category: str) -> None:
    rows = [["20", "True_Correct", "NA"], ["21", category, "NA"]]
    pd.DataFrame(rows, columns=["row_id", *COLUMNS[5:]]).to_csv(data / "test_labels.csv", index=False)
    with refused(DataError, f"Category is '{category}'", data / "test_labels.csv", "row 2 (row_id 21)", "True_"):
        MAP2025.read(data)
    task = MAP2025.read(data, lenient=True)
    assert task.truth is None and "in the rerun it is not used" in task.warnings[0]


@pytest.mark.parametrize(
    ("train", "test"), [(r"\( 3 \)", "3"), ("3", r"\(3\)"), (r"\( \frac{1}{2} \)", r"\frac{1}{2}"), ("$3$ Cm", "3cm")]
)
def test_an_answer_in_another_spelling_is_the_same(tmp_path: Path, train: str, test: str) -> None:
    other = ["b", *HALF, "12", "doubled", "False_Misconception", "Doubling"]
    write(tmp_path, [["a", *HALF, train, "shared", "True_Correct", "NA"], other], [["20", *HALF, test, "x"]])
    assert allowed(tmp_path)["20"] == {"True_Correct:NA"}
    outline = MAP2025.outline(tmp_path)
    assert MAP2025.named(outline.texts[baseline.rows(outline)["20"][0]]) == "True_Correct:NA"


def test_a_label_that_train_lacks_is_told(data: Path) -> None:
    truth = pd.DataFrame([["20", "True_Misconception", "Division"]], columns=["row_id", *COLUMNS[5:]])
    truth.to_csv(data / "test_labels.csv", index=False)
    [said, unknown] = MAP2025.read(data).warnings
    assert UNKNOWN in unknown
    assert said.startswith(f"{data / 'test_labels.csv'}: 1 rows have a label that no row of train.csv has, ")
    assert "True_Misconception:Division of row_id 20 first; no classifier can predict it" in said


@pytest.mark.parametrize("text", ["", "a " * 10_000])
def test_an_explanation_may_be_empty_or_long(data: Path, text: str) -> None:
    write(data, TRAIN, [[*TEST[0][:4], text]])
    task = MAP2025.read(data)
    assert [f"{data / 'test.csv'}: 1 rows have no StudentExplanation" in said for said in task.warnings] == [True] * (
        not text
    )
    assert task.allowed is not None and len(task.allowed["20"]) == 3
    assert len(baseline.rows(MAP2025.outline(data))["20"]) == 3


@pytest.mark.parametrize("cell", ["{0} {1} {2} {3}", "{0} {0} {1}", "{0} {1} Doubling", "{0} {1}"])
def test_a_submissions_row_has_three_labels(data: Path, tmp_path: Path, cell: str) -> None:
    write(data, TRAIN, TEST[:1])
    task = MAP2025.read(data)
    names = [MAP2025.named(text) for text in task.texts.values()]
    (tmp_path / "s.csv").write_text(f"row_id,Category:Misconception\n20,{cell.format(*names)}\n")
    with pytest.raises(TableError, match="20: has "):
        submission.validate(tmp_path / "s.csv", task)


def test_near_duplicates_are_held_out_together(data: Path, tmp_path: Path) -> None:
    units = MAP2025.units(data)
    assert len(units) == 7 and [len(unit.labels) for unit in units] == [1, 1, 1, 2, 1, 1, 1]
    for fold in write_folds(MAP2025, data, tmp_path / "folds", folds=3, unseen_share=0.0, seed=0):
        test = set(MAP2025.read(fold).asked)
        assert len(test & {"3", "4"}) != 1
    both = MAP2025.read(holdout.write(MAP2025, data, tmp_path / "both", 3))
    assert len({"practice-3", "practice-4"} & set(both.asked)) != 1 and both.asked[:4] == ["20", "21", "22", "23"]


def test_the_files_tell_whose_they_are(data: Path) -> None:
    assert registry.of_data(data) is MAP2025 is registry.find("map2025", Path())


def test_rows_without_a_label_do_not_make_a_fold_that_is_refused(data: Path, tmp_path: Path) -> None:
    """Of a question with one labelled row and many without; the practice of a commit run is split like a fold."""
    bare = [[f"u{n}", "77", "A third?", "3", f"shared {n}", "", ""] for n in range(8)]
    write(data, [*TRAIN, ["l", "77", "A third?", "3", "thirds", "True_Correct", "NA"], *bare])
    for path in write_folds(MAP2025, data, tmp_path / "folds", 3, MAP2025.unseen, seed=0):
        assert not MAP2025.read(path).train.empty
    units = range(len(MAP2025.units(data)))
    MAP2025.split(data, tmp_path / "practice", [7], [place for place in units if place != 7], set(), "practice-")
    assert "l" not in set(MAP2025.read(tmp_path / "practice").train["query_id"])


def test_a_train_without_rows_cannot_be_split(data: Path, tmp_path: Path) -> None:
    write(data, [])
    with refused(DataError, "has no rows", data / "train.csv", mend="add labelled rows"):
        write_folds(MAP2025, data, tmp_path / "folds", 2, 0.5, seed=0)
