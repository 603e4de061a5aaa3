"""Rank fusion and the boost of labels that no train row has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cascade.rankings import tables


class Joined:
    """Rankings side by side, joined once for any number of weights.

    pairs: the queries and labels that any of them has, as `tables.keys` numbers them, by query, then by id: int64 [n].
    ranks: of each ranking, [rankings, n], one more than the worst where it lacks the pair.
    """

    def __init__(self, rankings: Mapping[str, pd.DataFrame]) -> None:
        self.queries, keys = tables.keys(*rankings.values())
        pairs = np.sort(np.concatenate(keys))
        self.pairs = pairs[tables.changes(pairs)]
        absent = max(int(table["rank"].max()) for table in rankings.values()) + 1
        self.ranks = np.full((len(rankings), len(self.pairs)), absent, dtype=np.min_scalar_type(absent))
        self._places: dict[str, tuple[np.ndarray, np.ndarray]] = {}
        for ranks, (name, table), key in zip(self.ranks, rankings.items(), keys, strict=True):
            at, rank = np.searchsorted(self.pairs, key), table["rank"].to_numpy()
            ranks[at] = rank
            self._places[name] = at, rank

    @property
    def query(self) -> np.ndarray:
        """The place of each pair's query in `queries`: numbers of two bytes are sorted by radix."""
        places: np.ndarray = (self.pairs >> 32).astype(np.min_scalar_type(len(self.queries)))
        return places

    @property
    def label(self) -> np.ndarray:
        """The id of each pair's label: int64 [n]."""
        ids: np.ndarray = self.pairs & 0xFFFFFFFF
        return ids

    def scores(self, weights: Mapping[str, float]) -> np.ndarray:
        """Each pair's sum of weight/rank: float64 [n]."""
        score = np.zeros(len(self.pairs))
        for name, (at, rank) in self._places.items():
            score[at] += weights[name] / rank
        # Rounded, so that what is equal in exact arithmetic (1/10 + 1/15 = 1/6) is a tie.
        rounded: np.ndarray = score.round(12)
        return rounded

    def order(self, score: np.ndarray) -> np.ndarray:
        """The places of the pairs by query, best first; ties by the rankings, one after the other, then by id."""
        order: np.ndarray = np.lexsort((*self.ranks[::-1], -score, self.query))
        return order

    def frame(self, score: np.ndarray, order: np.ndarray | slice = slice(None)) -> pd.DataFrame:
        """`query_id, label_id, score` of the pairs in that order; default: their own."""
        pairs = self.pairs[order]
        return pd.DataFrame(
            {
                "query_id": pd.Series(self.queries.take(pairs >> 32)),
                "label_id": pairs & 0xFFFFFFFF,
                "score": score[order],
            }
        )


def fuse(rankings: Mapping[str, pd.DataFrame], weights: Mapping[str, float]) -> pd.DataFrame:
    """`query_id, label_id, score`, best first within a query, by the sum of weight/rank.

    An entry that a ranking lacks adds nothing. Ties go by the rank in the first ranking, then
    the next (absent is last), then by id. The 7th place's ensemble, with weights.
    """
    joined = Joined(rankings)
    score = joined.scores(weights)
    return joined.frame(score, joined.order(score))


def boost_unseen(fused: pd.DataFrame, seen: set[int], factor: float) -> pd.DataFrame:
    """Multiplies the scores of labels not in `seen` by `factor` and sorts anew (stable: ties as before)."""
    scale = np.where(fused["label_id"].isin(seen), 1.0, factor)
    score = fused["score"].to_numpy() * scale
    query, queries = pd.factorize(fused["query_id"])
    order = np.lexsort((-score, query.astype(np.min_scalar_type(len(queries)))))
    return fused.assign(score=score).take(order).reset_index(drop=True)


def factor_for_share(fused: pd.DataFrame, seen: set[int], share: float) -> float:
    """The smallest factor >= 1 with which at least `share` of the first places are unseen (3rd place's rule).

    A query turns unseen once the factor passes its best seen score over its best unseen one.
    Queries with candidates of one kind only never turn; the factor stops at what turns the rest.
    """
    best = (
        fused.assign(unseen=~fused["label_id"].isin(seen))
        .pivot_table(index="query_id", columns="unseen", values="score", aggfunc="max")
        .reindex(columns=[False, True])
    )
    turns_at = (best[False] / best[True]).where(best[True].notna(), np.inf).fillna(0.0).sort_values().to_numpy()
    wanted = int(np.ceil(share * len(turns_at) - 1e-9))  # 0.07 * 100 is a little more than 7
    reachable = turns_at[:wanted][np.isfinite(turns_at[:wanted])]
    return max(1.0, float(reachable[-1] * (1 + 1e-9))) if len(reachable) else 1.0


def to_table(fused: pd.DataFrame) -> pd.DataFrame:
    """A fused list as a ranking table; the order of equal scores is kept."""
    table = fused.assign(
        label_id=fused["label_id"].astype(np.int32),
        score=fused["score"].astype(np.float32),
        rank=tables.places(pd.factorize(fused["query_id"])[0]),
    )
    return table[tables.COLUMNS].reset_index(drop=True)


def fill(first: Sequence[int], *others: Sequence[int], length: int) -> list[int]:
    """The first `length` distinct ids, read from the lists one after the other."""
    return list(dict.fromkeys(id_ for ids in (first, *others) for id_ in ids))[:length]
