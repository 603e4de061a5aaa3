"""Attention over packed prompts, computed where a token sees something and nowhere else.

The mask of a packed sequence is nearly empty: with 25 candidates of 50 tokens behind 150, a ninth of it is seen. Within
`sparse`, transformers' "sdpa" reads the beginnings by themselves. The rests are read against their beginning, and each
against itself. The mask decides what is seen, as without.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from cascade.scorers.packing import Block

SDPA = "sdpa"  # attention of another name (a model's own, where it caps its scores) reads the whole mask


@contextmanager
def sparse(given: Sequence[Block], device: Any) -> Iterator[None]:
    """Within, the model is given these blocks, packed, with a mask of theirs."""
    whole: Callable[..., Any] = ALL_ATTENTION_FUNCTIONS[SDPA]
    ALL_ATTENTION_FUNCTIONS[SDPA] = _Sparse(given, device, whole)
    try:
        yield
    finally:
        ALL_ATTENTION_FUNCTIONS[SDPA] = whole


class _Sparse:
    """The attention function of one batch."""

    def __init__(self, given: Sequence[Block], device: Any, whole: Callable[..., Any]) -> None:
        self.whole = whole
        self.tokens = max(block.tokens for block in given)
        self.beginning = max(len(block.beginning) for block in given)
        self.rows = [_Row(number, block, device) for number, block in enumerate(given)]
        # By the id of a model's mask, and with it: an id is another's as soon as its own is gone.
        self.masks: dict[int, tuple[torch.Tensor, list[tuple[torch.Tensor, torch.Tensor]]]] = {}

    def __call__(
        self,
        module: torch.nn.Module,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        attention_mask: torch.Tensor | None,
        **settings: Any,
    ) -> tuple[torch.Tensor, None]:
        """As transformers' own; query, key, value: [n_rows, n_heads, n_tokens, n_dimensions]."""
        if (
            attention_mask is None
            or query.shape[2] != self.tokens
            or key.shape[2] != self.tokens
            or settings.get("position_bias") is not None
            or settings.get("dropout")
        ):
            found: tuple[torch.Tensor, None] = self.whole(module, query, key, value, attention_mask, **settings)
            return found
        if id(attention_mask) not in self.masks:
            self.masks[id(attention_mask)] = (attention_mask, [row.masks(attention_mask) for row in self.rows])
        scale = settings.get("scaling") or query.shape[-1] ** -0.5
        end = self.beginning
        first = attention_mask[:, :, :end, :end]
        settings = {**settings, "is_causal": False}
        beginnings, _ = self.whole(module, query[:, :, :end], key[:, :, :end], value[:, :, :end], first, **settings)
        made = beginnings.new_zeros(beginnings.shape[0], self.tokens, *beginnings.shape[2:])
        made[:, :end] = beginnings
        for number, (row, masks) in enumerate(zip(self.rows, self.masks[id(attention_mask)][1], strict=True)):
            rests = row.rests(query[number], key[number], value[number], scale, *masks)
            made[number, row.start : row.stop] = rests.transpose(0, 1)
        return made, None


class _Row:
    """A block of the batch: its rests' tokens from `start` to `stop`. In `places` each rest is padded by its first."""

    def __init__(self, number: int, block: Block, device: Any) -> None:
        lengths = torch.tensor([len(rest) for rest in block.rests], device=device)
        place = torch.arange(int(lengths.max()), device=device)
        self.number, self.start, self.stop = number, len(block.beginning), block.tokens
        self.real = place < lengths[:, None]
        self.places = (lengths.cumsum(0) - lengths)[:, None] + place * self.real

    def masks(self, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """What a model's mask adds between rests and beginning [n_tokens, n_beginning], and within the rests.

        The second: [n_tokens, n_longest], by the token's place in its own rest.
        """
        added = mask[self.number, 0, self.start : self.stop].float()
        own = added[:, self.start :][self.places[:, :, None], self.places[:, None, :]]
        own = own.masked_fill(~self.real[:, None, :], torch.finfo(own.dtype).min)
        return added[:, : self.start], own[self.real]

    def rests(
        self,
        query: torch.Tensor,
        key: torch.Tensor,
        value: torch.Tensor,
        scale: float,
        to_beginning: torch.Tensor,
        within: torch.Tensor,
    ) -> torch.Tensor:
        """Attention of the rests' tokens: [n_heads, n_tokens, n_dimensions] of the query's type.

        One softmax over two products, so that no key is copied for each rest. In float32, as fused kernels reckon.
        """
        heads, start, places = key.shape[0], self.start, self.places
        # [n_key_heads, n_groups, n_tokens, n_dimensions]
        asked = query[:, start : self.stop].float().reshape(heads, -1, self.stop - start, query.shape[-1]) * scale
        keys, values = key.float()[:, None], value.float()[:, None]
        own_keys, own_values = keys[:, :, start:][:, :, places], values[:, :, start:][:, :, places]
        shared = asked @ keys[:, :, :start].transpose(-1, -2) + to_beginning
        own = (asked[:, :, places] @ own_keys.transpose(-1, -2))[:, :, self.real] + within
        share = torch.cat([shared, own], dim=-1).softmax(dim=-1)
        found = share[..., :start] @ values[:, :, :start]
        found = found + (share[..., start:][:, :, places] @ own_values)[:, :, self.real]
        return found.flatten(0, 1).to(query.dtype)
