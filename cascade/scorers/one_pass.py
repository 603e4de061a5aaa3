"""A model's logits behind packed prompts, in one pass: what the transformers engine and training both call."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch
from transformers import DynamicCache
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from cascade.scorers import attention, packing
from cascade.scorers.packing import Block

TRIED = (24, (8, 3))  # tokens of the beginning and of two rests that packing is tried on


def logits(model: Any, given: Sequence[Block], pad: int) -> torch.Tensor:
    """What the model's head gives behind each prompt's last token: [n_prompts, n_tokens], block after block.

    Blocks with a beginning need a model that takes a mask and positions. Gradients flow as through the prompts alone.
    """
    packed = packing.pack(given, pad, model.device)
    settings: dict[str, Any] = {}
    reading: Any = nullcontext()
    if any(block.beginning for block in given):
        reading = attention.sparse(given, model.device)
        mask = packing.masks(packed, model.dtype, model.config.get_text_config())
        settings = {"position_ids": packed.positions, "attention_mask": mask}
    keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
    places = {end: place for place, end in enumerate(sorted({end for ends in packed.ends for end in ends}))}
    if keeps:
        settings["logits_to_keep"] = torch.tensor(list(places), device=model.device)
    with reading:
        found = model(input_ids=packed.ids, use_cache=False, **settings).logits
    rows = [row for row, ends in enumerate(packed.ends) for _ in ends]
    columns = [places[end] if keeps else end for ends in packed.ends for end in ends]
    behind: torch.Tensor = found[rows, columns]
    return behind


@torch.inference_mode()
def can_pack(model: Any, pad: int) -> bool:
    """Whether prompts packed as one sequence score as each alone does.

    Recurrent layers carry a state from token to token, ALiBi goes by columns, and what a model's own code does with
    a mask and positions is seen from a trial.
    """
    takes = inspect.signature(model.forward).parameters
    text_config = model.config.get_text_config()
    kinds = {type(layer) for layer in DynamicCache(config=model.config).layers}
    if (
        not kinds <= {DynamicLayer, DynamicSlidingWindowLayer}
        or not {"position_ids", "attention_mask"} <= takes.keys()
        or getattr(text_config, "alibi", False)
    ):
        return False
    shared, rests = TRIED
    prompts = [[token % text_config.vocab_size for token in range(shared + n)] for n in rests]
    tokens = list(range(min(text_config.vocab_size, 100)))
    whole = torch.cat([logits(model, [Block([0], [], [prompt])], pad)[:, tokens] for prompt in prompts]).float()
    try:
        block = Block(range(len(rests)), prompts[0][:shared], [prompt[shared:] for prompt in prompts])
        together = logits(model, [block], pad)[:, tokens].float()
    except Exception:  # models raise whatever they do of a mask that they do not know
        return False
    noise = max(1e-3, 30 * torch.finfo(model.dtype).eps)
    return bool((whole - together).abs().mean() < noise * whole.std())
