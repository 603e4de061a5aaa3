"""A competition folder so small that every row of it can be thought through; and Kaggle on loopback."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kaggle_server import KaggleServer
from tests.kaggle_server.datasets import Datasets
from tests.nano import make_adapter, make_model
from tests.runs import Run, small_run

MISCONCEPTIONS = 30
QUESTION_HEADER = [
    "QuestionId",
    "ConstructId",
    "ConstructName",
    "SubjectId",
    "SubjectName",
    "CorrectAnswer",
    "QuestionText",
    *[f"Answer{letter}Text" for letter in "ABCD"],
]
LABEL_HEADER = [f"Misconception{letter}Id" for letter in "ABCD"]
# QuestionId -> right answer, labels of A to D.
TRAIN = {
    "10": ("A", ["", "0", "1", "2"]),
    "11": ("B", ["3", "", "", "4"]),
    "12": ("C", ["0", "5", "", ""]),
    "13": ("D", ["6", "", "7", ""]),
    "14": ("A", ["", "8", "", "1"]),
    "15": ("B", ["9", "", "10", "11"]),
}
TEST = {
    "20": ("C", ["0", "20", "", "21"]),
    "21": ("A", ["", "22", "", "5"]),
    "22": ("D", ["", "23", "7", ""]),
}


def write_rows(path: Path, rows: list[list[str]]) -> None:
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file, lineterminator="\n").writerows(rows)


def read_rows(path: Path) -> list[list[str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.reader(file))


def set_cell(path: Path, row: int, column: str, value: str) -> None:
    """Replaces one cell; rows are counted from 1 under the header, 0 is the header itself."""
    rows = read_rows(path)
    rows[row][rows[0].index(column)] = value
    write_rows(path, rows)


def drop_column(path: Path, column: str) -> None:
    rows = read_rows(path)
    place = rows[0].index(column)
    write_rows(path, [[*row[:place], *row[place + 1 :]] for row in rows])


def question(id_: str, right: str) -> list[str]:
    number = int(id_)
    text = (
        f"Add the fractions.\nWhat is \\( \\frac{{1}}{{{number}}} + \\frac{{2}}{{{number}}} \\), in words, “and” why?"
    )
    answers = [f"\\( {number + step} \\)" for step in range(4)]
    return [id_, str(number % 3), f"Add fractions {number % 3}", "7", "Fractions, Decimals", right, text, *answers]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """30 misconceptions, 6 train and 3 test questions, test_labels.csv; a valid folder."""
    return write_folder(tmp_path / "data")


def write_folder(data: Path) -> Path:
    data.mkdir()
    names = [[str(id_), f"Adds the fractions' numerators {id_} times"] for id_ in range(MISCONCEPTIONS)]
    write_rows(data / "misconception_mapping.csv", [["MisconceptionId", "MisconceptionName"], *names])
    train = [[*question(id_, right), *labels] for id_, (right, labels) in TRAIN.items()]
    write_rows(data / "train.csv", [[*QUESTION_HEADER, *LABEL_HEADER], *train])
    write_rows(data / "test.csv", [QUESTION_HEADER, *(question(id_, right) for id_, (right, _) in TEST.items())])
    labels = [[id_, *labels] for id_, (_, labels) in TEST.items()]
    write_rows(data / "test_labels.csv", [["QuestionId", *LABEL_HEADER], *labels])
    return data


@pytest.fixture
def run(tmp_path: Path) -> Iterator[Run]:
    """A small run of the conductor in a folder of its own; whatever of it is still alive afterwards is ended."""
    made = small_run(tmp_path)
    yield made
    for process in made.survivors():
        process.kill()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[KaggleServer]:
    """Kaggle's API on loopback, and a login there instead of the person's own."""
    monkeypatch.setenv("HOME", str(tmp_path))
    with KaggleServer() as server, server.login(monkeypatch):
        yield server


@pytest.fixture
def store(server: KaggleServer) -> Datasets:
    """Its datasets and blobs."""
    return Datasets(server)


@pytest.fixture
def nano_model(tmp_path: Path) -> Path:
    """The smallest model, whole, for a test to break."""
    return make_model(tmp_path)


@pytest.fixture
def adapter(tmp_path: Path) -> Path:
    """Its adapter."""
    return make_adapter(tmp_path)
