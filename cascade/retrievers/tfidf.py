"""TF-IDF: the retriever that needs nothing but scikit-learn, and submission zero's only part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer

BLOCK = 512  # queries whose sparse product with the labels is held at once


def tfidf_scores(query_texts: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Cosine similarity of every text with every misconception name: float32 [n_queries, n_misconceptions].

    Character n-grams within words beat whole words, stemming for free (multiply, multiplying),
    and document frequencies over both sides beat those of the names alone.
    """
    scores = np.empty((len(query_texts), len(names)), dtype=np.float32)
    start = 0
    for block in tfidf_blocks(query_texts, names):
        scores[start : start + len(block)] = block
        start += len(block)
    return scores


def tfidf_blocks(query_texts: Sequence[str], names: Sequence[str]) -> Iterator[np.ndarray]:
    """The rows of `tfidf_scores`, `BLOCK` queries at a time, so that who ranks each block needs no more memory."""
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    vectors = vectorizer.fit_transform([*names, *query_texts])
    passages = vectors[: len(names)].T.tocsr()
    for start in range(len(names), vectors.shape[0], BLOCK):
        yield (vectors[start : start + BLOCK] @ passages).toarray().astype(np.float32)
