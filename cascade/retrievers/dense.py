"""Embeddings by sentence-transformers, exact inner products by faiss."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from sentence_transformers import SentenceTransformer

from cascade import models
from cascade.config import Config, DensePart, NeighboursPart


class Embedder:
    """One sentence-transformers model with its adapter; several devices share the texts, a process each."""

    def __init__(self, part: DensePart | NeighboursPart, config: Config, cache: Path) -> None:
        self.part = part
        self.cache = cache
        self.devices = models.device_list(config)
        self.folder = models.model_path(part.model, config.path.parent)
        self.adapter = models.adapter_path(part, config)
        self.precision = models.dtype(self.devices[0])
        self._model: SentenceTransformer | None = None

    @property
    def model(self) -> SentenceTransformer:
        """Loaded when the first text wants it: a run whose embeddings are all cached loads nothing."""
        if self._model is None:
            model = SentenceTransformer(
                str(self.folder), device=self.devices[0], local_files_only=True, model_kwargs={"dtype": self.precision}
            )
            models.merge_adapter(model.transformers_model, self.adapter)
            if self.part.max_length:
                model.max_seq_length = self.part.max_length
            self._model = model.eval()
        return self._model

    def encode(self, texts: Sequence[str], prompt: str) -> np.ndarray:
        """Unit vectors, float32 [n_texts, n_dimensions]."""
        distinct = list(dict.fromkeys(texts))  # pairs of one question repeat in the neighbours' texts
        vectors = self.model.encode(
            distinct,
            prompt=prompt or None,
            batch_size=self.part.batch_size,
            device=self.devices if len(self.devices) > 1 else None,
            normalize_embeddings=True,
            show_progress_bar=True,
        )
        place = {text: i for i, text in enumerate(distinct)}
        found: np.ndarray = np.asarray(vectors, dtype=np.float32)[[place[text] for text in texts]]
        return found

    def embed(self, texts: Sequence[str], prompt: str) -> np.ndarray:
        """As `encode`, kept on disk under a key made of the weights, the settings and the texts.

        The dense part and the neighbours ask for the same queries, and so may several retrievals.
        """
        key = hashlib.sha256(models.fingerprint(self.folder, self.adapter).encode())
        key.update(repr((prompt, self.part.max_length, str(self.precision), list(texts))).encode())
        path = self.cache / f"{key.hexdigest()}.npy"
        if path.is_file():
            try:
                vectors: np.ndarray = np.load(path)
                return vectors
            except (OSError, ValueError, EOFError):  # torn by a kill or a full disk: made anew
                path.unlink(missing_ok=True)
        vectors = self.encode(texts, prompt)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            partial = path.with_name(f".{path.name}.{os.getpid()}.npy")
            np.save(partial, vectors)
            partial.replace(path)
        except OSError as error:  # a cache that can't be written costs time on the next run, not this run
            print(f"embeddings are not cached: {error}")
        return vectors


def nearest(queries: np.ndarray, passages: np.ndarray, top_k: int) -> tuple[np.ndarray, np.ndarray]:
    """The `top_k` passages of highest inner product: scores and indices, both [n_queries, top_k]."""
    index: Any = faiss.IndexFlatIP(passages.shape[1])
    index.add(passages)
    scores, indices = index.search(queries, min(top_k, len(passages)))
    return scores, indices


def dense_scores(embedder: Embedder, part: DensePart, texts: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Cosine similarity of every query text with every misconception name: float32 [n_queries, n_misconceptions]."""
    passages = embedder.embed(names, part.passage_prompt)
    scores, indices = nearest(embedder.embed(texts, part.query_prompt), passages, len(names))
    matrix = np.empty_like(scores)
    np.put_along_axis(matrix, indices, scores, axis=1)
    return matrix
