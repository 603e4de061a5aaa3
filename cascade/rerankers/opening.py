"""Rerankers: from a chunk of whole queries and their candidates to a ranking. Each runs in a pool's process."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

import pandas as pd

from cascade.config.schema import AnyPipeline, Config, CrossEncoderPipeline
from cascade.processes.workers import DeviceSlot


class Reranker(Protocol):
    """A reranker is a loaded `[[pipeline]]`."""

    def rerank(self, queries: pd.DataFrame, candidates: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
        """The chunk's ranking table, and what it took for the ledger (prompts, tokens, cached_tokens, shortened).

        queries: rows of the query table with a `reason` column. candidates: `query_id, label_id`,
        best first, of those queries alone. Raises ScoreError where a score is no finite number.
        """
        ...


def open_reranker(
    place: DeviceSlot, pipeline: AnyPipeline, config: Config, names: dict[int, str], canaries: Path | None = None
) -> Any:
    """What a pool's process works with: (queries, candidates) -> `Reranker.rerank` of them.

    `names` are the labels' texts by id. canaries: the file to prove an LLM by, if it is there.
    """
    made: Reranker
    if isinstance(pipeline, CrossEncoderPipeline):
        from cascade.rerankers.cross_encoder import CrossEncoderReranker

        made = CrossEncoderReranker(place, pipeline, config, names)
    else:
        from cascade.rerankers.llm import LLMReranker

        asked = LLMReranker(place, pipeline, config, names)
        if canaries is not None:
            asked.prove(config, canaries)
        made = asked
    return lambda task: made.rerank(*task)
