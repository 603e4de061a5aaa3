"""What an LLM reranker is: a generator that yields its questions, is sent the answers, and returns its scores.

A run answers them by an engine, the plan by counting them, and the check looks at the first: all see the same prompts.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from cascade.models.prompts import Fields, lettered


class Given(NamedTuple):
    """A query with its candidates' ids, best first."""

    query_id: str
    fields: dict[str, Any]
    ids: list[int]


class Question(NamedTuple):
    """Prompts of one query, shortened alike where they are too long; each is answered by one of the first `options`."""

    query_id: str
    variants: Sequence[Fields]
    options: int = 0


Answer = np.ndarray  # log-probabilities of the options: [n_prompts, n_options]
Scored = tuple[str, Sequence[int], np.ndarray]  # query id, ids of candidates, a score for each
Asking = Generator[list[Question], list[Answer], list[Scored]]


def choice(given: Given, names: Mapping[int, str]) -> Question:
    """Which of the candidates it is, in one prompt that letters them."""
    options = lettered([names[id_] for id_ in given.ids])
    return Question(given.query_id, [{**given.fields, "options": options}], len(options))


def answered(asking: Asking, answer: Callable[[list[Question]], list[Answer]]) -> list[Scored]:
    """What a reranker returns, once all that it asks is answered.

    `answer` is called with questions of as many options: probabilities are over the options that there are.
    """
    answers: Any = None  # what a generator is sent first
    while True:
        try:
            questions = asking.send(answers)
        except StopIteration as end:
            scored: list[Scored] = end.value
            return scored
        # One option needs no question.
        answers = [np.zeros((len(question.variants), 1), dtype=np.float32) for question in questions]
        for size in sorted({question.options for question in questions} - {1}):
            places = [place for place, question in enumerate(questions) if question.options == size]
            for place, found in zip(places, answer([questions[place] for place in places]), strict=True):
                answers[place] = found
