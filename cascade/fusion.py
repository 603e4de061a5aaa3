"""Rank fusion and the boost of misconceptions that no train row has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from cascade import tables


def fuse(rankings: Mapping[str, pd.DataFrame], weights: Mapping[str, float]) -> pd.DataFrame:
    """`query_id, misconception_id, score`, best first within a query, by the sum of weight/rank.

    An entry that a ranking lacks adds nothing. Ties go by the rank in the first ranking, then
    the next (absent is last), then by id. The 7th place's ensemble, with weights.
    """
    places = [f"_{place}" for place in range(len(rankings))]  # no names: a ranking may be called "score"
    parts = [
        table[["query_id", "misconception_id", "rank"]]
        .rename(columns={"rank": place})
        .set_index(["query_id", "misconception_id"])
        for place, table in zip(places, rankings.values(), strict=True)
    ]
    joined = pd.concat(parts, axis=1).reset_index()
    # Rounded, so that what is equal in exact arithmetic (1/10 + 1/15 = 1/6) is a tie.
    score = joined[places].rdiv([weights[name] for name in rankings]).sum(axis=1).round(12)
    query_order = {query: place for place, query in enumerate(_query_order(rankings))}
    joined = joined.assign(score=score, _query=joined["query_id"].map(query_order))
    keys = ["_query", "score", *places, "misconception_id"]
    joined = joined.sort_values(keys, ascending=[True, False, *[True] * len(places), True], kind="stable")
    return joined[["query_id", "misconception_id", "score"]].reset_index(drop=True)


def _query_order(rankings: Mapping[str, pd.DataFrame]) -> list[str]:
    return list(dict.fromkeys(query for table in rankings.values() for query in table["query_id"].unique()))


def boost_unseen(fused: pd.DataFrame, seen: set[int], factor: float) -> pd.DataFrame:
    """Multiplies the scores of misconceptions not in `seen` by `factor` and sorts anew (stable: ties as before)."""
    scale = np.where(fused["misconception_id"].isin(seen), 1.0, factor)
    boosted = fused.assign(score=fused["score"] * scale, _query=pd.factorize(fused["query_id"])[0])
    boosted = boosted.sort_values(["_query", "score"], ascending=[True, False], kind="stable")
    return boosted[["query_id", "misconception_id", "score"]].reset_index(drop=True)


def factor_for_share(fused: pd.DataFrame, seen: set[int], share: float) -> float:
    """The smallest factor >= 1 with which at least `share` of the first places are unseen (3rd place's rule).

    A query turns unseen once the factor passes its best seen score over its best unseen one.
    Queries with candidates of one kind only never turn; the factor stops at what turns the rest.
    """
    best = (
        fused.assign(unseen=~fused["misconception_id"].isin(seen))
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
        misconception_id=fused["misconception_id"].astype(np.int32),
        score=fused["score"].astype(np.float32),
        rank=fused.groupby("query_id", sort=False).cumcount().add(1).astype(np.int32),
    )
    return table[tables.COLUMNS].reset_index(drop=True)


def fill(first: Sequence[int], *others: Sequence[int], length: int) -> list[int]:
    """The first `length` distinct ids, read from the lists one after the other."""
    return list(dict.fromkeys(id_ for ids in (first, *others) for id_ in ids))[:length]
