"""The practice: labelled train questions run beside the test's, so that a commit run shows rates, memory and MAP@25.

The visible test has three questions, too few to time anything by. The questions are taken out of train, so that no
retriever finds them there, and their rows never reach submission.csv.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd

from cascade.base import clock, durations
from cascade.base import folder as folders
from cascade.competitions import lenient_csv, submission
from cascade.competitions.eedi import (
    ANSWERS,
    LABEL_COLUMNS,
    TEST_COLUMNS,
    TEXT_COLUMNS,
    read_csv,
    read_misconceptions,
    read_train,
)
from cascade.config import schema as configs
from cascade.kaggle.kernel import PRACTICE
from cascade.run import conductor, lock
from cascade.stages import baseline

MARK = "practice-"  # before a QuestionId; the competition's own are numbers
A_QUESTION = len(ANSWERS) - 1  # queries
SEED = 0


def conduct(
    count: int,
    config: Path,
    data: Path,
    out: Path,
    notebooks: Path,
    deadline: float | None = None,
    engine: str = "",
    resume: bool = False,
    began: float | None = None,
    again: str = "",
) -> int:
    """As `conductor.conduct`, over the test and `count` train queries: all of it in `out`/practice but submission.csv,

    which has the test's own rows. Without a deadline it has `limits.PRACTICE` at most, whatever the config grants.
    """
    own = out / PRACTICE
    for each in (out, own):
        folders.check(each)
    with lock.held(out):
        for each in (out, own):
            folders.claim(each)
        baseline.write(data, out, anew=not (resume or again))
        available = min(configs.load(config, engine).time.available, durations.PRACTICE)
        deadline = deadline or (began or clock.now()) + available
        code = conductor.conduct(
            config, write(data, own / "data", count), own, notebooks, deadline, engine, resume, began, again
        )
        expected, path = list(baseline.rows(data)), out / "submission.csv"
        found = submission.read(own / "submission.csv")
        rows = {query: found[query] for query in expected if query in found}
        submission.check(rows, expected, lenient_csv.known(data), str(own / "submission.csv"))
        submission.write(rows, path)
        print(f"{path}: the {len(rows)} rows of test.csv, without the practice's {len(found) - len(rows)}")
        return code


def write(data: Path, folder: Path, count: int) -> Path:
    """Writes `folder` as a data folder and returns it: test.csv and at least `count` labelled train queries, its train

    without their questions, their labels. Half of the questions are the longest by text, the rest drawn evenly by a
    fixed seed; there are at most half of train's, three queries each.
    """
    mapping = data / "misconception_mapping.csv"
    read_train(data / "train.csv", set(read_misconceptions(mapping)["misconception_id"].tolist()), [])
    test = read_csv(data / "test.csv", TEST_COLUMNS)
    train = read_csv(data / "train.csv", TEST_COLUMNS + LABEL_COLUMNS)
    chosen = _chosen(train, count)
    practice = train.loc[chosen].assign(QuestionId=MARK + train.loc[chosen, "QuestionId"].str.strip())
    folder.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(mapping, folder / mapping.name)
    train.drop(index=chosen).to_csv(folder / "train.csv", index=False)
    both = pd.concat([test, practice.reindex(columns=test.columns, fill_value="")])
    both.to_csv(folder / "test.csv", index=False)
    practice[["QuestionId", *LABEL_COLUMNS]].to_csv(folder / "test_labels.csv", index=False)
    return folder


def _chosen(train: pd.DataFrame, count: int) -> list[int]:
    """The labelled questions to practise on: their rows in `train`, in its order."""
    labelled = train[(train[LABEL_COLUMNS].apply(lambda column: column.str.strip()) != "").any(axis=1)]
    wanted = min(-(-count // A_QUESTION), len(train) // 2, len(labelled))
    lengths = labelled[TEXT_COLUMNS].apply(lambda column: column.str.len()).sum(axis=1)
    longest = lengths.sort_values(ascending=False, kind="stable").index[: wanted // 2]
    others = labelled.index.difference(longest)
    drawn = np.random.default_rng(SEED).choice(others, size=wanted - len(longest), replace=False)
    return sorted([*longest.tolist(), *drawn.tolist()])
