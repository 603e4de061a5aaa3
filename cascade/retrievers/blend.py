"""A retrieval of the config: its retrievers' scores, weighted and summed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from cascade import data, tables
from cascade.config import Config, DensePart, Encoder, NeighboursPart, Part, Retrieval
from cascade.data import Competition
from cascade.retrievers.tfidf import tfidf_scores


class Blend:
    """The retriever of one `[[retrieval]]`: `retrieve` ranks, `part_scores` shows what each part says.

    `cache` is the folder of embeddings, made when the first is kept. Parts that name the same
    model and adapter share it.
    """

    def __init__(self, retrieval: Retrieval, config: Config, cache: Path) -> None:
        self.retrieval = retrieval
        self.config = config
        self.cache = cache
        self._embedders: dict[str, object] = {}

    def retrieve(self, queries: pd.DataFrame, competition: Competition) -> pd.DataFrame:
        """The `top_k` best misconceptions of every query, as a ranking table."""
        scores = np.zeros((len(queries), len(competition.misconceptions)), dtype=np.float32)
        for part in self.retrieval.retriever:
            scores += np.float32(part.weight) * self.part_scores(part, queries, competition)
        ids = competition.misconceptions["misconception_id"].to_numpy()
        return tables.from_matrix(queries["query_id"].tolist(), ids, scores, self.retrieval.top_k)

    def part_scores(self, part: Part, queries: pd.DataFrame, competition: Competition) -> np.ndarray:
        """What one retriever says of every misconception: float32 [n_queries, n_misconceptions]."""
        texts, names = data.query_texts(queries), competition.misconceptions["name"].tolist()
        if isinstance(part, DensePart):
            from cascade.retrievers.dense import dense_scores

            return dense_scores(self._embedder(part), part, texts, names)
        if isinstance(part, NeighboursPart):
            return self._neighbours(part, texts, competition)
        return tfidf_scores(texts, names)

    def _neighbours(self, part: NeighboursPart, texts: list[str], competition: Competition) -> np.ndarray:
        from cascade.retrievers.dense import nearest
        from cascade.retrievers.neighbours import neighbour_scores

        train, embedder = competition.train, self._embedder(part)
        n_columns = len(competition.misconceptions)
        if train.empty:
            return np.zeros((len(texts), n_columns), dtype=np.float32)
        labelled = embedder.embed(data.query_texts(train), part.query_prompt)
        similarities, neighbours = nearest(embedder.embed(texts, part.query_prompt), labelled, part.top_n)
        column = pd.Series(range(n_columns), index=competition.misconceptions["misconception_id"])
        columns = train["misconception_id"].map(column).to_numpy()
        return neighbour_scores(similarities, neighbours, columns, n_columns, part.gate)

    def _embedder(self, part: DensePart | NeighboursPart):  # type: ignore[no-untyped-def]
        from cascade.retrievers.dense import Embedder

        key = repr(part.model_dump(include=set(Encoder.model_fields)))
        if key not in self._embedders:
            self._embedders[key] = Embedder(part, self.config, self.cache)
        return self._embedders[key]
