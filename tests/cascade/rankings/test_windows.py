"""Which candidates stand together in a prompt: true of any number of them."""

from __future__ import annotations

import itertools
from typing import Any

import pytest

from cascade.config.schema import (
    CrossEncoderPipeline,
    ListwisePipeline,
    Pipeline,
    PointwisePipeline,
    TournamentPipeline,
)
from cascade.rankings.windows import prompt_count, rounds, windows

COUNTS = [*range(1, 61), 99, 100, 101, 250]


@pytest.mark.parametrize("window", [2, 3, 5, 9, 40, 52])
def test_windows_are_full_and_hold_every_candidate(window: int) -> None:
    for count in COUNTS:
        for stride in (None, *range(1, window + 1)):
            made = windows(count, window, stride)
            assert {place for start, stop in made for place in range(start, stop)} == set(range(count))
            assert {stop - start for start, stop in made} == {min(count, window)}
            assert made == sorted(set(made)), "a window stands twice or out of order"
            steps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(made)]
            assert all(step == (stride or window // 2) for step in steps[:-1])
            assert all(0 < step <= (stride or window // 2) for step in steps[-1:])


@pytest.mark.parametrize(
    ("count", "window", "stride", "expected"),
    [
        (60, 40, 20, [(0, 40), (20, 60)]),
        (60, 40, None, [(0, 40), (20, 60)]),
        (61, 40, 20, [(0, 40), (20, 60), (21, 61)]),
        (25, 15, 10, [(0, 15), (10, 25)]),
        (80, 40, 40, [(0, 40), (40, 80)]),
        (81, 40, 40, [(0, 40), (40, 80), (41, 81)]),
        (40, 40, 20, [(0, 40)]),
        (41, 40, 20, [(0, 40), (1, 41)]),
        (7, 40, 20, [(0, 7)]),
        (1, 40, None, [(0, 1)]),
        (3, 2, None, [(0, 2), (1, 3)]),
    ],
)
def test_windows_by_hand(count: int, window: int, stride: int | None, expected: list[tuple[int, int]]) -> None:
    assert windows(count, window, stride) == expected


@pytest.mark.parametrize("group", [2, 3, 5, 9, 25, 52])
def test_each_candidate_enters_one_round_and_no_round_has_more_than_its_group(group: int) -> None:
    for count in COUNTS:
        plan = rounds(count, group)
        entered = [place for start, stop in reversed(plan) for place in range(start, stop)]
        assert entered == list(range(count)), "from the tail to the head, each once"
        sizes = [stop - start for start, stop in plan]
        assert sizes[0] == min(group, count)
        assert all(size == group - 1 for size in sizes[1:-1])
        assert all(1 <= size <= group - 1 for size in sizes[1:])


@pytest.mark.parametrize(
    ("count", "group", "expected"),
    [
        (25, 9, [(16, 25), (8, 16), (0, 8)]),
        (9, 9, [(0, 9)]),
        (10, 9, [(1, 10), (0, 1)]),
        (5, 9, [(0, 5)]),
        (1, 9, [(0, 1)]),
        (3, 2, [(1, 3), (0, 1)]),
    ],
)
def test_rounds_by_hand(count: int, group: int, expected: list[tuple[int, int]]) -> None:
    assert rounds(count, group) == expected


def pipeline(of: type[Pipeline], **more: Any) -> Pipeline:
    base: dict[str, Any] = {"name": "p", "candidates": "r1", "model": "m"}
    return of.model_validate(base | more)


LIST = {"kind": "listwise", "prompt": "p.txt", "window": 15, "stride": 10}


@pytest.mark.parametrize(
    ("kind", "more", "candidates", "expected"),
    [
        (CrossEncoderPipeline, {"kind": "cross-encoder"}, 25, 25),
        (PointwisePipeline, {"kind": "pointwise", "prompt": "p.txt"}, 25, 25),
        (ListwisePipeline, LIST, 25, 2),
        (ListwisePipeline, LIST, 26, 3),
        (ListwisePipeline, LIST | {"reverse": True}, 25, 4),
        (ListwisePipeline, LIST | {"window": 40, "stride": 20}, 60, 2),
        (TournamentPipeline, {"kind": "tournament", "prompt": "p.txt"}, 25, 3),
        (TournamentPipeline, {"kind": "tournament", "prompt": "p.txt"}, 9, 1),
    ],
)
def test_the_prompts_of_a_query_are_counted_as_they_are_asked(
    kind: type[Pipeline], more: dict[str, Any], candidates: int, expected: int
) -> None:
    assert prompt_count(pipeline(kind, **more), candidates) == expected
    assert prompt_count(pipeline(kind, **more), 0) == 0
