"""Listwise: up to 52 lettered options in one prompt, in windows over the candidates that overlap."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cascade.config.schema import ListwisePipeline
from cascade.rankings.windows import windows
from cascade.rerankers.base import Asking, Given, choice


def ask(pipeline: ListwisePipeline, given: Sequence[Given], names: Mapping[int, str]) -> Asking:
    """The score is the mean, over the windows that hold a candidate, of its option's probability (7th place's P1).

    With `reverse`, each window is asked in both orders: a model prefers some letters (2nd place).
    """
    asked = [
        each._replace(ids=each.ids[start:stop][::step])
        for each in given
        for start, stop in windows(len(each.ids), pipeline.window, pipeline.stride)
        for step in ((1, -1) if pipeline.reverse else (1,))
    ]
    answers = yield [choice(each, names) for each in asked]
    return [(each.query_id, each.ids, np.exp(answer[0])) for each, answer in zip(asked, answers, strict=True)]
