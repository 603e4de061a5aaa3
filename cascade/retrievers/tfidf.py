"""TF-IDF: the retriever that needs nothing but scikit-learn, and submission zero's only part."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import numpy as np
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer

from cascade.rankings import tables


def tfidf_blocks(query_texts: Sequence[str], names: Sequence[str]) -> Iterator[np.ndarray]:
    """Cosine similarity of every text with every label text, as many rows at a time as `tables.parts` says.

    Character n-grams within words beat whole words, stemming for free (multiply, multiplying),
    and document frequencies over both sides beat those of the names alone.
    """
    vectors = TfidfTransformer(sublinear_tf=True).fit_transform(counts([*names, *query_texts]))
    passages, queries = vectors[: len(names)].T.tocsr(), vectors[len(names) :]
    for part in tables.parts(len(query_texts), len(names)):
        yield (queries[part] @ passages).toarray().astype(np.float32)


def counts(texts: Sequence[str]) -> sparse.csr_matrix:
    """How often each text has each n-gram of 3 to 5 characters within a word; ValueError where no text has a word.

    N-grams are taken of each distinct word once: of whole texts, nine tenths of them are taken again and again.
    """
    number: dict[str, int] = {}
    words = [[number.setdefault(word, len(number)) for word in text.lower().split()] for text in texts]
    ends = np.cumsum([0, *map(len, words)])
    column = np.fromiter(chain.from_iterable(words), dtype=np.int64, count=ends[-1])
    grams = CountVectorizer(analyzer="char_wb", ngram_range=(3, 5), lowercase=False, dtype=np.float64)
    of_words = grams.fit_transform(number)
    found = sparse.csr_matrix((np.ones(len(column)), column, ends), shape=(len(texts), len(number))) @ of_words
    found.sort_indices()  # sums do not depend on the order of the words
    return found
