"""Training on a query's prompts as one sequence: the same loss and the same gradients as on each by itself."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM

from cascade.competitions.eedi import EEDI
from cascade.models import prompters
from cascade.models.prompts import query_fields
from cascade.scorers import one_pass, packing
from cascade.scorers.packing import Block
from tests.llm import MODEL, POINTWISE, make_config
from training import lora
from training.tiny import LINEAR

SAMPLE = MODEL.parents[1]


@pytest.fixture(scope="module")
def prompts(tmp_path_factory: pytest.TempPathFactory) -> list[list[int]]:
    """Of three queries, of which two have another number of candidates, and one the same candidate twice."""
    config = make_config(tmp_path_factory.mktemp("config"), POINTWISE)
    pipeline = config.pipeline[0]
    prompter = prompters.open_prompter(pipeline, config, prompters.load_tokenizer(pipeline, MODEL), 1024)  # type: ignore[arg-type]
    task, made = EEDI.read(SAMPLE), []
    names = list(task.texts.values())
    for row, texts in zip(task.train.head(3).to_dict("records"), (names[:6], names[6:9], [names[9]] * 2), strict=True):
        made += prompter.fit("", [{**query_fields(row), "candidate": text} for text in texts])[0]
    return made


def gradients(given: list[Block]) -> tuple[float, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_pretrained(MODEL, dtype=torch.float32)
    adapted = lora.add_lora(model, 8, targets=LINEAR)
    for name, parameter in adapted.named_parameters():  # LoRA's B begins with zeros, behind which A has no gradient
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.02)
    logits = one_pass.logits(adapted.get_base_model(), given, 0)
    order = [number for block in given for number in block.prompts]
    target = torch.tensor(np.arange(len(order)) % 3 == 0).float()[order]
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits[:, 5] - logits[:, 7], target)
    loss.backward()  # type: ignore[no-untyped-call]
    return loss.item(), {name: each.grad for name, each in adapted.named_parameters() if each.grad is not None}


@pytest.mark.parametrize("budget", [2048, 400])
def test_gradients_are_those_of_each_prompt_by_itself(prompts: list[list[int]], budget: int) -> None:
    packed = list(packing.blocks(prompts, budget))
    assert sum(block.tokens for block in packed) < 0.6 * sum(map(len, prompts))
    loss, found = gradients(packed)
    alone, wanted = gradients([Block([number], [], [prompt]) for number, prompt in enumerate(prompts)])
    assert loss == pytest.approx(alone, abs=1e-5)
    assert found.keys() == wanted.keys() and len(found) > 20
    for name, gradient in wanted.items():
        assert gradient.abs().max() > 0
        assert (found[name] - gradient).abs().max() < 1e-4 * gradient.abs().max() + 1e-7, name
