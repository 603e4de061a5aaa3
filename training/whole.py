"""Linear layers that are trained whole and kept as LoRA: what they have learnt, cut to a rank by singular values.

LoRA is what every part of the project loads, packs and checks, and a small encoder learns more if it is trained whole.
Embeddings, norms and biases are left as they are, since LoRA would not hold them.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import torch
from peft import PeftModel
from peft.tuners.lora import LoraLayer

NAME = "default"  # peft's, of the one adapter
# Bytes of a model's files. AdamW keeps two numbers a weight, and there are the gradient and the copy to go back to.
SMALL = 1_000_000_000
WEIGHTS = ("*.safetensors", "*.bin")


def is_small(folder: Path) -> bool:
    """Whether a model is trained whole where nothing else is asked for, by the size of its weights."""
    return 0 < sum(path.stat().st_size for kind in WEIGHTS for path in folder.glob(kind)) <= SMALL


def begin(model: PeftModel) -> dict[str, torch.Tensor]:
    """Trains the layers below the adapter in its place; their weights as they are, by layer."""
    model.base_model.disable_adapter_layers()
    before = {}
    for name, layer in _layers(model):
        weight = layer.get_base_layer().weight
        before[name] = weight.detach().clone()
        weight.requires_grad_(True)
    return before


@torch.no_grad()
def keep(model: PeftModel, before: dict[str, torch.Tensor]) -> float:
    """Puts the layers back to `before` and what they have learnt into the adapter; how much of it that holds, 0 to 1.

    The nearest matrix of a rank, by squares, has the largest singular values (Eckart and Young, 1936). Each is shared
    between A and B by its root, as LoRA's two are trained on from there alike.
    """
    held = learnt = 0.0
    for name, layer in _layers(model):
        weight = layer.get_base_layer().weight
        learns = (weight - before[name]).float()
        u, s, v = torch.linalg.svd(learns.T if layer.fan_in_fan_out else learns, full_matrices=False)  # GPT-2's Conv1D
        rank = min(layer.r[NAME], len(s))
        root = (s[:rank] / layer.scaling[NAME]).sqrt()
        a, b = layer.lora_A[NAME].weight, layer.lora_B[NAME].weight
        a.zero_(), b.zero_()
        a[:rank] = root[:, None] * v[:rank]
        b[:, :rank] = u[:, :rank] * root
        weight.copy_(before[name])
        weight.requires_grad_(False)
        held, learnt = held + s[:rank].square().sum().item(), learnt + s.square().sum().item()
    model.base_model.enable_adapter_layers()
    return held / learnt if learnt else 1.0


def _layers(model: PeftModel) -> Iterator[tuple[str, LoraLayer]]:
    for name, layer in model.named_modules():
        if isinstance(layer, LoraLayer):
            yield name, layer
