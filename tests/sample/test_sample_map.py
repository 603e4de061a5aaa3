"""The sample of MAP 2025: the committed one is what its generator writes, and its labels are true by construction."""

from __future__ import annotations

import csv
from pathlib import Path
from random import Random

import pytest

from cascade.base import made as files
from cascade.base.runtime import ROOT
from cascade.competitions.map2025 import MAP2025, RIGHT
from sample.generate.map.dataset import Question, drawn, generate
from sample.generate.topic import tex

COMMITTED = ROOT / MAP2025.sample
FILES = ["train.csv", "test.csv", "test_labels.csv"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    generate(folder, seed=1)
    return folder


@pytest.mark.parametrize("name", FILES)
def test_the_committed_file_is_what_seed_1_gives(made: Path, name: str) -> None:
    assert (COMMITTED / name).read_bytes() == (made / name).read_bytes()


def test_the_committed_files_are_small_and_known(made: Path) -> None:
    assert sorted(path.name for path in made.iterdir()) == sorted([*FILES, files.FILE])
    files.check(COMMITTED, FILES)
    assert sum((COMMITTED / name).stat().st_size for name in FILES) < 1_000_000


def test_it_is_the_competitions_task_without_warnings() -> None:
    task = MAP2025.read(COMMITTED)
    assert task.warnings == [] and task.truth is not None and task.allowed is not None
    assert 50 <= len(task.labels) <= 90 and task.train["question_id"].nunique() == 15
    told = dict(task.truth.to_numpy().tolist())
    assert all(label in task.allowed[query] for query, label in told.items())
    kinds = {MAP2025.named(text).partition(":")[0] for text in task.labels["text"]}
    assert kinds == {f"{side}_{kind}" for side in ("True", "False") for kind in ("Correct", "Neither", "Misconception")}


def test_an_answers_side_is_whether_it_is_right(made: Path) -> None:
    right = {question.text: tex(question.item.right.answer(**question.values)) for question in drawn(Random(1))}
    with (made / "train.csv").open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            assert (row["MC_Answer"] == right[row["QuestionText"]]) == row["Category"].startswith(RIGHT)


def clauses(question: Question) -> dict[str, set[str]]:
    """Whose ways say what of a question."""
    found: dict[str, set[str]] = {}
    for name, way in {"Correct": question.item.right, **question.item.wrong}.items():
        words = way.words(question.values)
        for clause in way.clauses:
            found.setdefault(clause.format(**words), set()).add(name)
    for remark in question.item.remarks:
        found.setdefault(remark.format(**question.values), set()).add("Neither")
    return found


def test_no_two_ways_say_the_same() -> None:
    """With any numbers: an explanation tells its label."""
    for seed in range(20):
        for question in drawn(Random(seed)):
            same = {said: ways for said, ways in clauses(question).items() if len(ways) > 1}
            assert not same, (question.text, same)


def test_more_rows_may_be_asked_for(tmp_path: Path) -> None:
    assert "900 train and 300 test rows" in generate(tmp_path, seed=2, questions=1200, test=300)
    assert (tmp_path / "train.csv").read_bytes() != (COMMITTED / "train.csv").read_bytes()
    assert len(MAP2025.read(tmp_path).asked) == 300
