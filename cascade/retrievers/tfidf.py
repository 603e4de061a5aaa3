"""TF-IDF: the retriever that needs nothing but scikit-learn, and submission zero's only part."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from sklearn.feature_extraction.text import TfidfVectorizer


def tfidf_scores(query_texts: Sequence[str], names: Sequence[str]) -> np.ndarray:
    """Cosine similarity of every text with every misconception name: float32 [n_queries, n_misconceptions].

    Character n-grams within words beat whole words, stemming for free (multiply, multiplying),
    and document frequencies over both sides beat those of the names alone.
    """
    vectorizer = TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True)
    vectorizer.fit([*names, *query_texts])
    passages = vectorizer.transform(names)
    scores: np.ndarray = (vectorizer.transform(query_texts) @ passages.T).toarray().astype(np.float32)
    return scores
