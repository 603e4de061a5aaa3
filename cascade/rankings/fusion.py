"""Rank fusion and the boost of labels that no train row has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cascade.rankings import tables


def fuse(rankings: Mapping[str, pd.DataFrame], weights: Mapping[str, float]) -> pd.DataFrame:
    """`query_id, label_id, score`, best first within a query, by the sum of weight/rank.

    An entry that a ranking lacks adds nothing. Ties go by the rank in the first ranking, then
    the next (absent is last), then by id. The 7th place's ensemble, with weights.
    """
    queries, keys = tables.keys(*rankings.values())
    pairs = np.sort(np.concatenate(keys))  # by query, then by id
    pairs = pairs[tables.changes(pairs)]
    score = np.zeros(len(pairs))
    absent = max(int(table["rank"].max()) for table in rankings.values()) + 1
    ranks = np.full((len(rankings), len(pairs)), absent, dtype=np.min_scalar_type(absent))
    for place, (name, table) in enumerate(rankings.items()):
        at, rank = np.searchsorted(pairs, keys[place]), table["rank"].to_numpy()
        score[at] += weights[name] / rank
        ranks[place, at] = rank
    # Rounded, so that what is equal in exact arithmetic (1/10 + 1/15 = 1/6) is a tie.
    score = score.round(12)
    query = (pairs >> 32).astype(np.min_scalar_type(len(queries)))  # numbers of two bytes are sorted by radix
    order = np.lexsort((*ranks[::-1], -score, query))
    pairs = pairs[order]
    return pd.DataFrame(
        {
            "query_id": pd.Series(queries.take(pairs >> 32)),
            "label_id": pairs & 0xFFFFFFFF,
            "score": score[order],
        }
    )


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
