"""The sample's tiny LLM and its adapters: their files, and what they reach."""

from __future__ import annotations

from pathlib import Path

import pytest

from cascade.config.schema import PointwisePipeline
from cascade.models.adapters import ADAPTER_FILES
from cascade.models.prompts import LETTERS, Prompter, Template, query_fields
from cascade.processes.workers import DeviceSlot
from cascade.rankings import metrics, tables
from cascade.rerankers.opening import open_reranker
from cascade.scorers.transformers_engine import TransformersScorer
from tests.eedi import FIELDS
from tests.llm import ADAPTERS, LISTWISE, MODEL, POINTWISE, make_bench, make_config

CPU = DeviceSlot(("cpu",))
PROMPTS = Path("configs/prompts")


def test_they_are_small_and_hold_nothing_else() -> None:
    adapters = [ADAPTERS / f"tiny-{kind}" for kind in ("pointwise", "listwise")]
    assert {path.name for path in MODEL.iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja",
    }  # fmt: skip
    for folder in adapters:
        assert {path.name for path in folder.iterdir()} == set(ADAPTER_FILES)
    assert sum(path.stat().st_size for folder in (MODEL, *adapters) for path in folder.iterdir()) < 8_000_000


@pytest.mark.parametrize("pipeline", [POINTWISE, LISTWISE + "window = 25\n"], ids=["pointwise", "listwise"])
def test_each_adapter_reranks_shuffled_candidates(tmp_path: Path, pipeline: str) -> None:
    """25 shuffled candidates that hold the right one: chance is MAP@25 .153; each must reach .25."""
    config = make_config(tmp_path, pipeline)
    context = make_bench(tmp_path, config, queries=205)
    assert context.task.truth is not None and len(context.task.truth) == 205
    rerank = open_reranker(CPU, config.pipeline[0], config, context.task.texts)
    ranking, _ = rerank((context.queries(), tables.read(config.table_path("r1", context.run))))
    reached = metrics.report(ranking, context.task.truth, context.task.seen, 25, recalls=())
    print({name: round(value, 3) for name, value in reached.items()})
    assert reached["map"] >= 0.25


def test_the_model_alone_writes_and_its_options_are_tokens(tmp_path: Path) -> None:
    config = make_config(tmp_path, POINTWISE)
    pipeline = config.pipeline[0]
    assert isinstance(pipeline, PointwisePipeline)
    scorer = TransformersScorer(CPU, pipeline, MODEL, None)
    listwise = Prompter(Template(PROMPTS / "listwise.txt", FIELDS, "options"), scorer.tokenizer, 2048)
    assert len(set(listwise.option_ids(LETTERS))) == 52
    prompter = Prompter(Template(PROMPTS / "reason.txt", FIELDS), scorer.tokenizer, 2048)
    queries = make_bench(tmp_path, config, queries=12).queries().to_dict("records")
    written = scorer.generate([prompter.fit("", [query_fields(query)])[0][0] for query in queries], 16)
    print(written)
    assert all(text.strip() for text in written)
    assert len(set(written)) > 3
