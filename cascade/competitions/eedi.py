"""Eedi – Mining Misconceptions in Mathematics: for a question and one wrong answer, the 25 likeliest misconceptions."""

from __future__ import annotations

import csv
import re
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from cascade.base import csv_reader
from cascade.base.errors import DataError
from cascade.competitions import eedi_files as files
from cascade.competitions import submission
from cascade.competitions.base import Competition, Outline, Task, Unit
from cascade.competitions.csv_files import read_csv
from cascade.competitions.eedi_files import ANSWERS, LABEL_COLUMNS, MAPPING, TEST_COLUMNS, TEXT_COLUMNS

# The same labels for all that test.csv asks.
FALLBACK = """\
if not kernel:
    import csv

    found = [path for depth in (1, 2, 3) for path in sorted(inputs.glob("*/" * depth + "test.csv"))]
    found.sort(key=lambda path: inputs / "competitions" not in path.parents)
    first = " ".join(map(str, range(25)))
    with (
        found[0].open(encoding="utf-8-sig", errors="replace", newline="") as test,
        Path("submission.csv").open("w", encoding="utf-8") as out,
    ):
        print("QuestionId_Answer,MisconceptionId", file=out)
        for question in csv.DictReader(test):
            for answer in sorted({*"ABCD"} - {question["CorrectAnswer"]}):
                print(f"{question['QuestionId']}_{answer},{first}", file=out)
"""


class Eedi(Competition):
    """A query is a question with one wrong answer, a label a misconception, mostly one that no train question has."""

    name = "eedi"
    slug = "eedi-mining-misconceptions-in-mathematics"
    columns = ("QuestionId_Answer", "MisconceptionId")
    depth = 25
    fields = ("question", "subject", "correct", "wrong", "construct")
    group = "subject"
    fallback = FALLBACK
    hidden_queries = 2055  # about 685 questions with three wrong answers each
    hidden_labels = 2587
    unit_queries = len(ANSWERS) - 1
    unseen = 0.6
    sample = "sample"

    def is_data(self, folder: Path) -> bool:
        return all((folder / name).is_file() for name in (MAPPING, "test.csv"))

    def read(self, folder: Path, lenient: bool = False) -> Task:
        """Where `lenient` only what leaves nothing to rank is refused; rows left out keep submission zero's labels."""
        if not folder.is_dir():
            raise DataError("no such folder", path=folder, mend="pass the folder that contains test.csv")
        warnings: list[str] = []
        labels = files.read_mapping(folder, warnings, lenient)
        known = set(labels["label_id"].tolist())
        read_train = files.read_train_leniently if lenient else files.read_train
        train = read_train(folder / "train.csv", known, warnings)
        path = folder / "test.csv"
        questions = files.read_test_leniently(path, warnings) if lenient else read_csv(path, TEST_COLUMNS)
        asked = list(files.outlined(questions))
        queries = files.to_queries(files.checked(path, questions, warnings, lenient))
        path, truth = folder / "test_labels.csv", None
        if path.is_file():
            truth = (
                files.read_labels_leniently(path, known, queries, warnings)
                if lenient
                else files.read_labels(path, known, queries)
            )
        task = Task(self, folder, train, queries, asked, labels, truth, warnings)
        warnings += submission.check_against_sample(folder, task)
        return task

    def cell(self, ids: Sequence[int], texts: Mapping[int, str]) -> str:
        return " ".join(map(str, ids))

    def parse(self, cell: str, texts: Mapping[int, str]) -> list[int]:
        return [_id(each) for each in cell.split()]

    def outline(self, folder: Path) -> Outline:
        """Any test.csv with its ids and answers, any mapping with its ids; train.csv may be missing or broken."""
        labels = files.names(folder)
        ids = pd.Series(list(labels))
        try:
            train = csv_reader.read(folder / "train.csv")
            cells = pd.concat([train[name] for name in train.columns.astype(str) if name.startswith("Misconception")])
            counts = pd.to_numeric(cells, errors="coerce").value_counts()
            ids = ids.iloc[np.argsort(-ids.map(counts).fillna(0).to_numpy(), kind="stable")]
        except (OSError, ValueError, csv.Error):
            pass
        return Outline(self, files.outlined(csv_reader.read(folder / "test.csv")), labels, ids.tolist())

    def units(self, folder: Path) -> list[Unit]:
        frame = self._train(folder)
        lengths = frame[TEXT_COLUMNS].apply(lambda column: column.str.len()).sum(axis=1)
        cells = frame[LABEL_COLUMNS].to_numpy()
        groups = frame[["ConstructId", "SubjectId"]].to_dict("records")
        return [
            Unit(tuple(int(cell) for cell in row if cell), int(length), group)
            for row, length, group in zip(cells, lengths, groups, strict=True)
        ]

    def split(
        self, folder: Path, out: Path, test: Sequence[int], train: Sequence[int], held_out: set[int], mark: str | None
    ) -> None:
        frame = self._train(folder)
        rest, asked = frame.iloc[list(train)].copy(), frame.iloc[list(test)].copy()
        for column in LABEL_COLUMNS:
            rest.loc[rest[column].isin({str(id_) for id_ in held_out}), column] = ""
        questions = asked.drop(columns=LABEL_COLUMNS)
        if mark is not None:
            asked["QuestionId"] = mark + asked["QuestionId"].str.strip()
            own = read_csv(folder / "test.csv", TEST_COLUMNS)
            questions = pd.concat([own, asked.reindex(columns=own.columns, fill_value="")])
        out.mkdir(parents=True, exist_ok=True)
        rest.to_csv(out / "train.csv", index=False)
        questions.to_csv(out / "test.csv", index=False)
        asked[["QuestionId", *LABEL_COLUMNS]].to_csv(out / "test_labels.csv", index=False)
        shutil.copyfile(folder / MAPPING, out / MAPPING)

    def _train(self, folder: Path) -> pd.DataFrame:
        """train.csv as it is, checked; its labels in one spelling, and none on a right answer: no query has it."""
        path = folder / "train.csv"
        known = set(files.read_mapping(folder, [], lenient=False)["label_id"].tolist())
        files.read_train(path, known, [])
        frame = read_csv(path, TEST_COLUMNS + LABEL_COLUMNS)
        for answer, column in zip(ANSWERS, LABEL_COLUMNS, strict=True):
            ids = frame[column].str.strip().str.replace(r"\.0*$", "", regex=True)  # pandas writes 7.0 beside a gap
            frame[column] = ids.mask((ids.str.lower() == "nan") | (frame["CorrectAnswer"].str.strip() == answer), "")
        return frame


def _id(text: str) -> int:
    """Reads an id, and refuses what int() alone would accept: 1_0 and digits of other scripts."""
    if not re.fullmatch(r"-?[0-9]{1,18}", text):
        raise ValueError(f"{text!r} is not a whole number")
    return int(text)


EEDI = Eedi()
