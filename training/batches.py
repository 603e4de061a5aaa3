"""Batches of texts of like length, so that few of their tokens are padding."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler

SORTED = 12  # batches whose rows are sorted by length together, of other rows in each epoch


class ByLength(DefaultBatchSampler):  # type: ignore[misc]
    """Batches that have no text twice, as what is one row's label must be no negative of another with the same.

    The library's own sampler for that draws a batch from all lengths and pads it to the longest. Rows that no full
    batch takes, say of a label that is too frequent, may be left out of an epoch, others in the next one.
    """

    def __init__(self, dataset: Dataset, batch_size: int, drop_last: bool, seed: int = 0, **named: Any) -> None:
        super().__init__(dataset, batch_size=batch_size, drop_last=drop_last, seed=seed, **named)
        columns = [list(dataset[name]) for name in dataset.column_names]
        self.lengths = [len(text) for text in columns[0]]
        self.texts = [frozenset(row) for row in zip(*columns, strict=True)]
        self.size = batch_size

    def __len__(self) -> int:
        return -(-len(self.texts) // self.size)

    def __iter__(self) -> Iterator[list[int]]:
        draw = torch.Generator().manual_seed(self.seed + self.epoch)
        order = torch.randperm(len(self.texts), generator=draw).tolist()
        near = self.size * SORTED
        batches: list[list[int]] = []
        left: list[int] = []
        for start in range(0, len(order), near):
            rows = sorted([*left, *order[start : start + near]], key=lambda row: self.lengths[row])
            batch, left = self._taken(rows)
            while len(batch) == self.size:
                batches.append(batch)
                batch, left = self._taken(rows := left)
            left = rows
        while len(left) > 1:
            batch, left = self._taken(left)
            batches.append(batch)
        fullest = sorted(batches, key=len, reverse=True)[: len(self)]
        for place in torch.randperm(len(fullest), generator=draw).tolist():
            yield fullest[place]

    def _taken(self, rows: Sequence[int]) -> tuple[list[int], list[int]]:
        """The first rows that make a batch, and those that wait for another one."""
        batch: list[int] = []
        later: list[int] = []
        used: set[str] = set()
        for row in rows:
            if len(batch) == self.size or not used.isdisjoint(self.texts[row]):
                later.append(row)
            else:
                batch.append(row)
                used |= self.texts[row]
        return batch, later
