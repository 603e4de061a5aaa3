"""Which candidates and queries a pipeline takes, and what that saves and costs: every number by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from cascade.config.schema import ListwisePipeline, Pipeline, PointwisePipeline, TournamentPipeline
from cascade.config.selecting import Select
from cascade.rankings import tables
from cascade.rankings.selection import Saving, saving, skipped_queries, take, top_scores

# `given`: three queries, five candidates each, as the retrieval has ordered them.
GIVEN = {"q1": [10, 11, 12, 13, 14], "q2": [20, 21, 22, 23, 24], "q3": [30, 31, 32, 33, 34]}
# `by`: it is unsure of q1, sure of q2, and has never seen q3. It has not scored the last candidates.
BY = {
    "q1": [(11, 0.5), (10, 0.375), (12, 0.25), (13, 0.125)],
    "q2": [(20, 0.875), (22, 0.25), (21, 0.125)],
}
SEEN = {10, 12, 14, 20, 21, 22, 30, 31, 32}
WHOLE = {"q1": [10, 11, 12, 13], "q2": [20, 21, 22, 23], "q3": [30, 31, 32, 33]}  # down to top_k = 4


def table(scored: dict[str, list[tuple[int, float]]]) -> pd.DataFrame:
    rows = [(query, id_, score) for query, ids in scored.items() for id_, score in ids]
    return tables.validate(tables.from_scores(pd.DataFrame(rows, columns=["query_id", "label_id", "score"])), "test")


def given() -> pd.DataFrame:
    return table({query: [(id_, 1 / rank) for rank, id_ in enumerate(ids, 1)] for query, ids in GIVEN.items()})


def pointwise(top_k: int = 4, **select: Any) -> Pipeline:
    return PointwisePipeline(
        name="p", kind="pointwise", candidates="r1", model="m", prompt="p.txt", top_k=top_k,
        select=Select(**select) if select else None,
    )  # fmt: skip


def shown(taken: pd.DataFrame) -> dict[str, list[int]]:
    """Candidates by query, in order; the ranks of each are 1, 2, 3, …"""
    assert list(taken.columns) == ["query_id", "label_id", "rank"]
    assert taken.index.tolist() == list(range(len(taken)))
    assert taken["rank"].dtype == np.int32
    for _, rows in taken.groupby("query_id", sort=False):
        assert rows["rank"].tolist() == list(range(1, len(rows) + 1))
    return {str(query): ids.tolist() for query, ids in taken.groupby("query_id", sort=False)["label_id"]}


def taken(
    ranking: dict[str, list[tuple[int, float]]] | None = BY, top_k: int = 4, **select: Any
) -> dict[str, list[int]]:
    return shown(take(pointwise(top_k, **select), given(), None if ranking is None else table(ranking), SEEN))


def test_without_select_all_are_taken_down_to_top_k() -> None:
    assert taken() == WHOLE
    assert taken(top_k=99) == GIVEN
    assert taken(top_k=1) == {"q1": [10], "q2": [20], "q3": [30]}


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        # A candidate is dropped below the threshold, not at it; one that `by` never scored (23) is kept.
        ({"min_score": 0.25}, {"q1": [10, 11, 12], "q2": [20, 22, 23]}),
        ({"min_score": 0.26}, {"q1": [10, 11], "q2": [20, 23]}),
        ({"min_score": 0.0}, {"q1": [10, 11, 12, 13], "q2": [20, 21, 22, 23]}),
        ({"min_score": 0.25, "missing": "drop"}, {"q1": [10, 11, 12], "q2": [20, 22]}),
        ({"missing": "drop"}, {"q1": [10, 11, 12, 13], "q2": [20, 21, 22]}),
        ({"min_score": 0.6}, {"q2": [20, 23]}),  # every candidate of q1 is dropped, so the query is not taken
        ({"min_score": 1.0, "missing": "drop"}, {}),
        ({"top_n": 2}, {"q1": [10, 11], "q2": [20, 22, 23]}),
        ({"top_n": 2, "missing": "drop"}, {"q1": [10, 11], "q2": [20, 22]}),
        ({"top_n": 1, "missing": "drop"}, {"q1": [11], "q2": [20]}),
        ({"top_n": 3, "min_score": 0.3}, {"q1": [10, 11], "q2": [20, 23]}),
        # Queries: hopeless below, sure above; at the threshold they are taken.
        ({"min_top1": 0.5}, {"q1": [10, 11, 12, 13], "q2": [20, 21, 22, 23]}),
        ({"min_top1": 0.51}, {"q2": [20, 21, 22, 23]}),
        ({"max_top1": 0.875}, {"q1": [10, 11, 12, 13], "q2": [20, 21, 22, 23]}),
        ({"max_top1": 0.874}, {"q1": [10, 11, 12, 13]}),
        ({"max_margin": 0.625}, {"q1": [10, 11, 12, 13], "q2": [20, 21, 22, 23]}),
        ({"max_margin": 0.624}, {"q1": [10, 11, 12, 13]}),
        ({"max_margin": 0.1}, {}),
        ({"min_top1": 0.51, "max_top1": 0.8}, {}),
        ({"max_top1": 0.8, "min_score": 0.3}, {"q1": [10, 11]}),
    ],
)
def test_by_an_earlier_ranking(select: dict[str, Any], expected: dict[str, list[int]]) -> None:
    """`by` has never seen q3, which is therefore taken whole, whatever is selected."""
    assert taken(by="e", **select) == expected | {"q3": WHOLE["q3"]}


def test_where_it_knows_every_query_nothing_may_be_left() -> None:
    known = BY | {"q3": [(30, 0.9), (31, 0.1)]}
    empty = take(pointwise(by="e", max_top1=0.1), given(), table(known), SEEN)
    assert empty.empty
    assert shown(empty) == {}
    assert taken(known, by="e", min_score=1.0, missing="drop") == {}


@pytest.mark.parametrize(
    ("select", "expected"),
    [
        # Unseen of q1: 11 and 13, of q2: 23 and 24, of q3: 33 and 34.
        ({"extra_unseen": 1}, {"q1": [10, 11, 12, 13], "q2": [20, 21, 22, 23, 24], "q3": [30, 31, 32, 33, 34]}),
        ({"extra_unseen": 9}, {"q1": [10, 11, 12, 13], "q2": [20, 21, 22, 23, 24], "q3": [30, 31, 32, 33, 34]}),
        (
            {"extra_unseen": 1, "top_k": 1},
            {"q1": [10, 11], "q2": [20, 23], "q3": [30, 33]},
        ),
        (
            {"extra_unseen": 2, "top_k": 1},
            {"q1": [10, 11, 13], "q2": [20, 23, 24], "q3": [30, 33, 34]},
        ),
        # What a threshold drops was left out as well, and comes behind what is kept.
        (
            {"by": "e", "extra_unseen": 1, "top_n": 1, "missing": "drop"},
            {"q1": [11, 13], "q2": [20, 23], "q3": [30, 31, 32, 33, 34]},
        ),
        (
            {"by": "e", "extra_unseen": 2, "min_score": 0.4, "missing": "drop", "top_k": 3},
            {"q1": [11, 13], "q2": [20, 23, 24], "q3": [30, 31, 32, 33, 34]},
        ),
        # A query that is skipped gets none.
        ({"by": "e", "extra_unseen": 1, "max_top1": 0.8, "top_k": 1}, {"q1": [10, 11], "q3": [30, 33]}),
        # One that lost all its candidates gets them, for it is not skipped.
        (
            {"by": "e", "extra_unseen": 1, "min_score": 0.6, "missing": "drop", "top_k": 2},
            {"q1": [11], "q2": [20, 23], "q3": [30, 31, 33]},
        ),
    ],
)
def test_unseen_candidates_that_were_left_out_come_back(select: dict[str, Any], expected: dict[str, list[int]]) -> None:
    found = taken(**select)
    assert found == expected
    assert list(found) == list(expected), "the queries' order is that of `given`"


@pytest.mark.parametrize("select", [{"min_score": 0.9}, {"top_n": 1, "missing": "drop"}, {"max_top1": 0.1}])
def test_without_the_table_it_selects_by_all_are_taken(select: dict[str, Any]) -> None:
    assert taken(None, by="e", **select) == WHOLE
    extra = taken(None, by="e", extra_unseen=1, top_k=1, **select)
    assert extra == {"q1": [10, 11], "q2": [20, 23], "q3": [30, 33]}


def test_a_score_at_the_threshold_is_not_below_it_in_the_precision_of_the_table() -> None:
    by = {"q1": [(10, 0.9), (11, 0.7), (12, 0.1), (13, 0.05)]}
    assert taken(by, by="e", min_score=0.7)["q1"] == [10, 11]
    assert skipped_queries(table(by), Select(by="e", max_top1=0.9)) == set()
    assert skipped_queries(table(by), Select(by="e", min_top1=0.9)) == set()


def test_top_scores_and_margins() -> None:
    found = top_scores(table({"a": [(1, 0.75), (2, 0.5), (3, 0.25)], "b": [(1, 0.5)], "c": [(2, 0.5), (1, 0.5)]}))
    assert found["top1"].to_dict() == {"a": 0.75, "b": 0.5, "c": 0.5}
    assert found["margin"].to_dict() == {"a": 0.25, "b": 0.5, "c": 0.0}
    assert top_scores(table({"b": [(1, 0.5)]}))["margin"].to_dict() == {"b": 0.5}


@pytest.mark.parametrize(
    ("select", "skipped"),
    [
        ({"min_top1": 0.8}, {"q1"}),
        ({"max_top1": 0.8}, {"q2"}),
        ({"max_margin": 0.5}, {"q2"}),
        ({"min_top1": 0.8, "max_top1": 0.8}, {"q1", "q2"}),
        ({"top_n": 1}, set()),
    ],
)
def test_skipped_queries(select: dict[str, Any], skipped: set[str]) -> None:
    assert skipped_queries(table(BY), Select(by="e", **select)) == skipped


# What it saves and costs.

LABELS = pd.DataFrame({"query_id": ["q1", "q2", "q3", "q9"], "label_id": [12, 21, 31, 1]})


def saved(
    pipeline: Pipeline, by: dict[str, list[tuple[int, float]]] | None = BY, labels: pd.DataFrame | None = LABELS
) -> Saving:
    earlier = None if by is None else table(by)
    return saving(pipeline, given(), take(pipeline, given(), earlier, SEEN), earlier, labels, 25)


def test_saving_by_candidate() -> None:
    """q1 keeps 10 and 11, so 12, its right answer and third of `by`, is dropped; q2 keeps 20 and 23, and loses 21."""
    found = saved(pointwise(by="e", min_score=0.3))
    assert (found.queries, found.all_queries) == (3, 3)
    assert (found.prompts, found.all_prompts) == (2 + 2 + 4, 12)
    assert (found.labelled, found.right_dropped) == (4, 2)
    assert found.map_before == pytest.approx((1 / 3 + 1 / 3) / 4)
    assert found.map_after == 0.0


def test_saving_by_query_costs_nothing_where_the_query_is_skipped() -> None:
    found = saved(pointwise(by="e", max_top1=0.8))
    assert (found.queries, found.all_queries) == (2, 3)
    assert (found.prompts, found.all_prompts) == (8, 12)
    assert (found.labelled, found.right_dropped) == (4, 0)
    assert found.map_before == found.map_after == pytest.approx((1 / 3 + 1 / 3) / 4)


def test_saving_without_the_table_it_selects_by_is_of_the_given_ranking() -> None:
    found = saved(pointwise(by="e", min_score=0.3), by=None)
    assert (found.queries, found.prompts, found.all_prompts, found.right_dropped) == (3, 12, 12, 0)
    assert found.map_before == found.map_after == pytest.approx((1 / 3 + 1 / 2 + 1 / 2) / 4)


@pytest.mark.parametrize("labels", [None, LABELS.head(0)])
def test_saving_without_labels_counts_and_no_more(labels: pd.DataFrame | None) -> None:
    found = saved(pointwise(by="e", min_score=0.3), labels=labels)
    assert found == Saving(queries=3, all_queries=3, prompts=8, all_prompts=12)
    assert found.sentence() == "select saved 0 of 3 queries, 4 of 12 prompts"


def test_saving_counts_prompts_as_the_pipeline_asks_them() -> None:
    more: dict[str, Any] = {
        "name": "p", "candidates": "r1", "model": "m", "prompt": "p.txt", "top_k": 4,
        "select": Select(by="e", min_score=0.3),
    }  # fmt: skip
    windowed = ListwisePipeline(kind="listwise", window=2, stride=1, reverse=True, **more)
    found = saved(windowed)  # 2, 2 and 4 candidates are 1, 1 and 3 windows, each in both orders
    assert (found.prompts, found.all_prompts) == (10, 18)
    knockout = TournamentPipeline(kind="tournament", group=2, **more)
    found = saved(knockout)
    assert (found.prompts, found.all_prompts) == (1 + 1 + 3, 9)


def test_the_sentence_says_all_of_it() -> None:
    found = saved(pointwise(by="e", min_score=0.3))
    assert found.sentence(tokens=8000, prompts=8) == (
        "select saved 0 of 3 queries, 4 of 12 prompts, about 4,000 tokens; it drops 2 of 4 right answers, "
        "MAP@25 0.1667 -> 0.0000 by the ranking it selects by"
    )
    assert "tokens" not in found.sentence()
    assert Saving(1000, 3000, 20000, 75000).sentence(10**6, 20000) == (
        "select saved 2,000 of 3,000 queries, 55,000 of 75,000 prompts, about 2,750,000 tokens"
    )


def test_what_extra_candidates_cost_is_not_called_a_saving() -> None:
    sentence = saved(pointwise(extra_unseen=1), by=None).sentence(tokens=1400, prompts=14)
    assert "-" not in sentence.split(";")[0]
    assert Saving(3, 3, 12, 12).sentence() == "select saved 0 of 3 queries, 0 of 12 prompts"


@pytest.mark.parametrize("seed", range(6))
def test_selection_is_that_of_plain_dictionaries(seed: int) -> None:
    """On random rankings, of which one lacks queries and candidates of the other."""
    rng = np.random.default_rng(seed)

    def ranking(queries: np.ndarray) -> pd.DataFrame:
        return tables.from_scores(
            pd.DataFrame(
                [(f"{q}_A", id_, rng.integers(4) / 4) for q in queries for id_ in rng.permutation(12)[:7]],
                columns=["query_id", "label_id", "score"],
            )
        )

    given, by = ranking(rng.permutation(9)), ranking(rng.permutation(9)[:6])
    found = {(q, id_): (rank, score) for q, id_, score, rank in by.itertuples(index=False)}
    known = set(by["query_id"])
    for missing in ("keep", "drop"):
        pipeline = pointwise(top_k=6, by="ce", min_score=0.3, top_n=5, missing=missing)
        expected: dict[str, list[int]] = {}
        for q, id_, _, rank in given.itertuples(index=False):
            place, score = found.get((q, id_), (0, 1.0) if missing == "keep" else (99, 1.0))
            if rank <= 6 and (q not in known or (place <= 5 and score >= 0.3)):
                expected.setdefault(q, []).append(id_)
        assert shown(take(pipeline, given, by, set())) == expected
