"""Pointwise: one prompt a candidate, the candidate last, so that a query's prompts share all that stands before."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cascade.config.schema import PointwisePipeline
from cascade.rerankers.base import Asking, Given, Question


def ask(pipeline: PointwisePipeline, given: Sequence[Given], names: Mapping[int, str]) -> Asking:
    """The score is P(yes), over yes and no."""
    answers = yield [
        Question(query_id, [{**fields, "candidate": names[id_]} for id_ in ids], len(pipeline.options))
        for query_id, fields, ids in given
    ]
    return [(each.query_id, each.ids, np.exp(answer[:, 0])) for each, answer in zip(given, answers, strict=True)]
