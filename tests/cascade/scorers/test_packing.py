"""One sequence for prompts that share their beginning: its tokens, positions and mask, by hand."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from cascade.scorers.attention import sparse
from cascade.scorers.packing import Block, batches, blocks, mask, masks, pack


def test_a_block_is_the_beginning_and_then_each_rest_at_its_own_positions() -> None:
    (block,) = blocks([[5, 6, 7, 1], [5, 6, 7, 2, 3]], budget=100)
    assert block == Block([0, 1], [5, 6, 7], [[1], [2, 3]])
    assert (block.tokens, block.longest) == (6, 5)
    packed = pack([block, Block([2], [], [[8]])], pad=9)
    assert packed.ids.tolist() == [[5, 6, 7, 1, 2, 3], [8, 9, 9, 9, 9, 9]]
    assert packed.positions.tolist() == [[0, 1, 2, 3, 3, 4], [0, 0, 0, 0, 0, 0]]
    assert packed.ends == [[3, 5], [0]]


def test_a_rest_sees_the_beginning_and_itself() -> None:
    packed = pack(list(blocks([[5, 6, 7, 1], [5, 6, 7, 2, 3]], budget=100)), pad=9)
    sees = (mask(packed, torch.float32) == 0)[0, 0].int().tolist()
    assert sees == [
        [1, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0],
        [1, 1, 1, 1, 0, 0],
        [1, 1, 1, 0, 1, 0],
        [1, 1, 1, 0, 1, 1],
    ]
    near = (mask(packed, torch.float32, window=2) == 0)[0, 0].int().tolist()
    assert near[3:] == [[0, 0, 1, 1, 0, 0], [0, 0, 1, 0, 1, 0], [0, 0, 0, 0, 1, 1]]


def test_padding_sees_something_and_is_seen_by_nothing_else() -> None:
    packed = pack([Block([0], [], [[1, 2, 3]]), Block([1], [], [[4]])], pad=0)
    sees = mask(packed, torch.float16)[1, 0] == 0
    assert sees.any(dim=1).all()  # a row without any would be no number
    assert not sees[0, 1:].any()


@pytest.mark.parametrize(
    ("window", "kinds", "keys"),
    [
        (None, None, None),
        (2, None, None),
        (2, ["full_attention"], None),
        (2, ["full_attention", "sliding_attention"], {"full_attention", "sliding_attention"}),
    ],
)
def test_a_window_holds_for_the_layers_that_have_it(
    window: int | None, kinds: list[str] | None, keys: set[str] | None
) -> None:
    packed = pack(list(blocks([[5, 6, 7, 1], [5, 6, 7, 2, 3]], budget=100)), pad=9)
    whole, cut = mask(packed, torch.float32), mask(packed, torch.float32, window=2)
    made = masks(packed, torch.float32, SimpleNamespace(sliding_window=window, layer_types=kinds))
    if keys is None:
        assert isinstance(made, torch.Tensor)
        assert made.equal(cut if window and kinds is None else whole)
    else:
        assert isinstance(made, dict) and made.keys() == keys
        assert made["full_attention"].equal(whole) and made["sliding_attention"].equal(cut)


def test_blocks_are_cut_between_prompts_and_none_is_lost() -> None:
    beginning = list(range(10))
    prompts = [[*beginning, 20 + number, 30] for number in range(5)] + [[99] * 40, [1]]
    made = list(blocks(prompts, budget=15))
    assert [list(block.prompts) for block in made] == [[0, 1], [2, 3], [4], [5], [6]]
    assert [block.tokens for block in made] == [14, 14, 12, 40, 1]  # a prompt over the budget is a block of its own
    for block in made:
        assert [[*block.beginning, *rest] for rest in block.rests] == [prompts[number] for number in block.prompts]
    assert not made[2].beginning  # nothing is shared by one
    assert [len(block.prompts) for block in blocks(prompts, budget=0)] == [1] * 7


def test_the_last_token_of_equal_prompts_is_read_for_each() -> None:
    (block,) = blocks([[1, 2, 3], [1, 2, 3]], budget=100)
    assert block == Block([0, 1], [1, 2], [[3], [3]])


def test_no_prompts_are_no_blocks() -> None:
    assert list(blocks([], budget=10)) == [] == list(batches([], budget=10))


def test_batches_keep_to_the_budget_with_their_padding() -> None:
    given = [Block([number], [], [[1] * length]) for number, length in enumerate([7, 3, 30, 3, 4])]
    made = list(batches(given, budget=12))
    assert [[block.prompts[0] for block in batch] for batch in made] == [[1, 3, 4], [0], [2]]


def test_attention_where_something_is_seen_is_attention_under_the_mask() -> None:
    """Beginnings and rests of unlike length, two windows, grouped heads."""
    torch.manual_seed(0)
    config = AutoConfig.for_model(
        "qwen2", vocab_size=50, hidden_size=32, intermediate_size=48, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, use_sliding_window=True, sliding_window=4,
        layer_types=["sliding_attention", "full_attention"],
    )  # fmt: skip
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32).eval()
    drawn = [torch.randint(3, 50, (count,)).tolist() for count in (9, 5, 3, 6, 2, 4, 1)]
    given = [Block([0, 1, 2], drawn[0], drawn[2:5]), Block([3, 4], drawn[1], drawn[5:7])]
    packed = pack(given, pad=0)
    mapping = masks(packed, torch.float32, config)
    read: list[tuple[int, ...]] = []
    whole = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def spied(module: torch.nn.Module, query: torch.Tensor, *rest: Any, **settings: Any) -> Any:
        read.append(tuple(query.shape[::2]))
        return whole(module, query, *rest, **settings)

    with torch.inference_mode():
        settings = {"attention_mask": mapping, "position_ids": packed.positions}
        wanted = model(packed.ids, use_cache=False, **settings).logits
        ALL_ATTENTION_FUNCTIONS["sdpa"] = spied
        try:
            with sparse(given, "cpu"):
                found = model(packed.ids, use_cache=False, **settings).logits
        finally:
            assert ALL_ATTENTION_FUNCTIONS["sdpa"] is spied
            ALL_ATTENTION_FUNCTIONS["sdpa"] = whole
    assert read == [(2, 9)] * 2  # the beginnings alone, in each layer
    for row, ends in enumerate(packed.ends):
        assert (found[row, ends] - wanted[row, ends]).abs().max() < 1e-5
