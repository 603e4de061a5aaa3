"""The config's numbers (blend weights, gate, fusion weights, boost), fitted on folds of the train part.

Each fold's adapters are trained on that fold's train part alone, so what is fitted has never been
trained on, and about as much of it is unseen as in the competition's hidden test.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from cascade.competitions import registry
from cascade.competitions.base import Task
from cascade.config import schema as configs
from cascade.config.parts import NeighboursPart
from cascade.config.schema import Config
from cascade.evaluation.folds import write_folds
from cascade.models import placement
from cascade.models.adapters import ADAPTER_FILES
from cascade.processes import workers
from cascade.rankings import fusion, metrics, tables
from cascade.rerankers.cross_encoder import CrossEncoderReranker
from cascade.retrievers.blend import Blend
from training import cross_encoder, retriever

TFIDF = (0.0, 0.25, 0.5, 0.75, 1.0)
NEIGHBOURS = (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0)
GATES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)
FUSION = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
BOOSTS = (0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0)


@dataclass
class Fold:
    """What is needed of a fold once its models have run: scores by part, then rankings."""

    task: Task
    parts: dict[str, np.ndarray]
    neighbours: dict[float, np.ndarray]
    blend: pd.DataFrame | None = None
    ranking: pd.DataFrame | None = None

    def score(self, table: pd.DataFrame) -> float:
        assert self.task.truth is not None
        return metrics.map_at(metrics.ranks_of_labels(table, self.task.truth), self.task.depth)

    def ranked(self, scores: np.ndarray, top_k: int) -> pd.DataFrame:
        ids = self.task.labels["label_id"].to_numpy()
        return tables.from_matrix(self.task.queries["query_id"].tolist(), ids, scores, top_k)


def fit(config_path: Path, folder: Path, scratch: Path, count: int, used: int) -> str:
    """The numbers to put into the config, with the MAP each choice reached on the first `used` of `count` folds."""
    config = configs.load(config_path)
    retrieval, pipeline = config.retrieval[0], cross_encoder.first_cross_encoder(config)
    made = []
    competition = registry.of_data(folder)
    for path in write_folds(competition, folder, scratch / "folds", count, competition.unseen, seed=0)[:used]:
        adapters = (path / "adapters").resolve()
        own = config.model_copy(update={"adapters": str(adapters)})
        for name, train in (
            ("retriever-minilm", retriever.train),
            ("cross-encoder-minilm", partial(cross_encoder.train, config=own)),
        ):
            if not (adapters / name / ADAPTER_FILES[1]).is_file():  # a stopped fit goes on where it was
                print(f"{path}: training {name}")
                train(path, out=adapters / name)
        made.append((own, _scored(path, own)))
    folds = [fold for _, fold in made]
    tfidf, neighbours, gate = best(
        itertools.product(TFIDF, NEIGHBOURS, GATES),
        lambda c: _mean(f.score(_blend(f, c[0], c[1], c[2])) for f in folds),
    )
    for own, fold in made:
        fold.blend = _blend(fold, tfidf, neighbours, gate, retrieval.top_k)
        place = workers.device_slots(placement.device_list(own))[0]
        reranker = CrossEncoderReranker(place, pipeline, own, fold.task.texts)
        fold.ranking, _ = reranker.rerank(fold.task.queries, tables.cut(fold.blend, pipeline.top_k))
    weight, boost = best(itertools.product(FUSION, BOOSTS), lambda c: _mean(_ensemble(f, c[0], c[1]) for f in folds))
    return "\n".join(
        [
            f"dense weight 1, tfidf weight {tfidf}, neighbours weight {neighbours}, gate {gate}:"
            f" MAP {_mean(f.score(f.blend) for f in folds if f.blend is not None):.4f}",
            f"cross-encoder alone: MAP {_mean(f.score(f.ranking) for f in folds if f.ranking is not None):.4f}",
            f"ensemble: retrieval weight 1, cross-encoder weight {weight}, unseen_boost {boost}:"
            f" MAP {_mean(_ensemble(f, weight, boost) for f in folds):.4f}"
            f" (without boost {_mean(_ensemble(f, weight, 1.0) for f in folds):.4f})",
        ]
    )


def _scored(path: Path, config: Config) -> Fold:
    task = registry.of_data(path).read(path)
    assert task.truth is not None
    labelled = task.queries["query_id"].isin(task.truth["query_id"])
    task = replace(task, queries=task.queries[labelled].reset_index(drop=True))
    retrieval = config.retrieval[0]
    fold = Fold(task, {}, {})
    with Blend(retrieval, config, path / "cache") as blend:
        for part in retrieval.retriever:
            if isinstance(part, NeighboursPart):
                for gate in GATES:
                    gated = part.model_copy(update={"gate": gate})
                    fold.neighbours[gate] = blend.part_scores(gated, task.queries, task)
            else:
                fold.parts[part.kind] = blend.part_scores(part, task.queries, task)
    return fold


def _blend(fold: Fold, tfidf: float, neighbours: float, gate: float, top_k: int = 25) -> pd.DataFrame:
    scores = fold.parts["dense"] + tfidf * fold.parts["tfidf"] + neighbours * fold.neighbours[gate]
    return fold.ranked(scores, top_k)


def _ensemble(fold: Fold, weight: float, boost: float) -> float:
    """MAP of the fold's cross-encoder fused with its retrieval (weight 1), in that order, as the config has them."""
    assert fold.blend is not None and fold.ranking is not None
    fused = fusion.fuse({"ce": fold.ranking, "r": fold.blend}, {"ce": weight, "r": 1.0})
    return fold.score(fusion.to_table(fusion.boost_unseen(fused, fold.task.seen, boost)))


def best(choices: Iterable[tuple[float, ...]], value: Callable[[tuple[float, ...]], float]) -> tuple[float, ...]:
    """The choice of highest value; the first of equals."""
    return max(choices, key=value)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
