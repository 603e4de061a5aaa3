"""What prompts have in common from their first token: what an engine reads once for many of them. Light: no torch."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from itertools import pairwise

import numpy as np

SHARED = 0.5  # of a prompt, at least: with less in common, reading prompts together saves little


def shared_beginnings(prompts: Sequence[Sequence[Hashable]]) -> list[tuple[int, int, int]]:
    """(start, stop, tokens shared) of runs of prompts that stand together and share at least half of each.

    The runs are those that save the most tokens: queries of one question have its text in common, but the candidates of
    each query have more. At least the last token of every prompt is left out of what is shared: it is what is asked
    about.
    """
    count, lengths = len(prompts), np.array([len(prompt) for prompt in prompts])
    common = np.array([min(common_length(a, b), len(a) - 1, len(b) - 1) for a, b in pairwise(prompts)], dtype=np.int64)
    saved = np.zeros(count + 1, dtype=np.int64)  # by the best runs of the prompts before each
    began = np.arange(-1, count)  # where the last of those runs begins; at first each prompt is one
    for stop in range(2, count + 1):
        # Of runs that end here, from the shortest to the longest.
        shared = np.minimum.accumulate(common[stop - 2 :: -1])
        longest = np.maximum.accumulate(lengths[stop - 1 :: -1])[1:]
        whole = np.where(shared >= SHARED * longest, shared * np.arange(1, stop) + saved[stop - 2 :: -1], -1)
        best = len(whole) - 1 - int(whole[::-1].argmax())  # of equal ones the longest
        saved[stop] = saved[stop - 1]
        if whole[best] >= saved[stop]:
            saved[stop], began[stop] = whole[best], stop - 2 - best
    runs, stop = [], count
    while stop:
        start = int(began[stop])
        runs.append((start, stop, int(common[start : stop - 1].min()) if stop - start > 1 else len(prompts[start]) - 1))
        stop = start
    return runs[::-1]


def common_length(a: Sequence[Hashable], b: Sequence[Hashable]) -> int:
    """How many tokens two prompts have in common from their first."""
    for number, (one, other) in enumerate(zip(a, b, strict=False)):
        if one != other:
            return number
    return min(len(a), len(b))
