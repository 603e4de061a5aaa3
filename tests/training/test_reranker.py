"""Training an LLM reranker: on the prompts of inference, and what it leaves."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM

from cascade.base.errors import ConfigError
from cascade.base.runtime import ROOT
from cascade.competitions.eedi import EEDI
from cascade.config.schema import Config
from cascade.models.adapters import ADAPTER_FILES, PROVENANCE
from cascade.models.prompts import query_fields
from cascade.processes.workers import DeviceSlot
from cascade.rerankers import canaries
from cascade.rerankers.asking import ask
from cascade.rerankers.base import Given
from cascade.rerankers.llm import LLMReranker
from cascade.scorers import one_pass
from tests.llm import LISTWISE, MODEL, POINTWISE, TOURNAMENT, make_config
from training import lora, reranker
from training.jobs import provenance
from training.jobs.provenance import CURVE
from training.reranker import Settings

SAMPLE = ROOT / "sample"
KINDS = {"pointwise": POINTWISE, "listwise": LISTWISE, "tournament": TOURNAMENT}


def config_of(folder: Path, kind: str) -> Config:
    text = KINDS[kind].replace("tiny-pointwise", "mine").replace("tiny-listwise", "mine") + "top_k = 6\n"
    # Relative to the config, as in configs/.
    return make_config(folder, text).model_copy(update={"adapters": f"../{folder.name}/adapters"})


@pytest.mark.parametrize("kind", KINDS)
def test_the_prompts_are_those_that_inference_asks(tmp_path: Path, kind: str) -> None:
    config = config_of(tmp_path, kind)
    pipeline = reranker.pipeline_of(config, "p")
    task = EEDI.read(SAMPLE)
    query = {**task.train.iloc[3].to_dict(), "reason": "They add the denominators."}
    candidates = {query["query_id"]: [*task.texts][:40]}
    examples = reranker.Examples(pipeline, config, task, candidates)
    drawn: list[list[int]] = []
    permutation = examples.rng.permutation

    class Seen:
        choice = examples.rng.choice

        def permutation(self, ids: list[int]) -> np.ndarray:
            drawn.append(permutation(ids).tolist())
            return np.array(drawn[-1])

    examples.rng = Seen()  # type: ignore[assignment]
    prompts, targets = examples.prompts(query)
    (ids,) = drawn
    assert len(ids) == len(set(ids)) == 6
    assert targets.tolist() == [float(label == query["label_id"]) for label in ids]
    assert set(ids) - {query["label_id"]} <= set(candidates[query["query_id"]]) & set(task.train["label_id"])
    bare = pipeline.model_copy(update={"adapter": None})
    asked = LLMReranker(DeviceSlot(("cpu",)), bare, config, task.texts)
    (question,) = next(ask(pipeline, [Given(query["query_id"], query_fields(query), ids)], task.texts))
    assert prompts == asked.prompter.fit(question.query_id, question.variants)[0]
    assert examples.options == asked.option_ids


def test_the_loss_is_the_same_whether_the_prompts_are_one_sequence(tmp_path: Path) -> None:
    config = config_of(tmp_path, "pointwise")
    task = EEDI.read(SAMPLE)
    query = {**task.train.iloc[0].to_dict(), "reason": ""}
    found = []
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    for packs in (True, False):
        examples = reranker.Examples(reranker.pipeline_of(config, "p"), config, task, {query["query_id"]: []})
        found.append(examples.loss(model, query, packs).item())
    assert one_pass.can_pack(model, 0) and abs(found[0] - found[1]) < 1e-4


@pytest.mark.parametrize("kind", ["pointwise", "listwise"])
def test_an_adapter_is_left_with_its_canaries_and_prefers_the_right(tmp_path: Path, kind: str) -> None:
    """Forty of the sample's queries, read four times, are learnt by heart: the loss falls by a third."""
    config = config_of(tmp_path, kind)
    out = tmp_path / "adapters" / "mine"
    reranker.train(SAMPLE, config, "p", out, Settings(40, 4))
    assert sorted(path.name for path in out.iterdir()) == sorted((*ADAPTER_FILES, PROVENANCE, CURVE))
    assert any(tensor.abs().max() > 0 for name, tensor in load_file(out / ADAPTER_FILES[1]).items() if "lora_B" in name)
    curve = provenance.curve(out)
    assert [point["step"] for point in curve] == [1, 20, 40] and curve[2]["loss"] < curve[1]["loss"]
    pipeline, task = reranker.pipeline_of(config, "p"), EEDI.read(SAMPLE)
    trained = LLMReranker(DeviceSlot(("cpu",)), pipeline, config, task.texts)
    found = canaries.check(pipeline, config, trained.prompter)
    assert found is not None and canaries.drift(pipeline, found, trained.answer).mean < 0.01
    chosen = task.train.sample(n=40, random_state=lora.SEED).assign(reason="").to_dict("records")
    means = []
    for adapter in (None, "mine"):
        bare = pipeline.model_copy(update={"adapter": adapter})
        model = LLMReranker(DeviceSlot(("cpu",)), bare, config, task.texts).scorer.model  # type: ignore[attr-defined]
        examples = reranker.Examples(pipeline, config, task, {query["query_id"]: [*task.texts] for query in chosen})
        with torch.inference_mode():
            means.append(np.mean([examples.loss(model, query, True).item() for query in chosen]))
    assert means[1] < 0.67 * means[0]


def test_an_adapter_of_a_fold_leaves_the_configs_canaries_alone(tmp_path: Path) -> None:
    config = config_of(tmp_path, "pointwise")
    own = tmp_path / "fold-0" / "adapters"
    reranker.train(SAMPLE, config, "p", own / "mine", Settings(4), adapters=own)
    assert (own / "mine" / ADAPTER_FILES[1]).is_file() and not (tmp_path / "canaries").exists()


def test_only_what_asks_an_llm_is_trained_here(tmp_path: Path) -> None:
    text = f'kind = "cross-encoder"\nmodel = "{MODEL}"\n'
    config = make_config(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        reranker.pipeline_of(config, "p")
    assert (caught.value.path, caught.value.what) == (config.path, "pipeline 'p' is of kind 'cross-encoder'")
    assert caught.value.mend == "name one that asks an LLM"
