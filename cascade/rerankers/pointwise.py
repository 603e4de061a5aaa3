"""Pointwise: one prompt a candidate, the candidate last, so that a query's prompts share all that stands before."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cascade.rankings import tables
from cascade.rerankers.base import LLMReranker


class PointwiseReranker(LLMReranker):
    """The score is P(yes), over yes and no."""

    def rerank(self, queries: pd.DataFrame, candidates: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
        given = list(self.given(queries, candidates))
        asked = [
            (query_id, [{**fields, "candidate": self.names[id_]} for id_ in ids]) for query_id, fields, ids in given
        ]
        yes = [np.exp(scores[:, 0]) for scores in self.ask(asked, 2)]
        rows = pd.DataFrame(
            {
                "query_id": [query_id for query_id, _, ids in given for _ in ids],
                "label_id": [id_ for _, _, ids in given for id_ in ids],
                "score": np.concatenate(yes),
            }
        )
        return tables.from_scores(rows), self.scorer.usage.take()
