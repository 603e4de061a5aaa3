"""Pointwise: one prompt a candidate, the candidate last, so that a query's prompts share all that stands before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cascade.config.schema import PointwisePipeline
from cascade.rerankers.base import Asking, Given, Question


def ask(pipeline: PointwisePipeline, given: Sequence[Given], names: Mapping[int, str]) -> Asking:
    """The score is P(yes), over yes and no.

    With `scores = "logits"` it is the log-odds of yes to no, which tell scores near 1 apart; so it is with
    `normalise = "rank"`, for a stage makes ranks of all its queries' scores together (Jigsaw 2025, 1st place).
    With `normalise = "query"` it is a softmax, over the query's candidates, of the log-odds of yes to no (MAP 2025, 1st
    place's loss): scores of different queries compare, where exactly one candidate is right.
    """
    answers = yield [
        Question(query_id, [{**fields, "candidate": names[id_]} for id_ in ids], len(pipeline.options))
        for query_id, fields, ids in given
    ]
    score = _yes if pipeline.scores == "probabilities" else _odds
    if pipeline.normalise is not None:
        score = {"query": _within_query, "rank": _odds}[pipeline.normalise]
    return [(each.query_id, each.ids, score(answer)) for each, answer in zip(given, answers, strict=True)]


def _yes(answer: np.ndarray) -> np.ndarray:
    chance: np.ndarray = np.exp(answer[:, 0])
    return chance


def _odds(answer: np.ndarray) -> np.ndarray:
    odds: np.ndarray = answer[:, 0] - answer[:, 1]
    return odds


def _within_query(answer: np.ndarray) -> np.ndarray:
    odds = _odds(answer)
    shares: np.ndarray = np.exp(odds - odds.max())
    shares /= shares.sum()
    return shares
