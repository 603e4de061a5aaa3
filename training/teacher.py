"""Soft targets: how a larger model shares a query out among its candidates, read from ranking tables that it left."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np

from cascade.base.errors import DataError
from cascade.base.manifest import sha256
from cascade.rankings import tables


class Teacher:
    """Scores of some queries' labels, by query. `digests`: SHA-256 of the tables."""

    def __init__(self, paths: Sequence[Path], queries: Collection[str]) -> None:
        """Reads the tables, of different queries each; DataError where none is of these `queries`."""
        self.digests = [sha256(path) for path in paths if path.is_file()]
        self.scores: dict[str, dict[int, float]] = {}
        are_shares = True
        for path in paths:
            table = tables.read(path)
            are_shares &= bool(table["score"].between(0, 1).all())
            for query, rows in table.groupby("query_id"):
                self.scores[str(query)] = dict(zip(rows["label_id"].tolist(), rows["score"].tolist(), strict=True))
        self.are_shares = are_shares
        known = sum(query in self.scores for query in queries)
        if not known:
            raise DataError(
                "none of its queries is in train.csv",
                path=paths[0],
                mend="pass the table of a run whose test these are",
            )
        kind = "shares" if are_shares else "log-odds"
        print(f"the teacher has scores of {known} of {len(queries)} queries, taken as {kind}", flush=True)

    def shares(self, query: str, labels: Sequence[int]) -> np.ndarray | None:
        """What each label has of the query, float32 that adds up to 1; None where the teacher says nothing of it.

        Scores from 0 to 1 are shares as they are, others log-odds, of which the softmax is taken. A label that the
        teacher did not rank has as much as the last of those that it did.
        """
        known = self.scores.get(query, {})
        found = [known[label] for label in labels if label in known]
        if not found:
            return None
        scores = np.array([known.get(label, min(found)) for label in labels], dtype=np.float64)
        weights = scores if self.are_shares else np.exp(scores - scores.max())
        return None if not weights.sum() else (weights / weights.sum()).astype(np.float32)
