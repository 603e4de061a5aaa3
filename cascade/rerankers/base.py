"""What the LLM rerankers share: a scorer, a prompt template with its options, and a chunk's prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from cascade.config.schema import Config, LLMPipeline
from cascade.models import prompters
from cascade.models.prompts import Fields, lettered, query_fields
from cascade.processes.workers import DeviceSlot
from cascade.rankings.tables import check_finite
from cascade.scorers.base import open_scorer

Given = tuple[str, dict[str, Any], list[int]]  # query id, its prompt fields, its candidates' ids


class LLMReranker:
    """The scorer of one `[[pipeline]]` and the prompts it is asked."""

    def __init__(self, place: DeviceSlot, pipeline: LLMPipeline, config: Config, names: dict[int, str]) -> None:
        self.names = names
        answers = prompters.answers(pipeline)
        self.scorer = open_scorer(place, pipeline.name, pipeline, config, len(answers))
        self.prompter = prompters.open_prompter(pipeline, config, self.scorer.tokenizer, self.scorer.max_length)
        self.prompter.check_tokenizer()
        self.option_ids = self.prompter.option_ids(answers)

    def given(self, queries: pd.DataFrame, candidates: pd.DataFrame) -> Iterator[Given]:
        """Each query of the chunk with its candidates, in the order of `candidates`."""
        fields = {query["query_id"]: query_fields(query) for query in queries.to_dict("records")}
        for query_id, rows in candidates.groupby("query_id", sort=False):
            yield str(query_id), fields[str(query_id)], rows["label_id"].tolist()

    def ask(self, asked: Sequence[tuple[str, Sequence[Fields]]], n_options: int) -> list[np.ndarray]:
        """Log-probabilities of the first `n_options` answers to each query's prompts: [n_prompts, n_options] a query.

        asked: query id and the fields of each of its prompts; where prompts are too long, they are
        shortened alike within a query.
        """
        prompts: list[list[int]] = []
        names, counts = [], []
        for query_id, variants in asked:
            fitted, shortened = self.prompter.fit(query_id, variants)
            self.scorer.usage.shortened += shortened
            prompts += fitted
            names += [f"{query_id}, number {number}" for number in range(1, len(fitted) + 1)]
            counts.append(len(fitted))
        scores = self.scorer.score(prompts, self.option_ids[:n_options])
        check_finite(scores, names)
        return np.split(scores, np.cumsum(counts)[:-1])

    def choose(self, asked: Sequence[tuple[str, Fields, list[int]]]) -> list[np.ndarray]:
        """Probability of each candidate to be named among its prompt's lettered options: [n_candidates] a prompt.

        Prompts with fewer options are asked apart: probabilities are over the options that there are.
        """
        found: list[np.ndarray] = [np.ones(1, dtype=np.float32)] * len(asked)
        for size in sorted({len(ids) for _, _, ids in asked} - {1}):  # one option needs no question
            places = [place for place, (_, _, ids) in enumerate(asked) if len(ids) == size]
            questions = [
                (asked[i][0], [{**asked[i][1], "options": lettered([self.names[id_] for id_ in asked[i][2]])}])
                for i in places
            ]
            for place, scores in zip(places, self.ask(questions, size), strict=True):
                found[place] = np.exp(scores[0])
        return found
