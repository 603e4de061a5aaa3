"""Listwise: up to 52 lettered options in one prompt, in windows over the candidates that overlap."""

from __future__ import annotations

import pandas as pd

from cascade.config.schema import Config, ListwisePipeline
from cascade.processes.workers import DeviceSlot
from cascade.rankings import tables
from cascade.rankings.windows import windows
from cascade.rerankers.base import LLMReranker


class ListwiseReranker(LLMReranker):
    """The score is the mean, over the windows that hold a candidate, of its option's probability (7th place's P1).

    With `reverse`, each window is asked in both orders: a model prefers some letters (2nd place).
    """

    def __init__(self, place: DeviceSlot, pipeline: ListwisePipeline, config: Config, names: dict[int, str]) -> None:
        super().__init__(place, pipeline, config, names)
        self.pipeline = pipeline

    def rerank(self, queries: pd.DataFrame, candidates: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
        asked = []
        for query_id, fields, ids in self.given(queries, candidates):
            for start, stop in windows(len(ids), self.pipeline.window, self.pipeline.stride):
                asked.append((query_id, fields, ids[start:stop]))
                if self.pipeline.reverse:
                    asked.append((query_id, fields, ids[start:stop][::-1]))
        rows = pd.concat(
            [
                pd.DataFrame({"query_id": query_id, "label_id": ids, "score": chosen})
                for (query_id, _, ids), chosen in zip(asked, self.choose(asked), strict=True)
            ]
        )
        means = rows.groupby(["query_id", "label_id"], sort=False)["score"].mean().reset_index()
        return tables.from_scores(means), self.scorer.usage.take()
