"""Prompts that share their beginning as one sequence: the beginning once, then what follows it in each.

What follows sees the beginning and itself alone, at the positions that it has in its own prompt, so that the model
computes what it computes for each prompt by itself. MAP 2025's winner read the candidates of a question like this.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate, chain
from typing import Any, NamedTuple

import torch

from cascade.scorers.prefixes import shared_beginnings

BEGINNING, PADDING = 0, -1  # segments; the rest of a block's first prompt is segment 1


class Block(NamedTuple):
    """One sequence: the tokens that its prompts begin with, and what follows in each. `prompts`: which they are."""

    prompts: Sequence[int]
    beginning: Sequence[int]
    rests: Sequence[Sequence[int]]

    @property
    def tokens(self) -> int:
        """How many the sequence has."""
        return len(self.beginning) + sum(map(len, self.rests))

    @property
    def longest(self) -> int:
        """How many tokens its longest prompt has."""
        return len(self.beginning) + max(map(len, self.rests))


class Packed(NamedTuple):
    """Blocks as rows, padded on the right: int64 [n_blocks, n_tokens] each, and where each prompt ends in its row."""

    ids: torch.Tensor
    positions: torch.Tensor
    segments: torch.Tensor
    ends: list[list[int]]


def blocks(prompts: Sequence[Sequence[int]], budget: int) -> Iterator[Block]:
    """The prompts as blocks of at most `budget` tokens, cut between prompts; one prompt may be longer than that.

    A block of one prompt has an empty beginning: nothing is shared.
    """
    for start, stop, shared in shared_beginnings(prompts):
        taken: list[int] = []
        size = shared
        for number in range(start, stop):
            length = len(prompts[number]) - shared
            if taken and size + length > budget:
                yield _block(prompts, taken, shared)
                taken, size = [], shared
            taken.append(number)
            size += length
        yield _block(prompts, taken, shared)


def _block(prompts: Sequence[Sequence[int]], taken: Sequence[int], shared: int) -> Block:
    shared = shared if len(taken) > 1 else 0
    return Block(taken, prompts[taken[0]][:shared], [prompts[number][shared:] for number in taken])


def batches(given: Sequence[Block], budget: int) -> Iterator[list[Block]]:
    """Blocks of like length, as many as have `budget` tokens with their padding; one may be longer than that."""
    batch: list[Block] = []
    for block in sorted(given, key=lambda block: block.tokens):
        if batch and (len(batch) + 1) * block.tokens > budget:
            yield batch
            batch = []
        batch.append(block)
    if batch:
        yield batch


def pack(given: Sequence[Block], pad: int, device: Any = "cpu") -> Packed:
    """The blocks as the rows of a batch. `pad`: the token that fills a row."""
    longest = max(block.tokens for block in given)
    ids, positions, segments, ends = [], [], [], []
    for block in given:
        shared, lengths = len(block.beginning), [len(rest) for rest in block.rests]
        fill = longest - block.tokens
        ids.append([*block.beginning, *chain(*block.rests), *[pad] * fill])
        at = [range(shared, shared + length) for length in lengths]
        positions.append([*range(shared), *chain(*at), *[0] * fill])
        own = [[number] * length for number, length in enumerate(lengths, 1)]
        segments.append([*[BEGINNING] * shared, *chain(*own), *[PADDING] * fill])
        ends.append([shared + stop - 1 for stop in accumulate(lengths)])
    made = [torch.tensor(rows, device=device) for rows in (ids, positions, segments)]
    return Packed(made[0], made[1], made[2], ends)


def mask(packed: Packed, dtype: torch.dtype, window: int | None = None) -> torch.Tensor:
    """What is added to attention's scores: 0 for what a token sees, else the least number there is.

    Returns [n_blocks, 1, n_tokens, n_tokens]. `window`: a token sees so many positions, its own among them.
    """
    own, at = packed.segments, packed.positions
    sees = (own[:, None, :] == BEGINNING) | (own[:, None, :] == own[:, :, None])
    sees &= torch.ones(sees.shape[1:], dtype=torch.bool, device=sees.device).tril()
    if window is not None:
        sees &= at[:, :, None] - at[:, None, :] < window
    added = torch.zeros(sees.shape, dtype=dtype, device=sees.device).masked_fill_(~sees, torch.finfo(dtype).min)
    return added[:, None]


def masks(packed: Packed, dtype: torch.dtype, text_config: Any) -> torch.Tensor | dict[str, torch.Tensor]:
    """The mask that a model of this config takes, or one for each kind of its layers where they differ."""
    window = getattr(text_config, "sliding_window", None)
    kinds = set(getattr(text_config, "layer_types", None) or ["sliding_attention" if window else "full_attention"])
    made = {kind: mask(packed, dtype, window if kind == "sliding_attention" else None) for kind in sorted(kinds)}
    return made if len(made) > 1 else next(iter(made.values()))
