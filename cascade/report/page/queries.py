"""The queries as the page's script reads them: texts, and every ranking's first candidates and rank of the label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cascade.competitions.eedi import Competition
from cascade.rankings import metrics
from cascade.report.markup import as_html
from cascade.report.page.mathml import formula

SHOWN = 5  # candidates of each ranking


def data(rankings: Mapping[str, pd.DataFrame], queries: pd.DataFrame, competition: Competition) -> dict[str, Any]:
    """Plain JSON. `queries`: the test's rows with their `reason`; `rankings` by name, the submitted one last.

    rankings: the names; names: misconception id -> [HTML, whether it is seen], of those that are shown;
    questions: HTML; queries: one object each, whose `ranks` and `first` stand in the order of `rankings`, null
    where a ranking lacks the label or the query, and whose `plain` is what a search looks through.
    """
    labels = label_of(competition)
    ranks = {name: _ranks(table, competition) for name, table in rankings.items()}
    first = {name: _first(table) for name, table in rankings.items()}
    questions: dict[str, int] = {}
    rows = []
    for query in queries.to_dict("records"):
        id_ = str(query["query_id"])
        label = labels.get(id_)
        texts = [str(query[name]) for name in ("question", "correct", "wrong", "construct", "subject", "reason")]
        rows.append(
            {
                "id": id_,
                "question": questions.setdefault(texts[0], len(questions)),
                **{name: _html(query[name]) for name in ("correct", "wrong", "construct", "reason")},
                "subject": query["subject"],
                "label": label,
                "ranks": [ranks[name].get(id_) for name in rankings],
                "first": [first[name].get(id_) for name in rankings],
                "plain": "\n".join([id_, *texts, competition.names[label] if label is not None else ""]),
            }
        )
    shown = {id_ for row in rows for ranking in row["first"] for id_, _ in ranking or ()} | set(labels.values())
    return {
        "rankings": list(rankings),
        "depth": metrics.MAP_DEPTH,
        "names": {id_: [_html(competition.names[id_]), id_ in competition.seen] for id_ in sorted(shown)},
        "questions": [_html(question) for question in questions],
        "queries": rows,
    }


def label_of(competition: Competition) -> dict[str, int]:
    """Misconception by query, of those whose label is known."""
    labels = competition.labels
    return {} if labels is None else dict(zip(labels["query_id"], labels["misconception_id"].tolist(), strict=True))


def _html(text: object) -> str:
    return as_html(text, formula)


def _ranks(table: pd.DataFrame, competition: Competition) -> dict[str, int]:
    if competition.labels is None:
        return {}
    found = metrics.ranks_of_labels(table, competition.labels).dropna()
    return {str(query): int(rank) for query, rank in found.items()}


def _first(table: pd.DataFrame) -> dict[str, list[tuple[int, float]]]:
    """(misconception id, score to three digits) of each query's first candidates."""
    rows = table[table["rank"] <= SHOWN]
    scores = [float(f"{score:.3g}") for score in rows["score"].tolist()]
    found: dict[str, list[tuple[int, float]]] = {}
    for query, id_, score in zip(rows["query_id"], rows["misconception_id"].tolist(), scores, strict=True):
        found.setdefault(str(query), []).append((id_, score))
    return found
