"""Folds that hold out units of train and labels, each written as a data folder of its own."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cascade.base import atomic, made
from cascade.base.errors import DataError
from cascade.base.manifest import sha256
from cascade.competitions.base import Competition, Unit

FILE = "folds.json"  # which units and labels each fold has, beside the folds
TRAIN = "train.csv"  # in it, the key of that file's SHA-256


@dataclass(frozen=True)
class Split:
    """A fold: numbers of train.csv's units, from 0. apart: those that are not in its train; test: of these, its test's.

    held_out: labels that its train is without.
    """

    apart: list[int]
    test: list[int]
    held_out: list[int]


def write_folds(
    competition: Competition, data: Path, out: Path, folds: int, unseen_share: float, seed: int,
    questions: int | None = None, by: str = "",
) -> list[Path]:  # fmt: skip
    """Splits the units of `data`/train.csv into `folds` and writes `out`/fold-<i>/ for each, and `out`/folds.json.

    A fold's test holds its own units (at most `questions` of them), its train all other ones, with so many of the
    test's labels taken out that about `unseen_share` of the test's labelled queries are unseen.
    Earlier folds there give way; StageError for a file that is no such fold's.
    by: a column of train.csv of which no two folds' tests have the same cell.
    """
    units = competition.units(data)
    if not 2 <= folds <= len(units):
        mend = f"use 2 to {len(units)}"
        raise DataError(f"{folds} folds cannot be made of {len(units)} questions", path=data / "train.csv", mend=mend)
    rng = np.random.default_rng(seed)
    parts = _together(units, folds, by, data, rng) if by else np.array_split(rng.permutation(len(units)), folds)
    splits = []
    for part in parts:
        test = np.sort(part if questions is None else part[:questions]).tolist()
        train = np.setdiff1d(np.arange(len(units)), part).tolist()
        held_out = _held_out([units[place] for place in train], [units[place] for place in test], unseen_share, rng)
        splits.append(Split(np.sort(part).tolist(), test, sorted(held_out)))
    return _write(competition, data, out, len(units), splits)


def write_again(competition: Competition, data: Path, out: Path, file: Path) -> list[Path]:
    """Writes the folds that `file`, a folds.json, tells of; DataError where it was made for other data."""
    told, mend = read(file), "pass the data that it was made for, or split anew"
    if told["competition"] != competition.name:
        was = told["competition"]
        raise DataError(
            f"was made for {was}, and {data} is {competition.name}", path=file, key="competition", mend=mend
        )
    if told[TRAIN] != sha256(data / TRAIN):
        raise DataError(f"was made for another file than {data / TRAIN}", path=file, key=TRAIN, mend=mend)
    units, splits = len(competition.units(data)), [Split(**each) for each in told["folds"]]
    known = set(range(units))
    wrong = [number for number, each in enumerate(splits) if not {*each.test} <= {*each.apart} <= known]
    if wrong:
        raise DataError(
            f"its rows are not among the {units} of the data", path=file, key=f"fold {wrong[0]}", mend="split anew"
        )
    return _write(competition, data, out, units, splits)


def read(file: Path) -> dict[str, Any]:
    """What a folds.json holds: competition, train.csv's SHA-256, a Split's fields for each fold; else DataError."""
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        for each in told["folds"]:
            Split(**each)
        return {"competition": str(told["competition"]), TRAIN: str(told[TRAIN]), "folds": list(told["folds"])}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"is no file of folds ({type(error).__name__})",
            path=file,
            mend=f"pass a {FILE} that make folds has written",
        ) from error


def _write(competition: Competition, data: Path, out: Path, units: int, splits: Sequence[Split]) -> list[Path]:
    told = {
        "competition": competition.name, TRAIN: sha256(data / "train.csv"), "folds": [asdict(each) for each in splits],
    }  # fmt: skip
    with made.replaced(out) as scratch:
        for number, split in enumerate(splits):
            train = np.setdiff1d(np.arange(units), split.apart).tolist()
            competition.split(data, scratch / f"fold-{number}", split.test, train, set(split.held_out), None)
        atomic.write_text(scratch / FILE, json.dumps(told) + "\n")
    return [out / f"fold-{number}" for number in range(len(splits))]


def _together(units: Sequence[Unit], folds: int, by: str, data: Path, rng: np.random.Generator) -> list[np.ndarray]:
    """The units of each fold, whole groups in each: the largest first, each into the fold that has least."""
    known = [str(name) for name in units[0].groups]
    if by not in known:
        mend = f"use one of {', '.join(known)}" if known else "leave it out"
        raise DataError(f"has no groups by '{by}'", path=data / "train.csv", key="--by", mend=mend)
    groups: dict[str, list[int]] = {}
    for place, unit in enumerate(units):
        groups.setdefault(unit.groups[by], []).append(place)
    if len(groups) < folds:
        raise DataError(
            f"{folds} folds cannot be made of {len(groups)} groups", path=data / "train.csv", key=f"--by {by}",
            mend=f"use at most {len(groups)} folds",
        )  # fmt: skip
    parts: list[list[int]] = [[] for _ in range(folds)]
    drawn = [[*groups.values()][place] for place in rng.permutation(len(groups))]
    for group in sorted(drawn, key=len, reverse=True):
        min(parts, key=len).extend(group)
    return [np.array(part) for part in parts]


def _held_out(train: Sequence[Unit], test: Sequence[Unit], unseen_share: float, rng: np.random.Generator) -> set[int]:
    """Labels to take out of train until `unseen_share` of the test's are unseen."""
    labels = [label for unit in test for label in unit.labels]
    in_train = {label for unit in train for label in unit.labels}
    pairs = pd.Series(labels, dtype=int).value_counts()
    unseen = int(pairs[[label not in in_train for label in pairs.index]].sum())
    held_out: set[int] = set()
    for label in rng.permutation([label for label in pairs.index if label in in_train]):
        if unseen >= unseen_share * len(labels):
            break
        held_out.add(int(label))
        unseen += int(pairs[label])
    return held_out
