"""The seam: what a competition is to everything else. An adaptor is one `Competition`; docs/competitions.md shows how.

Needs pandas only: submission zero, in the kernel's first seconds, goes through here.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Protocol

import numpy as np
import pandas as pd

Rows = Mapping[str, Sequence[int]]  # of a submission: query_id -> label ids, best first
Query = Mapping[Hashable, Any]  # a row of a table of queries


class Asked(Protocol):
    """What a submission is written for and checked against."""

    @property
    def competition(self) -> Competition:
        """The competition that the submission is for."""
        ...

    @property
    def asked(self) -> Collection[str]:
        """The query ids that it must have, in order."""
        ...

    @property
    def texts(self) -> Mapping[int, str]:
        """Every label's text, by its id."""
        ...


@dataclass(frozen=True)
class Task:
    """What one folder of a competition's data asks.

    queries, train: one row a query: `query_id`, `text` (what is retrieved by), and the competition's `fields`, all str;
    train has the labelled queries only, with `label_id`. labels: `label_id` (int64), `text`. truth: the queries'
    `query_id, label_id`, one row a query; None where none is known. warnings: what was accepted but is worth a word.
    allowed: of queries and of train, by query_id, the labels that one can have, see `labels_of`.
    """

    competition: Competition
    folder: Path
    train: pd.DataFrame
    queries: pd.DataFrame
    asked: list[str]
    labels: pd.DataFrame
    truth: pd.DataFrame | None
    warnings: list[str] = field(default_factory=list)
    allowed: Mapping[str, Sequence[int]] | None = None

    @cached_property
    def seen(self) -> set[int]:
        """The labels that occur in train."""
        return set(self.train["label_id"].tolist())

    @cached_property
    def texts(self) -> dict[int, str]:
        """Every label's text, by its id."""
        return dict(zip(self.labels["label_id"].tolist(), self.labels["text"], strict=True))

    def labels_of(self, query_id: str) -> Sequence[int]:
        """The ids of the labels that a query can have; all, where `allowed` has no entry for it, or an empty one."""
        return (self.allowed or {}).get(query_id) or list(self.texts)

    @property
    def depth(self) -> int:
        """The number of labels that the metric counts in a row."""
        return self.competition.depth


@dataclass(frozen=True)
class Outline:
    """What submission zero needs. asked: `query_id -> text`; frequent: label ids, those first that train has most.

    guesses: by query_id the labels that begin its row, where more is known than its text says.
    """

    competition: Competition
    asked: Mapping[str, str]
    texts: Mapping[int, str]
    frequent: Sequence[int]
    guesses: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True)
class Unit:
    """What is held out as one, a row of train.csv: the labels of its queries, and its text's length.

    groups: by column, what it has there; folds may keep all of one group together.
    """

    labels: tuple[int, ...]
    length: int
    groups: Mapping[Hashable, str] = field(default_factory=dict)


# What a cell of submission.ipynb does where nothing of cascade can be imported. `inputs`: Kaggle's input folder.
FALLBACK = """\
if not kernel:
    import shutil

    found = [path for depth in (1, 2, 3) for path in sorted(inputs.glob("*/" * depth + "sample_submission.csv"))]
    found.sort(key=lambda path: inputs / "competitions" not in path.parents)
    shutil.copyfile(found[0], "submission.csv")
"""


class Competition(ABC):
    """A competition. `name`: in configs; `slug`: on Kaggle. `columns`: of a submission, its query's and its labels'.

    depth: labels in a row, and the metric's cut.
    fields: the query's texts that prompt templates may use; the first is cut where a prompt is too long.
    group: the field by which the page can leave out queries. fallback: see `FALLBACK`, which copies the sample.
    hidden_queries, hidden_labels: the size of the hidden test. unit_queries: at most so many queries are one unit.
    unseen: of the hidden test's labels, those that no train row has, which folds hold out as many of.
    sample: the folder of its made data in the project, which commands take where they are given none; empty: none.
    """

    name: ClassVar[str]
    slug: ClassVar[str]
    columns: ClassVar[tuple[str, str]]
    depth: ClassVar[int]
    fields: ClassVar[tuple[str, ...]]
    group: ClassVar[str] = ""
    fallback: ClassVar[str] = FALLBACK
    hidden_queries: ClassVar[int]
    hidden_labels: ClassVar[int]
    unit_queries: ClassVar[int] = 1
    unseen: ClassVar[float] = 0.0
    sample: ClassVar[str] = ""

    def __init__(self) -> None:
        """Refuses a class that lacks something declared without a default, or has a text for a tuple (TypeError)."""
        for kind in type(self).__mro__:
            for name, declared in vars(kind).get("__annotations__", {}).items():
                if str(declared).startswith("ClassVar[") and not hasattr(self, name):
                    raise TypeError(f"{type(self).__name__} has no `{name}`: {declared[9:-1]}")
                if str(declared).startswith("ClassVar[tuple") and not isinstance(getattr(self, name), tuple):
                    raise TypeError(f"{type(self).__name__}: `{name}` must be a tuple, such as ('one',)")

    @abstractmethod
    def is_data(self, folder: Path) -> bool:
        """Whether the folder has this competition's files, as far as their names tell."""

    @abstractmethod
    def read(self, folder: Path, lenient: bool = False) -> Task:
        """Reads and checks a folder; DataError names the file, the row or column, and the fix.

        `lenient`, in the scoring rerun: what can be read is read, with a warning.
        """

    def show(self, query: Query) -> list[tuple[str, str]]:
        """What a person is shown of a query: headings and texts, the main text first."""
        return [(name, str(query[name])) for name in self.fields]

    @abstractmethod
    def cell(self, ids: Sequence[int], texts: Mapping[int, str]) -> str:
        """The labels of a row as a submission has them; `texts` of all labels by id."""

    @abstractmethod
    def parse(self, cell: str, texts: Mapping[int, str]) -> list[int]:
        """The label ids of a cell, whether they are known or not; ValueError for what has none."""

    @abstractmethod
    def units(self, folder: Path) -> list[Unit]:
        """The rows of train.csv; DataError where it cannot be used."""

    @abstractmethod
    def split(
        self, folder: Path, out: Path, test: Sequence[int], train: Sequence[int], held_out: set[int], mark: str | None
    ) -> None:
        """Writes into `out` a folder of data: of the units `test` its test, with their labels, of `train` its train.

        Train is without the labels `held_out`. With a `mark` the test is that of `folder`, and the units follow it, the
        mark before their ids.
        """

    def outline(self, folder: Path) -> Outline:
        """What submission zero needs, read as leniently as can be, as the rerun may bring any file."""
        task = self.read(folder, lenient=True)
        known = dict(zip(task.queries["query_id"], task.queries["text"], strict=True))
        counts = task.train["label_id"].value_counts()
        ids = task.labels["label_id"]
        order = np.argsort(-ids.map(counts).fillna(0).to_numpy(), kind="stable")
        asked = {query: known.get(query, "") for query in task.asked}
        return Outline(self, asked, task.texts, ids.iloc[order].tolist(), self.guesses(task))

    def guesses(self, task: Task) -> Mapping[str, Sequence[int]]:
        """`Outline.guesses` of a task; none, where labels are told by a query's text alone."""
        return {}
