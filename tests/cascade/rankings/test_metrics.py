"""MAP@25 and recall against ir_measures."""

from __future__ import annotations

import ir_measures
import numpy as np
import pandas as pd
import pytest
from ir_measures import AP, R

from cascade.rankings import metrics, tables


def random_case(seed: int) -> tuple[pd.DataFrame, pd.DataFrame, set[int]]:
    """A ranking over some of 150 misconceptions, one label a query (often absent from the ranking), seen ones."""
    rng = np.random.default_rng(seed)
    queries = [f"{q}_{'ABCD'[q % 4]}" for q in rng.permutation(40)]
    ids = rng.permutation(150)
    table = tables.from_matrix(queries, ids, rng.random((40, 150)).astype(np.float32), int(rng.integers(1, 151)))
    labels = pd.DataFrame({"query_id": rng.permutation(queries), "label_id": rng.integers(0, 160, 40)})
    return table, labels, set(rng.permutation(160)[:70].tolist())


def judged(table: pd.DataFrame, labels: pd.DataFrame) -> dict[str, float]:
    qrels = [ir_measures.Qrel(q, str(m), 1) for q, m in zip(labels["query_id"], labels["label_id"], strict=True)]
    run = [
        ir_measures.ScoredDoc(q, str(m), float(-rank))
        for q, m, rank in zip(table["query_id"], table["label_id"], table["rank"], strict=True)
        if q in set(labels["query_id"])
    ]
    found = ir_measures.calc_aggregate([AP @ 25, R @ 25, R @ 100], qrels, run)
    return {"map": found[AP @ 25], "recall_25": found[R @ 25], "recall_100": found[R @ 100]}


@pytest.mark.parametrize("seed", range(6))
def test_report_agrees_with_ir_measures(seed: int) -> None:
    table, labels, seen = random_case(seed)
    row = metrics.report(table, labels, seen, 25, (25, 100))
    is_seen = labels["label_id"].isin(seen)
    assert 0 < is_seen.sum() < len(labels)
    for suffix, part in (("", labels), ("_seen", labels[is_seen]), ("_unseen", labels[~is_seen])):
        for name, expected in judged(table, part).items():
            assert row[name + suffix] == pytest.approx(expected, abs=1e-12), name + suffix


def ranking(**queries: list[int]) -> pd.DataFrame:
    rows = [(query, id_, 1.0 / rank, rank) for query, ids in queries.items() for rank, id_ in enumerate(ids, start=1)]
    return pd.DataFrame(rows, columns=tables.COLUMNS)


def labels_of(**queries: int) -> pd.DataFrame:
    return pd.DataFrame({"query_id": list(queries), "label_id": list(queries.values())})


def test_worked_by_hand() -> None:
    table = ranking(a=[1, 2, 3], b=list(range(30)), c=[4, 5], d=[1])
    labels = labels_of(c=5, a=1, b=26, d=9, e=1)  # ranks 2, 1, 27, none, and a query the table lacks
    row = metrics.report(table, labels, {1, 26}, 25, recalls=(1, 25, 30))
    assert row["map"] == pytest.approx((1 / 2 + 1) / 5)
    assert row["recall_1"] == pytest.approx(1 / 5)
    assert row["recall_25"] == pytest.approx(2 / 5)
    assert row["recall_30"] == pytest.approx(3 / 5)
    assert row["map_seen"] == pytest.approx(1 / 3)
    assert row["map_unseen"] == pytest.approx(1 / 4)


@pytest.mark.parametrize(("rank", "expected"), [(24, 1 / 25), (25, 0.0)])
def test_the_cut_is_at_25(rank: int, expected: float) -> None:
    table = ranking(a=list(range(40)))
    assert metrics.report(table, labels_of(a=rank), set(), 25, (25, 100))["map"] == pytest.approx(expected)


def test_labels_that_the_table_lacks_count_nothing() -> None:
    row = metrics.report(ranking(a=[1], b=[1]), labels_of(a=2, b=3), {2}, 25, (25, 100))
    assert set(row.values()) == {0.0}


def test_ranks_stand_in_the_order_of_the_labels() -> None:
    ranks = metrics.ranks_of_labels(ranking(a=[1, 2], b=[3]), labels_of(b=3, x=1, a=2))
    assert ranks.index.tolist() == ["b", "x", "a"]
    assert ranks.fillna(-1).tolist() == [1, -1, 2]


def test_queries_without_label_count_nothing() -> None:
    assert metrics.report(ranking(a=[1], b=[1]), labels_of(a=1), set(), 25, (25, 100))["map"] == 1.0


def test_empty_part_is_not_a_number() -> None:
    row = metrics.report(ranking(a=[1]), labels_of(a=1), {1}, 25, (25, 100))
    assert row["map"] == row["map_seen"] == row["recall_25_seen"] == 1.0
    assert np.isnan(row["map_unseen"])
    assert np.isnan(row["recall_100_unseen"])
