"""A model's logits behind packed prompts, in one pass: what the transformers engine and training both call."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import torch

from cascade.scorers import attention, packing
from cascade.scorers.packing import Block


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
