"""Which labels a query can have: no retrieval ranks another, whatever its parts say."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pandas as pd

from cascade.competitions.base import Task
from cascade.rankings import tables


def best_allowed(query_ids: list[str], task: Task, blocks: Iterable[np.ndarray], top_k: int) -> pd.DataFrame:
    """The ranking of the `top_k` best labels that each query can have, fewer where it can have fewer.

    blocks: scores of all labels, float32 [n_queries, n_labels], some rows at a time.
    """
    ids = task.labels["label_id"].to_numpy()
    if task.allowed is None:
        return tables.from_blocks(query_ids, ids, blocks, top_k)
    table = tables.from_blocks(query_ids, ids, _without_others(query_ids, task, blocks), top_k)
    return table[table["score"] != -np.inf].reset_index(drop=True)


def _without_others(query_ids: list[str], task: Task, blocks: Iterable[np.ndarray]) -> Iterator[np.ndarray]:
    """The blocks with -inf for the labels that a query cannot have, which then stand last."""
    column = {id_: place for place, id_ in enumerate(task.labels["label_id"].tolist())}
    start = 0
    for block in blocks:
        found = np.full_like(block, -np.inf)
        for row, query in enumerate(query_ids[start : start + len(block)]):
            columns = [column[id_] for id_ in task.labels_of(query)]
            found[row, columns] = block[row, columns]
        start += len(block)
        yield found
