"""Submission zero on files that everything else refuses: whatever is asked gets its 25 ids."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from cascade.competitions import submission
from cascade.competitions.eedi import EEDI
from cascade.rankings import tables
from cascade.retrievers.tfidf import tfidf_blocks
from cascade.stages import baseline
from tests.conftest import read_rows, set_cell, write_rows
from tests.eedi import asked, rows_of

ASKED = ["20_A", "20_B", "20_D", "21_B", "21_C", "21_D", "22_A", "22_B", "22_C"]


def answered(folder: Path, tmp_path: Path) -> list[str]:
    baseline.write(EEDI.outline(folder), tmp_path / "out")
    rows = rows_of(tmp_path / "out" / "submission.csv")
    submission.check(rows, asked(list(rows), set(EEDI.outline(folder).texts)), "submission.csv")
    return list(rows)


@pytest.mark.parametrize("row", [1, 2, 3])
def test_a_row_with_a_cell_too_many_is_cut(folder: Path, tmp_path: Path, row: int) -> None:
    rows = read_rows(folder / "test.csv")
    write_rows(folder / "test.csv", [*rows[:row], [*rows[row], "one more"], *rows[row + 1 :]])
    assert answered(folder, tmp_path) == ASKED


def test_a_row_with_too_few_cells_beside_one_with_too_many_is_filled_up(folder: Path, tmp_path: Path) -> None:
    rows = read_rows(folder / "test.csv")
    write_rows(folder / "test.csv", [rows[0], [*rows[1], "one more"], rows[2], rows[3][:7]])
    assert answered(folder, tmp_path) == ASKED


def test_a_quote_that_is_never_closed_costs_no_question_before_it(folder: Path, tmp_path: Path) -> None:
    path = folder / "test.csv"
    path.write_text(path.read_text() + '23,1,c,1,s,A,"never closed, ' + "x" * 200_000 + "\n")
    assert answered(folder, tmp_path) == [*ASKED, "23_B", "23_C", "23_D"]


@pytest.mark.parametrize("id_", ["", "x", "7"], ids=["no id", "no number", "an id twice"])
def test_a_misconception_without_an_id_of_its_own_is_left_out(folder: Path, tmp_path: Path, id_: str) -> None:
    set_cell(folder / "misconception_mapping.csv", 30, "MisconceptionId", id_)
    assert answered(folder, tmp_path) == ASKED
    assert set(EEDI.outline(folder).texts) == set(range(29))


def test_a_valid_file_stands_before_any_text_is_read(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However long TF-IDF takes: the most frequent labels of train, then the mapping's order."""
    seen = {}

    def blocks(*_: object) -> list[np.ndarray]:
        seen.update(rows_of(tmp_path / "out" / "submission.csv"))
        return [np.zeros((len(ASKED), 30), dtype=np.float32)]

    monkeypatch.setattr(baseline, "tfidf_blocks", blocks)
    for row, id_ in ((1, "17"), (2, "17"), (3, "4")):
        set_cell(folder / "train.csv", row, "MisconceptionBId", id_)
        set_cell(folder / "train.csv", row, "MisconceptionCId", "")
        set_cell(folder / "train.csv", row, "MisconceptionAId", "")
        set_cell(folder / "train.csv", row, "MisconceptionDId", "")
    assert answered(folder, tmp_path) == ASKED
    assert list(seen) == ASKED
    assert seen[ASKED[0]][0] == 17 and 4 in seen[ASKED[0]][:3]
    submission.check(seen, asked(ASKED, set(EEDI.outline(folder).texts)), "the first file")


def test_without_a_train_csv_it_is_the_mappings_order(folder: Path) -> None:
    (folder / "train.csv").unlink()
    assert set(map(tuple, baseline.frequent_rows(EEDI.outline(folder)).values())) == {tuple(range(25))}


def test_of_a_text_of_megabytes_the_beginning_is_read(folder: Path) -> None:
    rows, found = read_rows(folder / "test.csv"), []
    question = rows[0].index("QuestionText")
    for more in (" " * baseline.LONGEST, "never read " * 500_000):
        rows[1][question] += more
        write_rows(folder / "test.csv", rows)
        found.append(baseline.rows(EEDI.outline(folder)))
    assert found[0] == found[1]


def test_scores_are_those_of_scikit_learn_reading_whole_texts(monkeypatch: pytest.MonkeyPatch) -> None:
    """N-grams are taken of each word once; it is no other TF-IDF, whatever stands between the words."""
    words = ["Adds", "ADDS", "a", "½", "\\(x\\)", "İstanbul", "ΑΣ", "multiplies", "1/2", "naïve"]
    gaps = [" ", "  ", "\n", "\t \r\n", "\u00a0", "\x1c", "\u2003"]
    rng = np.random.default_rng(0)
    texts = ["".join(rng.choice(words) + rng.choice(gaps) for _ in range(rng.integers(12))) for _ in range(60)]
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    vectorizer.fit(texts)
    vectors = vectorizer.transform(texts)
    expected = (vectors[20:] @ vectors[:20].T).toarray().astype(np.float32)
    monkeypatch.setattr(tables, "BLOCK", 150)  # seven rows at a time
    blocks = list(tfidf_blocks(texts[20:], texts[:20]))
    assert [len(block) for block in blocks] == [7] * 5 + [5]
    assert (np.concatenate(blocks) == expected).all()
