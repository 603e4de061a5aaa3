"""Tournament: the best of a few options meets the next few, from the tail of the candidates to their head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from cascade.config.schema import TournamentPipeline
from cascade.rankings.windows import rounds
from cascade.rerankers.base import Asking, Given, choice


def ask(pipeline: TournamentPipeline, given: Sequence[Given], names: Mapping[int, str]) -> Asking:
    """The score is 1/rank: last come those who left in the first round, each round's by its probabilities.

    One round over the first `group` candidates is 7th place's P3, more are its public notebook's survivor rounds.
    """
    plans = [rounds(len(each.ids), pipeline.group) for each in given]
    ranked: list[list[int]] = [[] for _ in given]  # who has played, best first
    for number in range(max(map(len, plans))):
        playing = [i for i, plan in enumerate(plans) if number < len(plan)]
        groups = [given[i]._replace(ids=given[i].ids[slice(*plans[i][number])] + ranked[i][:1]) for i in playing]
        answers = yield [choice(group, names) for group in groups]
        for i, group, answer in zip(playing, groups, answers, strict=True):
            order = np.argsort(-np.exp(answer[0]), kind="stable")
            ranked[i] = [group.ids[place] for place in order] + ranked[i][1:]
    return [(each.query_id, ids, 1 / np.arange(1, len(ids) + 1)) for each, ids in zip(given, ranked, strict=True)]
