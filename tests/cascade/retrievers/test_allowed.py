"""Queries that can have some of the labels alone: what a retrieval ranks of them, and what a plan counts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cascade.base.runtime import ROOT
from cascade.competitions.base import Task
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.config.parts import AllowedPart, Part, TfidfPart
from cascade.config.schema import Retrieval
from cascade.plan.profile import PROFILES, load
from cascade.plan.workload import Planner
from cascade.rankings import tables
from cascade.retrievers.blend import Blend


@pytest.fixture(scope="module")
def task() -> Task:
    """Of four queries one can have two labels, one a single one, one none, and one is not named."""
    whole = EEDI.read(ROOT / "sample")
    queries, ids = whole.queries.head(4), whole.labels["label_id"].tolist()
    first, second, third, _ = queries["query_id"]
    allowed = {first: [ids[7], ids[3]], second: [ids[9]], third: []}
    return replace(whole, train=whole.train.head(60), queries=queries, allowed=allowed)


def ranked(task: Task, tmp_path: Path, *parts: Part, top_k: int = 40) -> dict[str, list[int]]:
    retrieval = Retrieval(name="r1", top_k=top_k, retriever=list(parts))
    with Blend(retrieval, configs.load(ROOT / "configs" / "sample.toml"), tmp_path) as blend:
        return tables.ids(tables.validate(blend.retrieve(task.queries, task), "r1"))


def test_allowed_labels_are_ranked_without_a_model(task: Task, tmp_path: Path) -> None:
    ids = task.labels["label_id"].tolist()
    found = [*ranked(task, tmp_path, AllowedPart(kind="allowed"), top_k=len(ids)).values()]
    assert found == [sorted([ids[3], ids[7]]), [ids[9]], sorted(ids), sorted(ids)]


def test_no_part_of_a_blend_ranks_a_label_that_a_query_cannot_have(task: Task, tmp_path: Path) -> None:
    """Its order is that of the whole ranking; a table is short where there are fewer than top_k."""
    tfidf, allowed = TfidfPart(kind="tfidf"), AllowedPart(kind="allowed", weight=0.1)
    whole = ranked(replace(task, allowed=None), tmp_path, tfidf, top_k=len(task.labels))
    for parts in ([tfidf], [allowed, tfidf]):
        found = ranked(task, tmp_path, *parts)
        expected = {query: [id_ for id_ in whole[query] if id_ in task.labels_of(query)][:40] for query in whole}
        assert found == expected
        assert [*map(len, found.values())] == [2, 1, 40, 40]


def test_a_plan_counts_the_candidates_that_there_are(task: Task) -> None:
    ids, config = task.labels["label_id"].tolist(), configs.load(ROOT / "configs" / "cross-encoder.toml")
    counts = zip(task.queries["query_id"], (2, 1, 4, 7), strict=True)
    task = replace(task, allowed={query: ids[:count] for query, count in counts})
    profile = load(PROFILES / "cpu.toml")
    rerank = next(each for each in Planner(config, task, profile).stages(config, profile) if each.name == "rerank-ce")
    assert rerank.candidates == (2 + 1 + 4 + 7) / 4
