"""The committed sample is what its generator writes, and poses the task that the competition poses."""

from __future__ import annotations

from pathlib import Path

import pytest

import sample
from cascade.base import made as files
from cascade.competitions.eedi import EEDI
from sample.generate.dataset import generate
from tests.conftest import read_rows

assert sample.__file__ is not None
COMMITTED = Path(sample.__file__).parent
FILES = ["train.csv", "test.csv", "test_labels.csv", "misconception_mapping.csv"]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[int, Path]:
    """Seed -> the folder generated with it."""
    folders = {seed: tmp_path_factory.mktemp(f"seed-{seed}") for seed in (1, 2)}
    for seed, folder in folders.items():
        generate(folder, seed=seed)
    return folders


@pytest.mark.parametrize("name", FILES)
def test_committed_file_is_what_seed_1_gives(made: dict[int, Path], name: str) -> None:
    assert (COMMITTED / name).read_bytes() == (made[1] / name).read_bytes()


def test_generator_writes_these_files_and_no_others(made: dict[int, Path]) -> None:
    assert sorted(path.name for path in made[1].iterdir()) == sorted([*FILES, files.FILE])
    assert sorted(path.name for path in COMMITTED.glob("*.csv")) == sorted(FILES)


def test_committed_record_knows_the_committed_files() -> None:
    """So that `make sample` makes them anew, whatever the generator has become."""
    files.check(COMMITTED, FILES)
    assert sorted(files.read(COMMITTED)) == sorted(FILES)


@pytest.mark.parametrize("name", FILES)
def test_another_seed_gives_other_bytes(made: dict[int, Path], name: str) -> None:
    assert (made[1] / name).read_bytes() != (made[2] / name).read_bytes()


@pytest.mark.parametrize("seed", [1, 2])
class TestSample:
    def test_is_a_valid_folder_without_warnings(self, made: dict[int, Path], seed: int) -> None:
        assert EEDI.read(made[seed]).warnings == []

    def test_has_the_sizes_promised(self, made: dict[int, Path], seed: int) -> None:
        task = EEDI.read(made[seed])
        tests = task.queries["question_id"].nunique()
        assert 60 <= tests <= 100
        assert len(read_rows(made[seed] / "train.csv")) - 1 + tests >= 400
        assert len(task.labels) >= 250
        assert task.labels["text"].is_unique

    def test_much_of_the_test_is_never_seen_in_train(self, made: dict[int, Path], seed: int) -> None:
        task = EEDI.read(made[seed])
        assert task.truth is not None
        shown = set(task.truth["label_id"].tolist())
        assert len(shown - task.seen) >= 0.4 * len(shown)
        assert shown & task.seen

    def test_no_question_stands_in_train_and_test(self, made: dict[int, Path], seed: int) -> None:
        task = EEDI.read(made[seed])
        for column in ("question_id", "question"):
            assert not set(task.train[column]) & set(task.queries[column])

    def test_labelled_answers_are_wrong(self, made: dict[int, Path], seed: int) -> None:
        labels = {row[0]: row[1:] for row in read_rows(made[seed] / "test_labels.csv")[1:]}
        labelled = 0
        for name in ("train.csv", "test.csv"):
            header, *rows = read_rows(made[seed] / name)
            for row in rows:
                question = dict(zip(header, row, strict=True))
                cells = row[-4:] if name == "train.csv" else labels[row[0]]
                right = question[f"Answer{question['CorrectAnswer']}Text"]
                for letter, label in zip("ABCD", cells, strict=True):
                    if label:
                        labelled += 1
                        assert letter != question["CorrectAnswer"], row[0]
                        assert question[f"Answer{letter}Text"] != right, row[0]
        assert labelled > 400

    def test_the_four_answers_differ_and_one_at_least_is_labelled(self, made: dict[int, Path], seed: int) -> None:
        labels = {row[0]: row[1:] for row in read_rows(made[seed] / "test_labels.csv")[1:]}
        for name in ("train.csv", "test.csv"):
            header, *rows = read_rows(made[seed] / name)
            first = header.index("AnswerAText")
            for row in rows:
                assert len(set(row[first : first + 4])) == 4, row[0]
                assert any(row[-4:] if name == "train.csv" else labels[row[0]]), row[0]
