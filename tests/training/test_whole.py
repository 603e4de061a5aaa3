"""What linear layers learn whole is what their LoRA holds, as far as its rank goes."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from peft import PeftModel

from training import checkpoints, lora, whole

SIZE, OUT = 24, 16


class Model(torch.nn.Module):
    """Two linear layers, of which one is a target."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(7)
        self.dense = torch.nn.Linear(SIZE, OUT)
        self.other = torch.nn.Linear(OUT, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        found: torch.Tensor = self.other(torch.tanh(self.dense(x)))
        return found


def begun(rank: int) -> tuple[PeftModel, dict[str, torch.Tensor]]:
    model = lora.add_lora(Model(), rank, targets=["dense"])
    return model, whole.begin(model)


def learn(model: PeftModel, singular: Sequence[float]) -> None:
    """Moves the one layer by a matrix of these singular values."""
    u = torch.linalg.qr(torch.randn(OUT, OUT))[0][:, : len(singular)]
    v = torch.linalg.qr(torch.randn(SIZE, SIZE))[0][:, : len(singular)]
    (weight,) = checkpoints.trained(model).values()
    weight += (u * torch.tensor(singular)) @ v.T


def test_a_difference_of_the_rank_is_held_whole() -> None:
    model, before = begun(4)
    assert list(checkpoints.trained(model)) == ["base_model.model.dense.base_layer.weight"]
    x, first = torch.randn(5, SIZE), Model().dense.weight
    assert torch.equal(model(x), Model()(x))
    learn(model, [2.0, 1.0, 0.5, 0.25])
    after = model(x)
    assert not torch.allclose(after, Model()(x))
    assert whole.keep(model, before) == pytest.approx(1)
    torch.testing.assert_close(model(x), after, atol=1e-5, rtol=1e-5)
    layer = model.base_model.model.dense
    assert torch.equal(layer.base_layer.weight, first)
    roots = layer.lora_A["default"].weight.norm(dim=1), layer.lora_B["default"].weight.norm(dim=0)
    torch.testing.assert_close(*roots)


def test_of_a_difference_beyond_the_rank_the_largest_singular_values_are_held() -> None:
    model, before = begun(2)
    learn(model, [2.0, 1.0, 1.0])
    assert whole.keep(model, before) == pytest.approx(5 / 6)


def test_a_rank_beyond_the_layer_s_size_is_held_and_nothing_learnt_is_nothing() -> None:
    model, before = begun(SIZE)
    assert whole.keep(model, before) == 1
    model, before = begun(SIZE)
    learn(model, [1.0] * OUT)
    assert whole.keep(model, before) == pytest.approx(1)


def test_a_layer_whose_weight_lies_the_other_way_round_is_held_too() -> None:
    from transformers.pytorch_utils import Conv1D

    model = Model()
    model.dense = Conv1D(OUT, SIZE)
    with pytest.warns(UserWarning, match="fan_in_fan_out"):
        peft_model = lora.add_lora(model, OUT, targets=["dense"])
    before = whole.begin(peft_model)
    (weight,) = checkpoints.trained(peft_model).values()
    weight += torch.randn(SIZE, OUT)
    x = torch.randn(5, SIZE)
    after = peft_model(x)
    assert whole.keep(peft_model, before) == pytest.approx(1)
    torch.testing.assert_close(peft_model(x), after, atol=1e-4, rtol=1e-4)
