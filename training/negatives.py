"""Wrong labels to learn from: what the config's first retrieval finds for train's queries."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from cascade.base.manifest import sha256
from cascade.competitions.base import Task
from cascade.config.parts import DensePart, NeighboursPart
from cascade.config.schema import Config
from cascade.models.adapters import ADAPTER_FILES, adapter_path
from cascade.retrievers.blend import Blend

HARD = 30  # negatives are drawn from the retrieval's first so many


def provenance(config: Config) -> dict[str, Any]:
    """What decides a reranker's negatives, and its queries' reasons; ModelError for an adapter that is not there."""
    retrieval = config.retrieval[0]
    parts = [part for part in retrieval.retriever if isinstance(part, DensePart | NeighboursPart)]
    folders = {str(part.adapter): adapter_path(part, config) for part in parts}
    return {
        "retrieval": retrieval.model_dump(mode="json", exclude={"limit"}),
        "adapters": {name: sha256(folder / ADAPTER_FILES[1]) for name, folder in folders.items() if folder is not None},
        "reason": None if config.reason is None else config.reason.model_dump(mode="json", exclude={"limit"}),
    }


def retrieved(config: Config, task: Task) -> dict[str, list[int]]:
    """The first HARD labels of each query of train, best first, by query_id.

    Parts that learn from train's labels are left out: they would find every train query's own, and leave no hard
    negatives to its like.
    """
    retrieval = config.retrieval[0]
    parts = [part for part in retrieval.retriever if part.kind not in ("neighbours", "classifier")]
    hard = retrieval.model_copy(update={"retriever": parts, "top_k": HARD})
    with tempfile.TemporaryDirectory() as scratch, Blend(hard, config, Path(scratch)) as blend:
        candidates = blend.retrieve(task.train, task)
    return {str(query_id): rows["label_id"].tolist() for query_id, rows in candidates.groupby("query_id", sort=False)}


def drawn(right: int, candidates: list[int], seen: set[int], count: int, rng: np.random.Generator) -> list[int]:
    """`count` wrong labels of those candidates, filled up with others where they are too few.

    Only labels that train labels are negatives: an unlabelled one may be unseen for the very
    reason that the test asks for it (the 7th place's rule).
    """
    wrong = [id_ for id_ in candidates if id_ != right and id_ in seen]
    if len(wrong) < count:
        wrong += sorted(seen - {right, *wrong})[: count - len(wrong)]
    found: list[int] = rng.choice(wrong, min(count, len(wrong)), replace=False).tolist()
    return found
