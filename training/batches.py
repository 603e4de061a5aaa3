"""Batches of texts of like length, so that few of their tokens are padding."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import cycle, islice
from typing import Any

import torch
from datasets import Dataset
from sentence_transformers.base.sampler import DefaultBatchSampler

SORTED = 12  # batches whose rows are sorted by length together, of other rows in each epoch


class ByLength(DefaultBatchSampler):  # type: ignore[misc]
    """Batches that have no text twice, as what is one row's label must be no negative of another with the same.

    The library's own sampler for that draws a batch from all lengths and pads it to the longest. A batch has a label
    once, so of a label that is more frequent than one in `batch_size` rows an epoch reads some, drawn anew each time.
    """

    def __init__(self, dataset: Dataset, batch_size: int, drop_last: bool, seed: int = 0, **named: Any) -> None:
        super().__init__(dataset, batch_size=batch_size, drop_last=drop_last, seed=seed, **named)
        columns = [list(dataset[name]) for name in dataset.column_names]
        self.lengths = [len(text) for text in columns[0]]
        self.texts = [frozenset(row) for row in zip(*columns, strict=True)]
        self.size = batch_size
        self.count = len(self._batches(torch.Generator().manual_seed(seed)))

    def __len__(self) -> int:
        """Batches of an epoch; the same in each, as the steps of a training and where it goes on are counted by it."""
        return self.count

    def __iter__(self) -> Iterator[list[int]]:
        draw = torch.Generator().manual_seed(self.seed + self.epoch)
        batches = self._batches(draw)
        order = torch.randperm(len(batches), generator=draw).tolist()
        yield from (batches[place] for place in islice(cycle(order), self.count))

    def _batches(self, draw: torch.Generator) -> list[list[int]]:
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
            left = self._rarest([rows[place] for place in torch.randperm(len(rows), generator=draw).tolist()])[:near]
        most = -(-len(self.texts) // self.size)
        while left and len(batches) < most:
            batch, left = self._taken(left)
            batches.append(batch)
        return batches

    def _rarest(self, rows: Sequence[int]) -> list[int]:
        """The rows in the order of their most frequent text, rare ones first."""
        counts = Counter(text for row in rows for text in self.texts[row])
        return sorted(rows, key=lambda row: max(counts[text] for text in self.texts[row]))

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
