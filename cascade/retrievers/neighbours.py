"""Labelled train queries that resemble the query speak for their own label.

They answer most seen labels and none of the unseen ones, so they speak only where they are
near: ungated, they push right answers that no train row has down the list.
"""

from __future__ import annotations

import numpy as np


def neighbour_scores(
    similarities: np.ndarray, neighbours: np.ndarray, columns: np.ndarray, n_columns: int, gate: float
) -> np.ndarray:
    """A label's score is the best of its neighbours': (similarity - gate) / (1 - gate), 0 below the gate.

    similarities, neighbours: [n_queries, top_n], from an exact search over the labelled train queries.
    columns: [n_train], the label's column of each train query. Returns float32 [n_queries, n_columns].
    """
    votes = np.clip((similarities - gate) / (1 - gate), 0.0, None).astype(np.float32)
    matrix = np.zeros((len(similarities), n_columns), dtype=np.float32)
    rows = np.repeat(np.arange(len(similarities)), similarities.shape[1])
    np.maximum.at(matrix, (rows, columns[neighbours].ravel()), votes.ravel())
    return matrix
