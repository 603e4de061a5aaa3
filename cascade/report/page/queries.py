"""The queries as the page's script reads them: texts, and every ranking's first candidates and rank of the label."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd

from cascade.competitions.base import Task
from cascade.rankings import metrics
from cascade.report.markup import as_html
from cascade.report.page.mathml import formula

SHOWN = 5  # candidates of each ranking


def data(rankings: Mapping[str, pd.DataFrame], queries: pd.DataFrame, task: Task) -> dict[str, Any]:
    """Plain JSON. `queries`: the test's rows with their `reason`; `rankings` by name, the submitted one last.

    rankings: the names; names: label id -> [HTML, whether it is seen], of those that are shown; mains: the HTML of
    the queries' main texts, each once; group: what queries can be left out by; queries: one object each, whose `ranks`
    and `first` stand in the order of `rankings`, null where a ranking lacks the label or the query, and whose `plain`
    is what a search looks through.
    """
    labels = label_of(task)
    ranks = {name: _ranks(table, task) for name, table in rankings.items()}
    first = {name: _first(table) for name, table in rankings.items()}
    mains: dict[str, int] = {}
    group = task.competition.group
    rows: list[dict[str, Any]] = []
    for query in queries.to_dict("records"):
        id_ = str(query["query_id"])
        label = labels.get(id_)
        (_, main), *others = task.competition.show(query)
        texts = [main, *(text for _, text in others), str(query["reason"])]
        rows.append(
            {
                "id": id_,
                "main": mains.setdefault(main, len(mains)),
                "shown": [[heading, _html(text)] for heading, text in others],
                "reason": _html(query["reason"]),
                "group": query[group] if group else "",
                "label": label,
                "ranks": [ranks[name].get(id_) for name in rankings],
                "first": [first[name].get(id_) for name in rankings],
                "plain": "\n".join([id_, *texts, task.texts[label] if label is not None else ""]),
            }
        )
    shown = {id_ for row in rows for ranking in row["first"] for id_, _ in ranking or ()} | set(labels.values())
    return {
        "rankings": list(rankings),
        "depth": task.depth,
        "names": {id_: [_html(task.texts[id_]), id_ in task.seen] for id_ in sorted(shown)},
        "mains": [_html(main) for main in mains],
        "group": group,
        "queries": rows,
    }


def label_of(task: Task) -> dict[str, int]:
    """Label by query, of those whose label is known."""
    labels = task.truth
    return {} if labels is None else dict(zip(labels["query_id"], labels["label_id"].tolist(), strict=True))


def _html(text: object) -> str:
    return as_html(text, formula)


def _ranks(table: pd.DataFrame, task: Task) -> dict[str, int]:
    if task.truth is None:
        return {}
    found = metrics.ranks_of_labels(table, task.truth).dropna()
    return {str(query): int(rank) for query, rank in found.items()}


def _first(table: pd.DataFrame) -> dict[str, list[tuple[int, float]]]:
    """(label id, score to three digits) of each query's first candidates."""
    rows = table[table["rank"] <= SHOWN]
    scores = [float(f"{score:.3g}") for score in rows["score"].tolist()]
    found: dict[str, list[tuple[int, float]]] = {}
    for query, id_, score in zip(rows["query_id"], rows["label_id"].tolist(), scores, strict=True):
        found.setdefault(str(query), []).append((id_, score))
    return found
