"""Attention over packed prompts, computed where a token sees something and nowhere else.

The mask of a packed sequence is nearly empty: with 25 candidates of 50 tokens behind 150, a ninth of it is seen. Within
`sparse`, transformers' "sdpa" reads the beginnings by themselves, and then each rest against its beginning and itself.
The mask decides what is seen, as without.
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
    """The attention function of one batch. Rests are rows of their own, padded to the longest, beginnings too."""

    def __init__(self, given: Sequence[Block], device: Any, whole: Callable[..., Any]) -> None:
        self.whole = whole
        self.tokens = max(block.tokens for block in given)
        self.beginning = max(len(block.beginning) for block in given)
        length = max(len(rest) for block in given for rest in block.rests)
        rows, starts, lengths, shared = [], [], [], []
        for row, block in enumerate(given):
            start = len(block.beginning)
            for rest in block.rests:
                rows.append(row)
                starts.append(start)
                lengths.append(len(rest))
                shared.append(len(block.beginning))
                start += len(rest)
        self.rows = torch.tensor(rows, device=device)[:, None]
        place = torch.arange(length, device=device)
        real = place < torch.tensor(lengths, device=device)[:, None]
        # A token that pads a rest stands in for its first.
        self.queries = torch.tensor(starts, device=device)[:, None] + place * real
        before = torch.arange(self.beginning, device=device)
        known = before < torch.tensor(shared, device=device)[:, None]
        self.keys = torch.cat([before * known, self.queries], dim=1)
        self.is_key = torch.cat([known, real], dim=1)[:, None, None, :]
        self.real = real
        # By the id of a model's mask, and with it: an id is another's as soon as its own is gone.
        self.masks: dict[int, tuple[torch.Tensor, torch.Tensor, torch.Tensor]] = {}

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
        ):
            found: tuple[torch.Tensor, None] = self.whole(module, query, key, value, attention_mask, **settings)
            return found
        first, own = self._masks(attention_mask)
        settings = {**settings, "is_causal": False}
        end = self.beginning
        beginnings, _ = self.whole(module, query[:, :, :end], key[:, :, :end], value[:, :, :end], first, **settings)
        asked, keys, values = (
            tensor.transpose(1, 2)[self.rows, places].transpose(1, 2)
            for tensor, places in ((query, self.queries), (key, self.keys), (value, self.keys))
        )
        rests, _ = self.whole(module, asked, keys, values, own, **settings)
        made = beginnings.new_zeros(beginnings.shape[0], self.tokens, *beginnings.shape[2:])
        made[:, :end] = beginnings
        made[self.rows.expand_as(self.queries)[self.real], self.queries[self.real]] = rests[self.real]
        return made, None

    def _masks(self, mask: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Of the beginnings and of the rests, for each of the model's masks once."""
        if id(mask) not in self.masks:
            seen = mask[self.rows[:, :, None], 0, self.queries[:, :, None], self.keys[:, None, :]][:, None]
            own = seen.masked_fill(~self.is_key, torch.finfo(mask.dtype).min)
            self.masks[id(mask)] = (mask, mask[:, :, : self.beginning, : self.beginning], own)
        return self.masks[id(mask)][1:]
