"""Pointwise scores by the answers to its questions: P(yes), or shares of a query's candidates."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from cascade.config.schema import PointwisePipeline, Select
from cascade.rankings import selection, tables
from cascade.rerankers import pointwise
from cascade.rerankers.base import Given, Question, answered

GIVEN = [Given("a", {}, [4, 2, 7]), Given("b", {}, [2]), Given("c", {}, [4, 2])]
ODDS = {"a": [2.0, 0.0, -1.0], "b": [-3.0], "c": [-900.0, -901.0]}
PLAIN = PointwisePipeline(name="p", kind="pointwise", candidates="r1", model="m", prompt="p.txt")
BY_QUERY = PLAIN.model_copy(update={"normalise": "query"})
LOGITS = PLAIN.model_copy(update={"scores": "logits"})
BY_RANK = PLAIN.model_copy(update={"normalise": "rank"})


def scores(pipeline: PointwisePipeline) -> dict[str, np.ndarray]:
    def answer(questions: list[Question]) -> list[np.ndarray]:
        odds = [np.array(ODDS[question.query_id]) for question in questions]
        return [np.stack([-np.logaddexp(0, -each), -np.logaddexp(0, each)], axis=1) for each in odds]

    found = answered(pointwise.ask(pipeline, GIVEN, {2: "two", 4: "four", 7: "seven"}), answer)
    return {query: score for query, _, score in found}


def test_the_score_is_the_probability_of_yes() -> None:
    np.testing.assert_allclose(scores(PLAIN)["a"], 1 / (1 + np.exp([-2.0, 0.0, 1.0])))


@pytest.mark.parametrize("pipeline", [LOGITS, BY_RANK])
def test_log_odds_tell_candidates_apart_whose_probability_is_0_or_1(pipeline: PointwisePipeline) -> None:
    """Ranks are made of them by the stage, which has all queries' scores."""
    for query, odds in ODDS.items():
        np.testing.assert_allclose(scores(pipeline)[query], odds)
    assert len(set(scores(PLAIN)["c"].tolist())) == 1


def test_by_query_it_is_the_softmax_of_the_log_odds() -> None:
    """However unlikely all are, one candidate alone has all, and the odds between two stay theirs."""
    found = scores(BY_QUERY)
    odds = np.exp(ODDS["a"])
    np.testing.assert_allclose(found["a"], odds / odds.sum())
    np.testing.assert_allclose(found["b"], [1.0])
    np.testing.assert_allclose(found["c"], [np.e / (np.e + 1), 1 / (np.e + 1)])


def test_a_threshold_goes_by_the_shares() -> None:
    """The best of b and c have a P(yes) near 0, and a share of 1 and of .73."""
    kept = {}
    for pipeline in (PLAIN, BY_QUERY):
        rows = [(each.query_id, id_, score) for each in GIVEN
                for id_, score in zip(each.ids, scores(pipeline)[each.query_id], strict=True)]  # fmt: skip
        ranking = tables.from_scores(pd.DataFrame(rows, columns=["query_id", "label_id", "score"]))
        last = PLAIN.model_copy(update={"name": "q", "select": Select(by="p", min_top1=0.7)})
        kept[pipeline.normalise] = selection.take(last, ranking, ranking, set())["query_id"].unique().tolist()
    assert kept == {None: ["a"], "query": ["a", "b", "c"]}
