"""Batches by length: no text twice in one, no row twice an epoch, few tokens of padding."""

from __future__ import annotations

import random

import pytest
from datasets import Dataset

from training.batches import SORTED, ByLength

SIZE = 8


def rows(count: int, labels: int) -> Dataset:
    draw = random.Random(1)
    return Dataset.from_dict(
        {
            "anchor": [f"{number}: " + "word " * draw.randint(1, 90) for number in range(count)],
            "positive": [f"label {number % labels}" for number in range(count)],
            "negative_0": [f"label {(number + 1) % labels}" for number in range(count)],
        }
    )


def test_no_row_is_read_twice_in_an_epoch_and_no_text_in_a_batch() -> None:
    given = rows(400, 90)
    sampler = ByLength(given, SIZE, drop_last=False, seed=3)
    batches = [*sampler]
    read = [row for batch in batches for row in batch]
    assert len(read) == len({*read}) >= 400 - SIZE and len(batches) == len(sampler) == 50
    for batch in batches:
        texts = [text for row in batch for text in given[row].values()]
        assert len(texts) == len({*texts})
    assert [*sampler] == batches
    sampler.set_epoch(1)
    assert [*sampler] != batches


def test_a_batch_is_of_like_length() -> None:
    given = rows(960, 960)
    batches = [*ByLength(given, SIZE, drop_last=False)]
    lengths = [len(text) for text in given["anchor"]]
    padded = sum(SIZE * max(lengths[row] for row in batch) for batch in batches)
    drawn = sum(SIZE * max(lengths[start : start + SIZE]) for start in range(0, 960, SIZE))
    assert padded < 1.15 * sum(lengths) < 1.5 * sum(lengths) < drawn
    firsts = [lengths[batch[0]] for batch in batches[:SORTED]]
    assert firsts != sorted(firsts)


def test_a_label_that_is_too_frequent_makes_no_batches_of_one() -> None:
    texts = {"anchor": [f"text {number}" for number in range(200)]}
    given = Dataset.from_dict({**texts, "positive": [f"label {min(number, 60)}" for number in range(200)]})
    sampler = ByLength(given, SIZE, drop_last=False)
    batches = [*sampler]
    assert len(batches) == len(sampler)
    assert {row for batch in batches for row in batch} >= {*range(60)}, "those of rare labels are never left out"
    assert [len(batch) for batch in sorted(batches, key=len, reverse=True)][:7] == [SIZE] * 7


@pytest.mark.parametrize(("count", "labels"), [(33, 33), (40, 40), (129, 129), (900, 40), (900, 5), (1, 1)])
def test_every_epoch_has_the_steps_that_the_schedule_counts_on(count: int, labels: int) -> None:
    sampler = ByLength(rows(count, labels), 32, drop_last=False)
    for epoch in range(4):
        sampler.set_epoch(epoch)
        assert len([*sampler]) == len(sampler) <= -(-count // 32)
    assert labels < count or len(sampler) == -(-count // 32)
