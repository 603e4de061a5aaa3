"""Competitions whose train.csv and test.csv have one row a query, and train.csv its label: the most common kind."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import ClassVar

import numpy as np
import pandas as pd

from cascade.base.columns import among
from cascade.base.errors import DataError
from cascade.competitions import submission
from cascade.competitions.base import Competition, Task, Unit
from cascade.competitions.csv_files import read_csv, read_leniently, refuse

TRAIN, TEST, TRUTH = "train.csv", "test.csv", "test_labels.csv"


class RowCompetition(Competition):
    """id_column: of both files. text_columns: those of `fields`, in their order. label_columns: of train.csv.

    A label's name is what train.csv has in its label columns, or test_labels.csv, where the folder has one, which tells
    the test's. A submission's cell has the names with a space between.
    """

    id_column: ClassVar[str]
    text_columns: ClassVar[tuple[str, ...]]
    label_columns: ClassVar[tuple[str, ...]]

    def __init__(self) -> None:
        super().__init__()
        if len(self.fields) != len(self.text_columns):
            raise TypeError(f"{type(self).__name__}: `fields` must have a name for each of `text_columns`")

    def label(self, row: Mapping[str, str]) -> str:
        """The name of the label of a row of train.csv; empty for a row without one."""
        parts = [row[name].strip() for name in self.label_columns]
        return ":".join(parts) if any(parts) else ""

    def described(self, name: str) -> str:
        """What a label is called in prompts, and shown as."""
        return name

    def named(self, text: str) -> str:
        """The name of the label that is so described."""
        return text

    def text(self, row: Mapping[str, str]) -> str:
        """What retrievers read of a row, by `fields`."""
        return " ".join(row[name] for name in self.fields)

    def check(self, path: Path, frame: pd.DataFrame, warnings: list[str]) -> None:
        """DataError for a row of one of the files that it cannot be; what is doubtful is added to the warnings."""

    def allowed(self, train: pd.DataFrame, queries: pd.DataFrame, labels: pd.DataFrame) -> dict[str, list[int]] | None:
        """`Task.allowed`, by the task's tables; None where every query can have every label."""
        return None

    def alike(self, row: Mapping[str, str]) -> Hashable:
        """Rows of train.csv with the same are held out together; the id, where each is for itself."""
        return row[self.id_column]

    def is_data(self, folder: Path) -> bool:
        return (folder / TRAIN).is_file() and read_leniently(folder / TEST, (), self._columns(())) is not None

    def read(self, folder: Path, lenient: bool = False) -> Task:
        if not folder.is_dir():
            raise DataError("no such folder", path=folder, mend=f"pass the folder that contains {TEST}")
        warnings: list[str] = []
        train = self._rows(folder / TRAIN, self.label_columns, lenient, warnings)
        asked = self._rows(folder / TEST, (), lenient, warnings)
        if asked.empty:
            raise DataError("has no rows", path=folder / TEST, mend="add at least one query")
        told = self._labels(train)
        truth = self._truth(folder / TRUTH, asked, lenient, warnings)
        texts = sorted({*told, *([] if truth is None else truth["text"])} - {""})
        if not any(told):
            raise DataError("no row has a label", path=folder / TRAIN, mend=f"fill in {', '.join(self.label_columns)}")
        if broken := [text for text in texts if text.split() != [text]]:
            raise DataError(
                f"the label '{broken[0]}' contains a space, which separates the labels of a submission's row",
                path=folder,
                mend="define `label` without spaces, or `cell` and `parse` with another separator",
            )
        ids = {text: id_ for id_, text in enumerate(texts)}
        labelled = train[np.array([bool(text) for text in told], dtype=bool)].reset_index(drop=True)
        queries = self._queries(labelled).assign(label_id=[ids[text] for text in told if text])
        labels = pd.DataFrame({"label_id": list(ids.values()), "text": [self.described(text) for text in texts]})
        if truth is not None:
            if len(strange := truth[~truth["text"].isin(told)]):
                first = f"{strange['text'].iloc[0]} of {self.id_column} {strange['query_id'].iloc[0]} first"
                warnings.append(
                    f"{folder / TRUTH}: {len(strange)} rows have a label that no row of {TRAIN} has, {first}; "
                    f"no classifier can predict it, so check its spelling"
                )
            truth = truth.assign(label_id=[ids[text] for text in truth["text"]])[["query_id", "label_id"]]
        ordered, asked = asked[self.id_column].tolist(), self._queries(asked)
        allowed = self.allowed(queries, asked, labels)
        if allowed is not None and (lost := [query for query in ordered if query not in allowed]):
            warnings.append(
                f"{folder / TEST}: {TRAIN} does not tell which labels {len(lost)} of {len(ordered)} rows can have, "
                f"{self.id_column} {lost[0]} first; check that both files write their columns alike"
            )
        task = Task(self, folder, queries, asked, ordered, labels, truth, warnings, allowed)
        warnings += submission.check_against_sample(folder, task)
        return task

    def cell(self, ids: Sequence[int], texts: Mapping[int, str]) -> str:
        return " ".join(self.named(texts[id_]) for id_ in ids)

    def parse(self, cell: str, texts: Mapping[int, str]) -> list[int]:
        known = {self.named(text): id_ for id_, text in texts.items()}
        return [known.get(text, -1) for text in cell.split()]

    def units(self, folder: Path) -> list[Unit]:
        frame, groups = self._train(folder)
        names = self._labels(frame)
        ids = {name: id_ for id_, name in enumerate(sorted({*names} - {""}))}
        lengths = self._queries(frame)["text"].str.len().tolist()
        own = frame[[*self.text_columns]].to_dict("records")
        return [
            Unit(tuple(ids[names[row]] for row in rows if names[row]), max(lengths[row] for row in rows), own[rows[0]])
            for rows in groups
        ]

    def split(
        self, folder: Path, out: Path, test: Sequence[int], train: Sequence[int], held_out: set[int], mark: str | None
    ) -> None:
        frame, groups = self._train(folder)
        gone = {name for id_, name in enumerate(sorted({*self._labels(frame)} - {""})) if id_ in held_out}
        rest, asked = (frame.iloc[sorted(row for unit in part for row in groups[unit])] for part in (train, test))
        # Rows without a label teach nothing, and without the labelled ones of their like they might be refused.
        rest = rest[[bool(name) and name not in gone for name in self._labels(rest)]]
        if mark is not None:
            asked = asked.assign(**{self.id_column: mark + asked[self.id_column]})
        questions = asked.drop(columns=[*self.label_columns])
        if mark is not None:
            own = read_csv(folder / TEST, self._columns(()))
            questions = pd.concat([own, questions.reindex(columns=own.columns, fill_value="")])
        out.mkdir(parents=True, exist_ok=True)
        rest.to_csv(out / TRAIN, index=False)
        questions.to_csv(out / TEST, index=False)
        asked[[self.id_column, *self.label_columns]].to_csv(out / TRUTH, index=False)

    def _columns(self, more: Sequence[str]) -> list[str]:
        return [self.id_column, *self.text_columns, *more]

    def _train(self, folder: Path) -> tuple[pd.DataFrame, list[list[int]]]:
        """The rows of train.csv, and by their places those that are one unit, in the order of their first."""
        frame = self._rows(folder / TRAIN, self.label_columns, False, [])
        if frame.empty:
            raise DataError("has no rows", path=folder / TRAIN, mend="add labelled rows")
        groups: dict[Hashable, list[int]] = {}
        for place, row in enumerate(_records(frame)):
            groups.setdefault(self.alike(row), []).append(place)
        return frame, list(groups.values())

    def _rows(self, path: Path, more: Sequence[str], lenient: bool, warnings: list[str]) -> pd.DataFrame:
        """The file's rows, each with an id of its own; leniently without those that have none."""
        id_ = self.id_column
        try:
            frame = read_csv(path, self._columns(more))
            frame[id_] = frame[id_].str.strip()
            refuse(path, frame, frame[id_] == "", id_, "the id is empty", "give each row an id")
            refuse(path, frame, frame[id_].duplicated(), id_, "the id occurs twice", "remove one of the rows")
            self.check(path, frame, warnings)
        except DataError as error:
            found = read_leniently(path, self._columns(more), [id_]) if lenient and path.is_file() else None
            if found is None:
                raise
            warnings.append(f"{error}; in the rerun it is read as far as it goes")
            frame = found[(found[id_] != "") & ~found[id_].duplicated()]
        return frame.reset_index(drop=True)

    def _queries(self, frame: pd.DataFrame) -> pd.DataFrame:
        pairs = zip(self.fields, self.text_columns, strict=True)
        columns = {name: frame[column].str.strip() for name, column in pairs}
        queries = pd.DataFrame({"query_id": frame[self.id_column], "text": "", **columns})
        queries["text"] = [self.text(row) for row in _records(queries)]
        return queries

    def _labels(self, frame: pd.DataFrame) -> list[str]:
        return [self.label(row) for row in _records(frame[[*self.label_columns]])]

    def _truth(self, path: Path, asked: pd.DataFrame, lenient: bool, warnings: list[str]) -> pd.DataFrame | None:
        """`query_id, text` of the test's labels, in the test's order."""
        if not path.is_file():
            return None
        id_ = self.id_column
        try:
            frame = read_csv(path, [id_, *self.label_columns])
            frame[id_] = frame[id_].str.strip()
            strange = ~among(frame[id_], set(asked[id_].tolist()))
            refuse(path, frame, strange, id_, f"{TEST} has no such row", "remove the row")
            refuse(path, frame, frame[id_].duplicated(), id_, "the id occurs twice", "remove one of the rows")
            self.check(path, frame, warnings)
        except DataError as error:
            if not lenient:
                raise
            warnings.append(f"{error}; in the rerun it is not used")
            return None
        found = pd.DataFrame({"query_id": frame[id_], "text": self._labels(frame)})
        return asked[[id_]].set_axis(["query_id"], axis=1).merge(found[found["text"] != ""], on="query_id")


def _records(frame: pd.DataFrame) -> Iterator[dict[str, str]]:
    """The rows; column by column, as pandas' own way is slow for Arrow strings."""
    names = [str(name) for name in frame.columns]
    return (dict(zip(names, row, strict=True)) for row in zip(*(frame[name].tolist() for name in names), strict=True))
