"""What prompts have in common from their first token: what an engine reads once for many of them. Light: no torch."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence

SHARED = 0.5  # of a prompt, at least: with less in common, reading prompts together saves little


def shared_beginnings(prompts: Sequence[Sequence[Hashable]]) -> Iterator[tuple[int, int, int]]:
    """(start, stop, tokens shared) of runs of prompts that stand together and share at least half of each.

    At least the last token of every prompt is left out of what is shared: it is what is asked about.
    """
    start, shared = 0, len(prompts[0]) - 1 if prompts else 0
    for i in range(1, len(prompts) + 1):
        if i < len(prompts):
            common = min(shared, len(prompts[i]) - 1, common_length(prompts[start], prompts[i]))
            if common >= SHARED * max(len(prompts[i]), len(prompts[start])):
                shared = common
                continue
        if i > start:
            yield start, i, shared
        start, shared = i, len(prompts[i]) - 1 if i < len(prompts) else 0


def common_length(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """How many tokens two prompts have in common from their first."""
    for number, (one, other) in enumerate(zip(a, b, strict=False)):
        if one != other:
            return number
    return min(len(a), len(b))
