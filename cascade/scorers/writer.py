"""The reasoning stage's model: what it writes about each query."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd

from cascade.config.schema import REASON, Config, Reason
from cascade.processes.workers import DeviceSlot


def open_writer(
    place: DeviceSlot, reason: Reason, config: Config
) -> Callable[[tuple[pd.DataFrame]], tuple[pd.DataFrame, dict[str, int]]]:
    """What a pool's process works with: (queries,) -> their reasons, and what it took for the ledger."""
    from cascade.models.prompters import open_prompter
    from cascade.models.prompts import query_fields
    from cascade.scorers.base import open_scorer

    scorer = open_scorer(place, REASON, reason, config, options=0)
    prompter = open_prompter(reason, config, scorer.tokenizer, scorer.max_length)
    prompter.check_tokenizer()

    def work(task: tuple[pd.DataFrame]) -> tuple[pd.DataFrame, dict[str, int]]:
        (queries,) = task
        prompts = []
        for query in queries.to_dict("records"):
            fitted, shortened = prompter.fit(query["query_id"], [query_fields(query)])
            scorer.usage.shortened += shortened
            prompts += fitted
        texts = [" ".join(text.split()) for text in scorer.generate(prompts, reason.max_tokens)]
        return pd.DataFrame({"query_id": queries["query_id"].tolist(), "reason": texts}), scorer.usage.take()

    return work
