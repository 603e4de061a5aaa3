"""A retrieval of the config: its retrievers' scores, weighted and summed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from cascade.base import clock
from cascade.base.errors import ModelError, ScoreError, StageError, WorkerError
from cascade.competitions import registry
from cascade.competitions.base import Task
from cascade.config.parts import AllowedPart, ClassifierPart, DensePart, EmbeddingModel, NeighboursPart, Part
from cascade.config.schema import Config, Retrieval
from cascade.models.prompts import Template, query_fields
from cascade.rankings import tables
from cascade.retrievers.allowed import best_allowed
from cascade.retrievers.cache import kept
from cascade.retrievers.tfidf import tfidf_blocks

if TYPE_CHECKING:
    from cascade.retrievers.dense import Embedder


class Blend:
    """The retriever of one `[[retrieval]]`: `retrieve` ranks, `part_scores` shows what each part says.

    `cache` is the folder of embeddings, made when the first is kept. Parts in a row that name the same
    model and adapter share it; one model is loaded at a time. Use as a context manager, or close it: then
    `embedded` tells what reading texts took, as `Embedder.spent`, and `trained` what each classifier did.
    """

    def __init__(self, retrieval: Retrieval, config: Config, cache: Path) -> None:
        self.retrieval = retrieval
        self.config = config
        self.cache = cache
        self.left_out: list[str] = []
        self.embedded: list[dict[str, Any]] = []
        self.trained: list[dict[str, Any]] = []
        self._embedder: tuple[str, Embedder] | None = None

    def __enter__(self) -> Blend:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Ends the processes of the model that is loaded."""
        if self._embedder is not None:
            self._embedder[1].close()
            self.embedded += self._embedder[1].spent
        self._embedder = None

    def retrieve(self, queries: pd.DataFrame, task: Task) -> pd.DataFrame:
        """The `top_k` best labels of every query, as a ranking table.

        A part whose model cannot be used or gives no numbers is left out, said in `left_out`, while
        another is there: half a blend is better than none.
        """
        parts: list[tuple[np.float32, Iterator[np.ndarray]]] = []
        for part in self.retrieval.retriever:
            try:
                parts.append((np.float32(part.weight), self._part_blocks(part, queries, task)))
            except (ModelError, ScoreError, WorkerError) as error:
                self.left_out.append(f"{part.kind} is left out: {error}")
                if len(self.left_out) == len(self.retrieval.retriever):
                    raise
                print(self.left_out[-1])
        weights, scores = zip(*parts, strict=True)
        summed = (
            np.sum([weight * block for weight, block in zip(weights, blocks, strict=True)], axis=0)
            for blocks in zip(*scores, strict=True)
        )
        table = best_allowed(queries["query_id"].tolist(), task, summed, self.retrieval.top_k)
        if not table["score"].any():  # say, neighbours alone and a train.csv without labels: submission zero is better
            raise StageError(
                "every score is 0, so nothing can be ranked",
                key=f"retrieval '{self.retrieval.name}'",
                mend="set another weight or add a retriever",
            )
        return table

    def part_scores(self, part: Part, queries: pd.DataFrame, task: Task) -> np.ndarray:
        """What one retriever says of every label: float32 [n_queries, n_labels]."""
        return np.concatenate([*self._part_blocks(part, queries, task)])

    def _part_blocks(self, part: Part, queries: pd.DataFrame, task: Task) -> Iterator[np.ndarray]:
        """The rows of `part_scores`, some at a time; what can fail does so before the first is asked for."""
        texts, names = self.texts(queries), task.labels["text"].tolist()
        if isinstance(part, DensePart):
            from cascade.retrievers.dense import dense_vectors

            asked, passages = dense_vectors(self._embedder_of(part), part, texts, names)
            return (asked[rows] @ passages.T for rows in tables.parts(len(texts), len(names)))
        if isinstance(part, NeighboursPart):
            return self._neighbours(part, texts, task)
        if isinstance(part, ClassifierPart):
            return self._classifier(part, queries, texts, task)
        if isinstance(part, AllowedPart):
            return (
                np.ones((len(texts[rows]), len(names)), np.float32) for rows in tables.parts(len(texts), len(names))
            )
        return tfidf_blocks(texts, names)

    def _neighbours(self, part: NeighboursPart, texts: list[str], task: Task) -> Iterator[np.ndarray]:
        from cascade.retrievers.dense import nearest
        from cascade.retrievers.neighbours import neighbour_scores

        train, embedder = task.train, self._embedder_of(part)
        n_columns = len(task.labels)
        cuts = tables.parts(len(texts), n_columns)
        if train.empty:
            return (np.zeros((len(texts[rows]), n_columns), dtype=np.float32) for rows in cuts)
        labelled = embedder.embed(self.texts(train), part.query_prompt)
        similarities, neighbours = nearest(embedder.embed(texts, part.query_prompt), labelled, part.top_n)
        column = pd.Series(range(n_columns), index=task.labels["label_id"])
        columns = train["label_id"].map(column).to_numpy()
        return (neighbour_scores(similarities[rows], neighbours[rows], columns, n_columns, part.gate) for rows in cuts)

    def _classifier(
        self, part: ClassifierPart, queries: pd.DataFrame, texts: list[str], task: Task
    ) -> Iterator[np.ndarray]:
        from cascade.retrievers import classifier

        train, n_columns = task.train, len(task.labels)
        cuts = tables.parts(len(texts), n_columns)
        if train.empty:
            return (np.zeros((len(texts[rows]), n_columns), dtype=np.float32) for rows in cuts)

        def given(rows: pd.DataFrame, read: list[str]) -> classifier.Texts:
            model = part.embeddings
            vectors = None if model is None else self._embedder_of(model).embed(read, model.query_prompt)
            return classifier.Texts(read, [""] * len(read) if part.by is None else rows[part.by].tolist(), vectors)

        labelled, asked = given(train, self.texts(train)), given(queries, texts)
        columns = train["label_id"].map(pd.Series(range(n_columns), index=task.labels["label_id"])).to_numpy()
        path = self.cache / f"{classifier.key(part.learner, labelled, columns, asked, n_columns)}.npy"

        def train_one() -> np.ndarray:
            start, rows = clock.now(), len(train) + len(texts)
            made = classifier.probabilities(part.learner, labelled, columns, asked, n_columns)
            self.trained.append({"learner": part.learner, "rows": rows, "seconds": round(clock.now() - start, 3)})
            return made

        scores = kept(path, "probabilities", train_one)
        return (scores[rows] for rows in cuts)

    def texts(self, queries: pd.DataFrame) -> list[str]:
        """What the retrievers read of each query: the config's `query_text` template, else the data's own order."""
        if self.retrieval.query_text is None:
            return queries["text"].tolist()
        template = Template(self.config.path.parent / self.retrieval.query_text, registry.of(self.config).fields)
        return [template.text(query_fields(query)) for query in queries.to_dict("records")]

    def _embedder_of(self, part: EmbeddingModel) -> Embedder:
        from cascade.retrievers.dense import Embedder

        key = repr(part.model_dump(include=set(EmbeddingModel.model_fields) - {"query_prompt"}))
        if self._embedder is None or self._embedder[0] != key:
            self.close()
            self._embedder = (key, Embedder(part, self.config, self.cache))
        return self._embedder[1]
