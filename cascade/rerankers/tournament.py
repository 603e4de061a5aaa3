"""Tournament: the best of a few options meets the next few, from the tail of the candidates to their head."""

from __future__ import annotations

import numpy as np
import pandas as pd

from cascade.config.schema import Config, TournamentPipeline
from cascade.processes.workers import DeviceSlot
from cascade.rankings import tables
from cascade.rankings.windows import rounds
from cascade.rerankers.base import LLMReranker


class TournamentReranker(LLMReranker):
    """The score is 1/rank: last come those who left in the first round, each round's by its probabilities.

    One round over the first `group` candidates is 7th place's P3, more are its public notebook's survivor rounds.
    """

    def __init__(self, place: DeviceSlot, pipeline: TournamentPipeline, config: Config, names: dict[int, str]) -> None:
        super().__init__(place, pipeline, config, names)
        self.group = pipeline.group

    def rerank(self, queries: pd.DataFrame, candidates: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
        given = list(self.given(queries, candidates))
        plans = [rounds(len(ids), self.group) for _, _, ids in given]
        survivors: list[list[int]] = [[] for _ in given]
        beaten: list[list[int]] = [[] for _ in given]  # best first
        for number in range(max(map(len, plans))):
            playing = [i for i, plan in enumerate(plans) if number < len(plan)]
            groups = [given[i][2][slice(*plans[i][number])] + survivors[i] for i in playing]
            asked = [(given[i][0], given[i][1], ids) for i, ids in zip(playing, groups, strict=True)]
            for i, ids, chosen in zip(playing, groups, self.choose(asked), strict=True):
                order = [ids[place] for place in np.argsort(-chosen, kind="stable")]
                survivors[i], beaten[i] = order[:1], order[1:] + beaten[i]
        rows = pd.concat(
            [
                pd.DataFrame({"query_id": query_id, "label_id": ids, "score": 1 / np.arange(1, len(ids) + 1)})
                for (query_id, _, _), best, rest in zip(given, survivors, beaten, strict=True)
                for ids in [best + rest]
            ]
        )
        return tables.from_scores(rows), self.scorer.usage.take()
