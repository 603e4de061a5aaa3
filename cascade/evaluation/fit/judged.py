"""What the ensemble's numbers are worth on one labelled run, by its ranking tables alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from cascade.config.schema import Ensemble
from cascade.rankings import fusion, metrics


@dataclass(frozen=True)
class Numbers:
    """What `[ensemble]` says: the members' weights, and the boost or the share of unseen labels, if it has one."""

    weights: Mapping[str, float]
    boost: float | None = None
    share: float | None = None

    @classmethod
    def of(cls, ensemble: Ensemble) -> Numbers:
        return cls(dict(ensemble.weights), ensemble.unseen_boost, ensemble.unseen_share)

    def __str__(self) -> str:
        """The keys as a config has them, a line each."""
        lines = ["weights = { " + ", ".join(f"{name} = {weight}" for name, weight in self.weights.items()) + " }"]
        lines += [f"unseen_boost = {self.boost}"] if self.boost is not None else []
        lines += [f"unseen_share = {self.share}"] if self.share is not None else []
        return "\n".join(lines)


class Judged:
    """A labelled run: its members, joined once, and its labels.

    run: its folder. seen: of each labelled query, whether train has its label. groups: a text for each of them, of
    queries that must not be torn apart.
    """

    def __init__(
        self, run: Path, members: Mapping[str, pd.DataFrame], truth: pd.DataFrame, known: set[int], depth: int,
        groups: Sequence[str] = (),
    ) -> None:  # fmt: skip
        self.run, self.known, self.depth = run, known, depth
        self.groups = np.array(list(groups) or truth["query_id"].tolist(), dtype=object)
        self.seen = truth["label_id"].isin(known).to_numpy()
        self.joined = fusion.Joined(members)
        self.is_known = np.isin(self.joined.label, list(known))
        self._keep_rows(truth)

    def _keep_rows(self, truth: pd.DataFrame) -> None:
        """The pairs of the queries whose label some member ranks: of the others nothing is gained by any numbers."""
        joined = self.joined
        place = joined.queries.get_indexer(pd.Index(truth["query_id"]))
        wanted = (place.astype(np.int64) << 32) + truth["label_id"].to_numpy(np.int64)
        at = np.minimum(np.searchsorted(joined.pairs, wanted), len(joined.pairs) - 1)
        self._found = np.flatnonzero((place >= 0) & (joined.pairs[at] == wanted))
        query = joined.pairs >> 32
        starts, ends = (np.searchsorted(query, place[self._found], side) for side in ("left", "right"))
        lengths = ends - starts
        self._starts = np.cumsum(lengths) - lengths  # of each such query among the rows
        self._rows = np.arange(lengths.sum()) + np.repeat(starts - self._starts, lengths)
        self._own = np.repeat(at[self._found], lengths)
        ties = np.empty(len(joined.pairs), dtype=np.int64)
        ties[joined.order(np.zeros(len(joined.pairs)))] = np.arange(len(joined.pairs))
        self._before = ties[self._rows] < ties[self._own]

    def gains(self, numbers: Numbers) -> np.ndarray:
        """What each labelled query adds to MAP when the members are fused with these numbers: float64 [labelled].

        The same as of the ensemble's table, whose whole order is not required: a label's rank is one more than the
        number of labels before it.
        """
        score = self.joined.scores(numbers.weights)
        boosted = score * np.where(self.is_known, 1.0, self.factor(score, numbers))
        score, own = score[self._rows], score[self._own]
        first, than = boosted[self._rows], boosted[self._own]
        tie = (score > own) | ((score == own) & self._before)
        before = (first > than) | ((first == than) & tie)
        ranks = np.full(len(self.seen), np.nan)
        if len(self._found):
            ranks[self._found] = 1 + np.add.reduceat(before.astype(np.int64), self._starts)
        return metrics.gains(pd.Series(ranks), self.depth)

    def factor(self, score: np.ndarray, numbers: Numbers) -> float:
        """What the scores of unseen labels are multiplied by."""
        if numbers.share is not None:
            return fusion.factor_for_share(self.joined.frame(score), self.known, numbers.share)
        return 1.0 if numbers.boost is None else numbers.boost
