"""A classifier trained in the run, on the labelled queries of train: probabilities of the labels that they have."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np
import scipy.linalg
import sklearn
from scipy import sparse
from sklearn.feature_extraction.text import CountVectorizer, TfidfTransformer, TfidfVectorizer
from sklearn.tree import ExtraTreeClassifier

from cascade.retrievers import tfidf

WORD = re.compile(r"\d+|[^\W\d_]+|[^\w\s]|_")
TWICE = re.compile(r"([^\W\d_])\1+")
NUMBERS = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve"]
# Numbers are one word however they are written, and typing errors that double a letter are none.
SPELT = {TWICE.sub(r"\1", word): str(number) for number, word in enumerate(NUMBERS)}
LONGEST = 20_000  # characters of a text that are read
WINDOW = 4  # words within which two make a feature
LARGEST = 6_000  # labelled queries that one classifier learns from, as time grows with their cube
STEP = 1_000  # rows of likenesses that are worked out at a time
RIDGE = 0.2  # added to every likeness of a text with itself, which is 1
TREES, SHARE, RARE = 300, 0.1, 3  # share of the features that a split looks at; texts that a feature must be in


@dataclass(frozen=True)
class Texts:
    """Texts, for each the group that has a classifier of its own, and vectors [n_texts, n_dimensions], if any."""

    texts: Sequence[str]
    groups: Sequence[str]
    vectors: np.ndarray | None = None


def key(learner: str, train: Texts, columns: np.ndarray, asked: Texts, n_columns: int) -> str:
    """A digest of all that probabilities depend on, this code among it."""
    digest = hashlib.sha256(Path(__file__).read_bytes() + Path(tfidf.__file__).read_bytes())
    told = (learner, sklearn.__version__, n_columns, columns.tolist())
    for part in (told, *((list(each.texts), list(each.groups)) for each in (train, asked))):
        digest.update(repr(part).encode())
    for each in (train, asked):
        digest.update(b"" if each.vectors is None else each.vectors.tobytes())
    return digest.hexdigest()


def probabilities(
    learner: Literal["linear", "trees"], train: Texts, columns: np.ndarray, asked: Texts, n_columns: int
) -> np.ndarray:
    """Of every label for each text that is asked: float32 [n_asked, n_columns], 0 for labels that train lacks.

    columns: [n_train], the label's column of each train text. A text is judged by what the train texts of its group
    teach; where there are none, by what all teach.
    """
    texts = [*train.texts, *asked.texts]
    judge = _linear(texts, train, asked) if learner == "linear" else _trees(texts)
    found = np.zeros((len(asked.texts), n_columns), dtype=np.float32)
    own, others = np.array(train.groups, dtype=object), np.array(asked.groups, dtype=object)
    known = set(train.groups)
    places = [np.flatnonzero(others == group) for group in dict.fromkeys(asked.groups) if group in known]
    lessons = [np.flatnonzero(own == asked.groups[rows[0]]) for rows in places]
    strange = np.flatnonzero([group not in known for group in asked.groups])
    if len(strange):
        places, lessons = [*places, strange], [*lessons, np.arange(len(own))]

    def judged(rows: np.ndarray, lesson: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        lesson = _thinned(lesson, columns)
        labels, answers = np.unique(columns[lesson], return_inverse=True)
        return labels, judge(lesson, answers, len(train.texts) + rows)

    with warnings.catch_warnings(), ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        warnings.filterwarnings("ignore", "The number of unique classes", UserWarning)  # labels with one row are common
        for rows, (labels, probability) in zip(places, pool.map(judged, places, lessons), strict=True):
            found[np.ix_(rows, labels)] = probability
    return found


def words(text: str) -> list[str]:
    """Words, numbers and marks, in one spelling."""
    plain = TWICE.sub(r"\1", text[:LONGEST].lower().replace("’", "'").replace("n't", " not"))
    return [SPELT.get(word, word) for word in WORD.findall(plain)]


def near(text: str) -> list[str]:
    """Words, and pairs of words that are near one another, in their order."""
    found = words(text)
    pairs = (f"{a} {b}" for place, a in enumerate(found) for b in found[place + 1 : place + 1 + WINDOW])
    return [*found, *pairs]


def following(text: str) -> list[str]:
    """Words, and pairs of words that follow one another."""
    found = words(text)
    return [*found, *(f"{a} {b}" for a, b in pairwise(found))]


# Which train rows teach what (a label's number each), and which rows are asked: probabilities [n_rows, n_labels].
Judge = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]


def _linear(texts: Sequence[str], train: Texts, asked: Texts) -> Judge:
    """Ridge regression of the labels on TF-IDF and vectors, each of the same weight.

    Solved exactly by the rows' likenesses: there are fewer rows than features. Its values are estimates of
    probabilities that add up to 1; those below 0 are 0.
    """
    views: list[Any] = []
    makes: list[Callable[[], Any]] = [
        lambda: TfidfVectorizer(analyzer=near, sublinear_tf=True).fit_transform(texts),
        lambda: TfidfVectorizer(analyzer=following, sublinear_tf=True).fit_transform(texts),
        lambda: TfidfTransformer(sublinear_tf=True).fit_transform(
            tfidf.counts([" ".join(words(text)) for text in texts])
        ),
    ]
    for make in makes:
        try:
            views.append(make().astype(np.float32))
        except ValueError:  # no text has a word: all are as likely as in train
            views.append(sparse.csr_matrix((len(texts), 1), dtype=np.float32))
    if train.vectors is not None and asked.vectors is not None:
        views.append(np.concatenate([train.vectors, asked.vectors]))

    def likeness(rows: np.ndarray, others: np.ndarray) -> np.ndarray:
        found = np.zeros((len(rows), len(others)))
        for view in views:
            other = view[others].T
            for start in range(0, len(rows), STEP):
                product = view[rows[start : start + STEP]] @ other
                found[start : start + STEP] += product.toarray() if sparse.issparse(product) else product
        return found / len(views)

    def judge(lesson: np.ndarray, answers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        right = np.eye(answers.max() + 1)[answers]
        mean = right.mean(axis=0)
        own = likeness(lesson, lesson)
        own[np.diag_indices_from(own)] += RIDGE
        solved = scipy.linalg.solve(own, right - mean, assume_a="pos", overwrite_a=True)
        made = np.clip(likeness(rows, lesson) @ solved + mean, 0.0, None)
        found: np.ndarray = made / made.sum(axis=1, keepdims=True)
        return found

    return judge


def _trees(texts: Sequence[str]) -> Judge:
    """The mean of extremely randomised trees over the words that a text has: they learn what goes together."""
    try:
        view = CountVectorizer(analyzer=following, binary=True, min_df=RARE, dtype=np.float32).fit_transform(texts)
    except ValueError:  # no word is in so many texts
        view = sparse.csr_matrix((len(texts), 1), dtype=np.float32)

    def judge(lesson: np.ndarray, answers: np.ndarray, rows: np.ndarray) -> np.ndarray:
        found = np.zeros((len(rows), answers.max() + 1))
        own, asked = view[lesson].tocsc(), view[rows]
        for number in range(TREES):  # one by one: a forest keeps a number for every leaf and label
            tree = ExtraTreeClassifier(max_features=SHARE, random_state=number).fit(own, answers)
            found += tree.predict_proba(asked) / TREES
        return found

    return judge


def _thinned(lesson: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """At most `LARGEST` of the rows, each label's share as it was."""
    if len(lesson) <= LARGEST:
        return lesson
    by_label = lesson[np.argsort(columns[lesson], kind="stable")]
    taken = by_label[np.linspace(0, len(by_label) - 1, LARGEST).round().astype(int)]
    found: np.ndarray = np.sort(taken)
    return found
