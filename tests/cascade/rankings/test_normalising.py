"""Scores as ranks among those of all queries, or of a group."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cascade.rankings import tables
from cascade.rankings.normalising import rank_shares

ROWS = [("a", 1, 5.0), ("a", 2, -3.0), ("b", 1, 900.0), ("b", 3, 5.0), ("c", 2, -7.0)]
TABLE = tables.from_scores(pd.DataFrame(ROWS, columns=["query_id", "label_id", "score"]))
GROUPS = pd.Series({"a": "one", "b": "two", "c": "one"})


def shares(table: pd.DataFrame) -> list[float]:
    return tables.validate(table, "ranks")["score"].tolist()


def test_a_score_is_the_share_of_all_that_are_not_higher() -> None:
    """Worked by hand: of five scores 900 is above all; the two of 5 share the places 3 and 4."""
    np.testing.assert_allclose(shares(rank_shares(TABLE)), [0.7, 0.4, 1.0, 0.7, 0.2], rtol=1e-6)


def test_in_a_group_only_its_own_scores_count() -> None:
    np.testing.assert_allclose(shares(rank_shares(TABLE, GROUPS)), [1.0, 2 / 3, 1.0, 0.5, 1 / 3], rtol=1e-6)


def test_the_order_within_a_query_stays() -> None:
    rng = np.random.default_rng(0)
    rows = [(f"q{query}", label, score) for query in range(50) for label, score in enumerate(rng.normal(size=20))]
    table = tables.from_scores(pd.DataFrame(rows, columns=["query_id", "label_id", "score"]))
    groups = pd.Series({f"q{query}": f"group {query % 7}" for query in range(50)})
    for made in (rank_shares(table), rank_shares(table, groups)):
        again = tables.from_scores(made[["query_id", "label_id", "score"]])
        assert again["label_id"].tolist() == table["label_id"].tolist()
