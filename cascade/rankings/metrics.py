"""MAP@k and recall@k, over all queries and over those whose label train has or lacks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from cascade.rankings import tables


def ranks_of_labels(table: pd.DataFrame, labels: pd.DataFrame) -> pd.Series:
    """The rank of each labelled query's label, indexed by query_id; NaN where the table lacks it.

    `labels` has one row a query: `query_id, label_id`.
    """
    _, (wanted, found) = tables.keys(labels, table)
    ranks = pd.Series(table["rank"].to_numpy(float), index=found).reindex(wanted)
    return ranks.set_axis(pd.Index(labels["query_id"])).rename("rank")


def gains(ranks: pd.Series, depth: int) -> np.ndarray:
    """What each query adds to MAP@depth, 1/rank or 0: with one relevant id a query, average precision is just that."""
    found: np.ndarray = (1 / ranks).where(ranks <= depth, 0.0).to_numpy()
    return found


def map_at(ranks: pd.Series, depth: int) -> float:
    """Mean of what the queries add; NaN where there are none."""
    return float(gains(ranks, depth).mean()) if len(ranks) else float("nan")


def recall_at(ranks: pd.Series, depth: int) -> float:
    """Share of queries whose label stands within the first `depth`."""
    return float((ranks <= depth).mean()) if len(ranks) else float("nan")


def report(
    table: pd.DataFrame, labels: pd.DataFrame, seen: set[int], depth: int, recalls: Sequence[int] = ()
) -> dict[str, float]:
    """`map` at that depth, `map_seen`, `map_unseen` and `recall_<k>` of `recalls` likewise, as one flat row."""
    ranks = ranks_of_labels(table, labels)
    is_seen = labels["label_id"].isin(seen).to_numpy()
    row: dict[str, float] = {}
    for suffix, part in (("", np.ones(len(ranks), bool)), ("_seen", is_seen), ("_unseen", ~is_seen)):
        row[f"map{suffix}"] = map_at(ranks[part], depth)
        for k in recalls:
            row[f"recall_{k}{suffix}"] = recall_at(ranks[part], k)
    return row


def agreement(rankings: Sequence[pd.DataFrame], top: int) -> tuple[np.ndarray, np.ndarray]:
    """How alike rankings are, two [n, n] matrices: the mean share of the first `top` ids in common, of equal firsts.

    Over the queries both have (NaN where there is none); a query's share is of the shorter of its two lists.
    """
    sets = [table[table["rank"] <= top].groupby("query_id")["label_id"].agg(set) for table in rankings]
    firsts = [table[table["rank"] == 1].set_index("query_id")["label_id"] for table in rankings]
    common, equal = (np.full((len(sets), len(sets)), np.nan) for _ in range(2))
    for i in range(len(sets)):
        for j in range(len(sets)):
            both = sets[i].index.intersection(sets[j].index)
            if len(both):
                pairs = zip(sets[i][both], sets[j][both], strict=True)
                common[i, j] = np.mean([len(a & b) / min(len(a), len(b)) for a, b in pairs])
                equal[i, j] = (firsts[i][both] == firsts[j][both]).mean()
    return common, equal
