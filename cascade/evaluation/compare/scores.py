"""What the changes did: MAP with the interval of its difference, seconds a stage, and the queries that moved."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cascade.base import history
from cascade.base.errors import CascadeError
from cascade.competitions import submission
from cascade.competitions.base import Task
from cascade.rankings import metrics
from cascade.stages import reading
from cascade.stages.context import RunContext

SUBMISSION, ZERO = "submission", "submission zero"
PARTS = ("all", "seen", "unseen")
SAMPLES = 10_000  # of the bootstrap
SHARE = 0.95  # of them within the interval
SEED = 0


@dataclass(frozen=True)
class Score:
    """MAP of a ranking over all, seen or unseen queries; NaN where a run has no such ranking.

    `interval`: of the difference, by a paired bootstrap; None where the two are not of the same queries.
    """

    name: str
    part: str
    queries: int
    a: float
    b: float
    interval: tuple[float, float] | None

    @property
    def change(self) -> float:
        return self.b - self.a

    @property
    def is_sure(self) -> bool:
        """Whether the interval leaves zero out."""
        return self.interval is not None and not self.interval[0] <= 0 <= self.interval[1]


@dataclass(frozen=True)
class Move:
    """Where a query's label stands in the two submissions; NaN where it is not among their ids."""

    query_id: str
    a: float
    b: float
    seen: bool
    text: str
    label: str


Rankings = dict[str, pd.DataFrame]


def rankings(context: RunContext) -> Rankings:
    """Every ranking that the run left, as later stages read it, from submission zero to the submission."""
    zero = reading.zero_table(context)
    found = {} if zero is None else {ZERO: zero}
    found |= {name: reading.candidates(context, name) for name in reading.rankings(context)}
    try:
        found[SUBMISSION] = reading.submitted(context)
    except CascadeError as error:
        print(f"left out: {error}")
    return found


def common_labels(a: RunContext, b: RunContext) -> pd.DataFrame:
    """`query_id, label_id` of the labelled queries that both have with the same label and the same texts."""
    parts = []
    for context in (a, b):
        assert context.task.truth is not None
        parts.append(context.task.truth.merge(context.task.queries, on="query_id"))
    both = parts[0].merge(parts[1], on=list(parts[0].columns))
    return both[["query_id", "label_id"]].reset_index(drop=True)


def scores(a: RunContext, b: RunContext, ranked: tuple[Rankings, Rankings], labels: pd.DataFrame) -> list[Score]:
    """A score for each ranking of either run and each part: over `labels`, or each over its own where that is empty."""
    paired = len(labels) > 0
    names = [name for name in dict.fromkeys([*ranked[0], *ranked[1]]) if name != SUBMISSION]
    found = []
    for name in [*names, SUBMISSION]:
        gains = []
        for context, tables_ in zip((a, b), ranked, strict=True):
            own = labels if paired else context.task.truth
            assert own is not None
            # Unseen is what the second run's train lacks: one split for both.
            seen = own["label_id"].isin((b if paired else context).task.seen).to_numpy()
            ranks = metrics.ranks_of_labels(tables_[name], own) if name in tables_ else None
            gains.append((None if ranks is None else metrics.gains(ranks, context.task.depth), seen))
        for part in PARTS:
            found.append(_score(name, part, gains, paired))
    return found


def _score(name: str, part: str, gains: list[tuple[np.ndarray | None, np.ndarray]], paired: bool) -> Score:
    chosen = [
        (each, np.full(len(seen), True) if part == "all" else seen if part == "seen" else ~seen) for each, seen in gains
    ]
    of = [None if each is None else each[mask] for each, mask in chosen]
    means = [math.nan if each is None or not len(each) else float(each.mean()) for each in of]
    bounds = None
    if paired and of[0] is not None and of[1] is not None and len(of[0]):
        bounds = bootstrap(of[1] - of[0])
    return Score(name, part, int(chosen[1][1].sum()), means[0], means[1], bounds)


def bootstrap(differences: np.ndarray, seed: int = SEED) -> tuple[float, float]:
    """The interval that holds `SHARE` of the means of as many values, drawn from these with replacement."""
    return interval(drawn_means(differences, np.random.default_rng(seed)))


def drawn_means(values: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Means of as many values, drawn from these with replacement: float64 [SAMPLES].

    Drawn as counts of each distinct value, of which there are few (differences of 1/rank), however many queries.
    """
    distinct, counts = np.unique(values.round(12), return_counts=True)
    drawn = rng.multinomial(len(values), counts / len(values), size=SAMPLES)
    means: np.ndarray = drawn @ distinct / len(values)
    return means


def interval(means: np.ndarray) -> tuple[float, float]:
    """What holds `SHARE` of the drawn means, with as many below as above."""
    low, high = np.quantile(means, [(1 - SHARE) / 2, (1 + SHARE) / 2])
    return float(low), float(high)


def moves(task: Task, ranked: tuple[Rankings, Rankings], labels: pd.DataFrame) -> list[Move]:
    """The queries whose label moved from one submission to the other, those that MAP felt most first."""
    if labels.empty or not all(SUBMISSION in each for each in ranked):
        return []
    was, now = (metrics.ranks_of_labels(each[SUBMISSION], labels).to_numpy() for each in ranked)
    felt = np.abs(_inverse(now) - _inverse(was))
    shown = dict(zip(task.queries["query_id"], task.queries[task.competition.fields[0]], strict=True))
    order = [place for place in np.argsort(-felt, kind="stable").tolist() if felt[place] > 0]
    ids = labels["label_id"].tolist()
    return [
        Move(str(query := labels["query_id"].iloc[place]), float(was[place]), float(now[place]),
             ids[place] in task.seen, shown[query], task.texts[ids[place]])
        for place in order
    ]  # fmt: skip


def _inverse(ranks: np.ndarray) -> np.ndarray:
    return np.nan_to_num(1 / ranks)


def agreement(a: Path, b: Path) -> tuple[int, float, float] | None:
    """Counts the queries in both submissions, with the share of ids in common and of those with the same first."""
    try:
        cells = (submission.read_cells(run / submission.FILE)[1] for run in (a, b))
        old, new = ({query: cell.split() for query, cell in each.items()} for each in cells)
    except CascadeError:
        return None
    both = [(set(old[query]), set(new[query]), old[query][0] == new[query][0])
            for query in old if old[query] and new.get(query)]  # fmt: skip
    if not both:
        return None
    common = float(np.mean([len(was & now) / max(len(was), len(now)) for was, now, _ in both]))
    return len(both), common, float(np.mean([first for *_, first in both]))


def times(a: Path, b: Path) -> list[tuple[str, float | None, float | None]]:
    """(stage, its seconds in each run, None where it did not run) by the ledgers, and all together."""
    spent = [{name: each.end - each.start for name, each in history.read(run).items()} for run in (a, b)]
    rows = [(name, spent[0].get(name), spent[1].get(name)) for name in dict.fromkeys([*spent[1], *spent[0]])]
    totals = [sum(each.values()) if each else None for each in spent]
    return [*rows, ("all stages", totals[0], totals[1])] if rows else []
