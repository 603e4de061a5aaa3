"""The LLM rerankers: each asks its questions, and one engine answers them all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from cascade.base import clock, runtime
from cascade.base.errors import ModelError
from cascade.config.schema import Config, LLMPipeline
from cascade.models import prompters
from cascade.models.prompts import query_fields
from cascade.processes.workers import DeviceSlot
from cascade.rankings import tables
from cascade.rankings.tables import check_finite
from cascade.rerankers import canaries
from cascade.rerankers.asking import ask
from cascade.rerankers.base import Answer, Given, Question, answered
from cascade.scorers.base import Usage, open_scorer


class LLMReranker:
    """A `[[pipeline]]` with an LLM, loaded."""

    def __init__(self, place: DeviceSlot, pipeline: LLMPipeline, config: Config, names: dict[int, str]) -> None:
        self.pipeline, self.names = pipeline, names
        answers = prompters.answers(pipeline)
        self.scorer = open_scorer(place, pipeline.name, pipeline, config, len(answers))
        self.prompter = prompters.open_prompter(pipeline, config, self.scorer.tokenizer, self.scorer.max_length)
        self.prompter.check_tokenizer()
        self.option_ids = self.prompter.option_ids(answers)

    def rerank(self, queries: pd.DataFrame, candidates: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
        """See `Reranker`; a candidate asked about more than once has the mean of its scores."""
        fields = {query["query_id"]: query_fields(query) for query in queries.to_dict("records")}
        given = [
            Given(str(query_id), fields[str(query_id)], rows["label_id"].tolist())
            for query_id, rows in candidates.groupby("query_id", sort=False)
        ]
        scored = answered(ask(self.pipeline, given, self.names), self.answer)
        rows = pd.DataFrame(
            {
                "query_id": [query_id for query_id, ids, _ in scored for _ in ids],
                "label_id": [id_ for _, ids, _ in scored for id_ in ids],
                "score": np.concatenate([scores for _, _, scores in scored]),
            }
        )
        means = rows.groupby(["query_id", "label_id"], sort=False)["score"].mean().reset_index()
        return tables.from_scores(means), self.scorer.usage.take()

    def prove(self, config: Config, path: Path) -> None:
        """Asks the model for its canaries' scores; ModelError where they are too far off.

        In Kaggle's rerun that is a warning: there a score that may be wrong is worth more than none. `usage` tells.
        path: of the canaries.
        """
        proved = self._proved(config, path)
        self.scorer.usage = Usage(shares=self.scorer.usage.shares, canaries=proved)

    def _proved(self, config: Config, path: Path) -> dict[str, Any]:
        try:
            found = canaries.check(self.pipeline, config, self.prompter, path)
            if found is None:
                return {}
            began = clock.now()
            drift = canaries.drift(self.pipeline, found, self.answer)
            if not drift.mean <= self.pipeline.canary_bound:
                raise ModelError(
                    f"its scores are not those of {path}, made by {found['engine']} ({drift}, and "
                    f"canary_bound is {self.pipeline.canary_bound:g})",
                    key=f"model '{self.pipeline.model}'",
                    mend="check its adapter, quantisation, dtype and parallel, or raise canary_bound",
                )
        except Exception as error:  # in the rerun none of it may cost the stage
            if not runtime.is_rerun():
                raise
            return {"warning": str(error), "said": f"warning: {error}"}
        return {**drift._asdict(), "seconds": round(clock.now() - began, 2), "said": str(drift)}

    def answer(self, questions: Sequence[Question]) -> list[Answer]:
        """The engine's log-probabilities, of questions with as many options."""
        prompts: list[list[int]] = []
        names, counts = [], []
        for query_id, variants, _ in questions:
            fitted, shortened = self.prompter.fit(query_id, variants)
            self.scorer.usage.shortened += shortened
            prompts += fitted
            names += [f"{query_id}, number {number}" for number in range(1, len(fitted) + 1)]
            counts.append(len(fitted))
        scores = self.scorer.score(prompts, self.option_ids[: questions[0].options])
        check_finite(scores, names)
        return np.split(scores, np.cumsum(counts)[:-1])
