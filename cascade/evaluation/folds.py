"""Folds that hold out questions and misconceptions, each written as a data folder of its own."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from cascade.base import made
from cascade.base.errors import DataError
from cascade.competitions.eedi import ANSWERS, LABEL_COLUMNS, TEST_COLUMNS, read_csv, read_misconceptions, read_train


def write_folds(
    data: Path, out: Path, folds: int, unseen_share: float, seed: int, questions: int | None = None
) -> list[Path]:
    """Splits the questions of `data`/train.csv into `folds` and writes `out`/fold-<i>/ for each.

    A fold's test.csv holds its own questions (at most `questions` of them), its train.csv all other
    ones, with the labels of so many of the test's misconceptions emptied that about `unseen_share`
    of the test's labelled pairs are unseen. test_labels.csv and the mapping complete the folder.
    Earlier folds there give way; StageError for a file that is no such fold's.
    """
    mapping = data / "misconception_mapping.csv"
    known = set(read_misconceptions(mapping)["misconception_id"].tolist())
    read_train(data / "train.csv", known, [])  # checked before anything is written
    frame = read_csv(data / "train.csv", TEST_COLUMNS + LABEL_COLUMNS)
    for answer, column in zip(ANSWERS, LABEL_COLUMNS, strict=True):
        # One spelling an id (pandas writes 7.0 into a column with gaps), and none on a right answer: no query has it.
        ids = frame[column].str.strip().str.replace(r"\.0*$", "", regex=True)
        frame[column] = ids.mask((ids.str.lower() == "nan") | (frame["CorrectAnswer"].str.strip() == answer), "")
    if not 2 <= folds <= len(frame):
        mend = f"ask for 2 to {len(frame)}"
        raise DataError(f"{data / 'train.csv'}: cannot make {folds} folds of {len(frame)} questions; {mend}")
    rng = np.random.default_rng(seed)
    parts = np.array_split(rng.permutation(len(frame)), folds)
    with made.replaced(out) as scratch:
        for number, part in enumerate(parts):
            folder = scratch / f"fold-{number}"
            folder.mkdir()
            test = frame.iloc[np.sort(part if questions is None else part[:questions])]
            train = frame.drop(frame.index[part]).copy()
            held_out = _held_out(train, test, unseen_share, rng)
            for column in LABEL_COLUMNS:
                train.loc[train[column].isin(held_out), column] = ""
            train.to_csv(folder / "train.csv", index=False)
            test.drop(columns=LABEL_COLUMNS).to_csv(folder / "test.csv", index=False)
            test[["QuestionId", *LABEL_COLUMNS]].to_csv(folder / "test_labels.csv", index=False)
            shutil.copyfile(mapping, folder / mapping.name)
    return [out / f"fold-{number}" for number in range(folds)]


def _held_out(train: pd.DataFrame, test: pd.DataFrame, unseen_share: float, rng: np.random.Generator) -> set[str]:
    """Label cells to empty in train until `unseen_share` of the test's labels are unseen."""
    labels = test[LABEL_COLUMNS].to_numpy().ravel()
    labels = labels[labels != ""]
    in_train = set(train[LABEL_COLUMNS].to_numpy().ravel())
    pairs = pd.Series(labels).value_counts()
    unseen = int(pairs[[label not in in_train for label in pairs.index]].sum())
    held_out: set[str] = set()
    for label in rng.permutation([label for label in pairs.index if label in in_train]):
        if unseen >= unseen_share * len(labels):
            break
        held_out.add(str(label))
        unseen += int(pairs[label])
    return held_out
