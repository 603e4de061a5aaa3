"""Which candidates and queries a pipeline takes: the cut at `top_k`, and `select` by an earlier ranking.

The 7th place's filter: rows on which one pipeline's score is low were dropped from the next one's,
accuracy kept and time saved.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pandas as pd

from cascade.base.columns import among
from cascade.config.schema import Pipeline
from cascade.config.selecting import Select
from cascade.rankings import metrics, tables
from cascade.rankings.windows import prompt_count

PAIR = ["query_id", "label_id"]


def take(pipeline: Pipeline, given: pd.DataFrame, by: pd.DataFrame | None, seen: set[int]) -> pd.DataFrame:
    """`query_id, label_id, rank` of what the pipeline is to score, in the order of `given`.

    given: the ranking that the pipeline's `candidates` names; by: the one that `select.by` names, None
    where that is missing. A query that `by` lacks is taken whole.
    """
    select = pipeline.select
    cut = tables.cut(given, pipeline.top_k)[PAIR]
    if select is None:
        return _ranked(cut)
    if by is not None:
        cut = _by_candidate(cut, by, select)
        cut = cut[~among(cut["query_id"], skipped_queries(by, select))]
    if select.extra_unseen:
        skipped = set() if by is None else skipped_queries(by, select)
        unseen = given[~given["label_id"].isin(seen) & ~among(given["query_id"], skipped)][PAIR]
        left_out = _without(unseen, cut)
        extra = left_out[left_out.groupby("query_id").cumcount() < select.extra_unseen]
        cut = pd.concat([cut, extra])
    _, (_, pairs) = tables.keys(given, cut)
    return _ranked(cut.take(np.argsort(pairs >> 32, kind="stable")))


def _without(rows: pd.DataFrame, others: pd.DataFrame) -> pd.DataFrame:
    """Those of `rows` whose query and label stand in no row of `others`."""
    _, (pairs, there) = tables.keys(rows, others)
    return rows[~pd.Series(pairs).isin(there).to_numpy()]


def _by_candidate(cut: pd.DataFrame, by: pd.DataFrame, select: Select) -> pd.DataFrame:
    _, (wanted, found) = tables.keys(cut, by)
    known = by[["score", "rank"]].set_axis(found).reindex(wanted)
    keep = np.ones(len(cut), dtype=bool)
    if select.min_score is not None:
        keep &= ~(known["score"] < select.min_score).to_numpy()
    if select.top_n is not None:
        keep &= ~(known["rank"] > select.top_n).to_numpy()
    if select.missing == "drop":
        keep &= known["rank"].notna().to_numpy()
    kept: pd.DataFrame = cut[keep | ~among(cut["query_id"], set(by["query_id"].unique()))]
    return kept


def skipped_queries(by: pd.DataFrame, select: Select) -> set[str]:
    """The queries of `by` that a pipeline need not look at: hopeless, or sure already."""
    top = top_scores(by)
    skip = pd.Series(False, index=top.index)
    if select.min_top1 is not None:
        skip |= top["top1"] < select.min_top1
    if select.max_top1 is not None:
        skip |= top["top1"] > select.max_top1
    if select.max_margin is not None:
        skip |= top["margin"] > select.max_margin
    return set(top.index[skip])


def top_scores(by: pd.DataFrame) -> pd.DataFrame:
    """`top1` and `margin` (to the second; to 0 where there is none) of each query, indexed by query_id."""
    best = by[by["rank"] <= 2].pivot(index="query_id", columns="rank", values="score").reindex(columns=[1, 2])
    return pd.DataFrame({"top1": best[1], "margin": best[1] - best[2].fillna(0.0)})


def _ranked(rows: pd.DataFrame) -> pd.DataFrame:
    rank = tables.places(pd.factorize(rows["query_id"])[0])
    return rows.assign(rank=rank).reset_index(drop=True)


@dataclass(frozen=True)
class Saving:
    """What a selection spares a pipeline, and what it may cost. Labelled figures are None without labels.

    `right_dropped` of the `labelled` queries' right answers were candidates and are not any more, in
    queries that are not skipped; `map_before` and `map_after` are MAP@`depth` of `by`'s own ranking with and
    without what was dropped: the cost, if the pipeline would have ranked as `by` does.
    """

    queries: int
    all_queries: int
    prompts: int
    all_prompts: int
    labelled: int | None = None
    right_dropped: int | None = None
    map_before: float | None = None
    map_after: float | None = None
    depth: int = 0

    def sentence(self, tokens: int = 0, prompts: int = 0) -> str:
        """Says the saving in words; `tokens` and `prompts` of the run tell about how many tokens were saved."""
        saved = self.all_prompts - self.prompts
        about = f", about {abs(saved) * tokens // prompts:,} tokens" if prompts else ""
        said = (
            f"select saved {self.all_queries - self.queries:,} of {self.all_queries:,} queries, "
            + (f"{saved:,} of" if saved >= 0 else f"and added {-saved:,} to")
            + f" {self.all_prompts:,} prompts{about}"
        )
        if self.map_before is None or self.map_after is None:
            return said
        return (
            f"{said}; it drops {self.right_dropped} of {self.labelled} right answers, "
            f"MAP@{self.depth} {self.map_before:.4f} -> {self.map_after:.4f} by the ranking it selects by"
        )


def saving(
    pipeline: Pipeline,
    given: pd.DataFrame,
    taken: pd.DataFrame,
    by: pd.DataFrame | None,
    labels: pd.DataFrame | None,
    depth: int,
) -> Saving:
    """What `taken` spares against all of `given` down to `top_k`."""
    whole = tables.cut(given, pipeline.top_k)
    cost = _counter(pipeline)
    counts = {
        "queries": taken["query_id"].nunique(),
        "all_queries": whole["query_id"].nunique(),
        "prompts": cost(taken),
        "all_prompts": cost(whole),
    }
    if labels is None or not len(labels):
        return Saving(**counts)
    reference = whole if by is None else by
    gone = _without(whole, taken)
    gone = gone[among(gone["query_id"], set(taken["query_id"].unique()))]
    ranks = metrics.ranks_of_labels(reference, labels)
    right = labels["query_id"][metrics.ranks_of_labels(gone, labels).notna().to_numpy()]
    return Saving(
        **counts,
        labelled=len(labels),
        right_dropped=len(right),
        map_before=metrics.map_at(ranks, depth),
        map_after=metrics.map_at(ranks.where(~ranks.index.isin(right)), depth),
        depth=depth,
    )


def _counter(pipeline: Pipeline) -> Callable[[pd.DataFrame], int]:
    return lambda rows: int(rows.groupby("query_id").size().map(lambda n: prompt_count(pipeline, n)).sum())
