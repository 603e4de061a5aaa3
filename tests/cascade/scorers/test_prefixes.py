"""Which prompts are read together: the runs that share most of their beginnings."""

from __future__ import annotations

import numpy as np
import pytest

from cascade.scorers.prefixes import common_length, shared_beginnings


@pytest.mark.parametrize(
    ("prompts", "runs"),
    [
        ([], []),
        ([[1, 2, 3]], [(0, 1, 2)]),
        ([[1, 2, 3, 4], [1, 2, 3, 5], [1, 2, 3, 6, 7]], [(0, 3, 3)]),
        ([[1, 2, 3, 4], [1, 2, 3, 5], [9, 2, 3, 4], [9, 2, 3, 5]], [(0, 2, 3), (2, 4, 3)]),
        ([[1, 2, 3, 4], [1, 8, 8, 8]], [(0, 1, 3), (1, 2, 3)]),  # too little in common
        ([[1, 2, 3], [1, 2, 3]], [(0, 2, 2)]),  # the last token is always asked
        ([[1, 2, 3, 4, 5, 6], [1, 2, 3, 4, 9, 9], [1, 2, 3, 9, 9, 9]], [(0, 3, 3)]),
        # Two queries of a question: the candidates of either share 5 tokens, all of them 4. With four of each that
        # saves 28 tokens together and 30 apart, with three 20 and 20.
        ([[1, 2, 3, 4, 5, n] for n in range(4)] + [[1, 2, 3, 4, 6, n] for n in range(4)], [(0, 4, 5), (4, 8, 5)]),
        ([[1, 2, 3, 4, 5, n] for n in range(3)] + [[1, 2, 3, 4, 6, n] for n in range(3)], [(0, 6, 4)]),
    ],
)
def test_runs_of_prompts_that_share_their_beginning(prompts: list[list[int]], runs: list[tuple[int, int, int]]) -> None:
    assert list(shared_beginnings(prompts)) == runs
    for start, stop, shared in runs:
        assert all(common_length(prompts[start], prompt) >= shared for prompt in prompts[start:stop])


def test_no_other_runs_save_more() -> None:
    """Against all ways to cut small lists of prompts that share questions, queries or nothing."""
    rng = np.random.default_rng(0)

    def saved(prompts: list[list[int]], start: int, stop: int) -> int:
        shared = min(len(prompt) for prompt in prompts[start:stop]) - 1
        shared = min([shared, *(common_length(prompts[start], prompt) for prompt in prompts[start:stop])])
        enough = shared >= 0.5 * max(len(prompt) for prompt in prompts[start:stop])
        return shared * (stop - start - 1) if enough else 0

    for _ in range(100):
        prompts: list[list[int]] = []
        for _ in range(rng.integers(1, 3)):
            question = rng.integers(1, 3, rng.integers(1, 5)).tolist()
            for _ in range(rng.integers(1, 3)):
                query = question + rng.integers(3, 5, rng.integers(0, 4)).tolist()
                prompts += [query + rng.integers(5, 9, rng.integers(1, 4)).tolist() for _ in range(rng.integers(1, 4))]
        best = [0] * (len(prompts) + 1)
        for stop in range(1, len(prompts) + 1):
            best[stop] = max(best[start] + saved(prompts, start, stop) for start in range(stop))
        found = shared_beginnings(prompts)
        assert [start for start, _, _ in found] == [0, *(stop for _, stop, _ in found)][:-1] and found[-1][1] == len(
            prompts
        )
        assert sum(shared * (stop - start - 1) for start, stop, shared in found) == best[-1]
