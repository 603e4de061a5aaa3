"""The config's numbers (blend weights, gate, fusion weights, boost), fitted on folds of the train part.

Each fold's adapters are trained on that fold's train part alone, so what is fitted has never been
trained on, and about as much of it is unseen as in the competition's hidden test.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cascade.base import atomic
from cascade.base.errors import ConfigError
from cascade.competitions import registry
from cascade.competitions.base import Task
from cascade.config.parts import NeighboursPart
from cascade.config.schema import Config
from cascade.models import placement
from cascade.processes import workers
from cascade.rankings import fusion, metrics, tables
from cascade.rerankers.cross_encoder import CrossEncoderReranker
from cascade.retrievers.blend import Blend
from training import fitted
from training.fitted import Numbers
from training.jobs import models
from training.jobs.graph import CONFIG, NUMBERS, Places

# What is tried for a part of each kind; the others' weights are 1.
WEIGHTS = {
    "tfidf": (0.0, 0.25, 0.5, 0.75, 1.0),
    "neighbours": (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0),
    "classifier": (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0),
}
GATES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)
FUSION = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
BOOSTS = (0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0)


@dataclass
class Fold:
    """What is needed of a fold once its models have run: each part's scores by kind, neighbours' by gate; rankings."""

    task: Task
    parts: dict[str, np.ndarray]
    neighbours: dict[float, np.ndarray]
    rankings: dict[str, pd.DataFrame]

    def score(self, table: pd.DataFrame) -> float:
        assert self.task.truth is not None
        return metrics.map_at(metrics.ranks_of_labels(table, self.task.truth), self.task.depth)

    def blend(self, weights: Mapping[str, float], gate: float, top_k: int = 25) -> pd.DataFrame:
        scores = np.sum([weight * self._scores(kind, gate) for kind, weight in weights.items()], axis=0)
        ids = self.task.labels["label_id"].to_numpy()
        return tables.from_matrix(self.task.queries["query_id"].tolist(), ids, scores, top_k)

    @property
    def kinds(self) -> list[str]:
        return [*self.parts, *(["neighbours"] if self.neighbours else [])]

    def _scores(self, kind: str, gate: float) -> np.ndarray:
        return self.neighbours[gate] if kind == "neighbours" else self.parts[kind]

    def ensemble(self, weight: float, boost: float) -> float:
        """MAP of the cross-encoder, where there is one, fused with the retrieval (weight 1), as the config has them."""
        fused = fusion.fuse(self.rankings, {"ce": weight, "r": 1.0})
        return self.score(fusion.to_table(fusion.boost_unseen(fused, self.task.seen, boost)))


def fit(config: Config, root: Path, folds: int, adapters: Path) -> str:
    """The numbers to put into the config, with the MAP each choice reached, on the folds of a training.

    root: its folder, which has the folds' data and adapters. There NUMBERS is written, and CONFIG, which has them and
    `adapters`, those trained on all data.
    """
    retrieval = config.retrieval[0]
    if twice := [kind for kind, n in Counter(part.kind for part in retrieval.retriever).items() if n > 1]:
        raise ConfigError(
            f"has two parts of kind '{twice[0]}', and weights are fitted by kind",
            path=config.path,
            key=f"retrieval '{retrieval.name}'",
            mend="remove one while fitting",
        )
    pipeline = next(iter(models.cross_encoders(config).values()), None)
    made = []
    places = Places(root, root)
    for number in range(folds):
        own = config.model_copy(update={"adapters": str(places.adapters_of(number).resolve())})
        made.append((own, _scored(places.data(number), own, root / "cache")))
    scored = [fold for _, fold in made]
    kinds = [kind for kind in scored[0].kinds if kind in WEIGHTS]
    fixed = {kind: 1.0 for kind in scored[0].kinds if kind not in WEIGHTS}
    tried = itertools.product(GATES if "neighbours" in kinds else GATES[:1], *(WEIGHTS[kind] for kind in kinds))

    def weights(choice: Sequence[float]) -> dict[str, float]:
        return {**fixed, **dict(zip(kinds, choice[1:], strict=True))}

    chosen = best(tried, lambda choice: _mean(fold.score(fold.blend(weights(choice), choice[0])) for fold in scored))
    for own, fold in made:
        fold.rankings = {"r": fold.blend(weights(chosen), chosen[0], retrieval.top_k)}
        if pipeline is not None:
            place = workers.device_slots(placement.device_list(own))[0]
            reranker = CrossEncoderReranker(place, pipeline, own, fold.task.texts)
            ranking, _ = reranker.rerank(fold.task.queries, tables.cut(fold.rankings["r"], pipeline.top_k))
            fold.rankings = {"ce": ranking, **fold.rankings}
    choices = itertools.product(FUSION if pipeline is not None else (1.0,), BOOSTS)
    weight, boost = best(choices, lambda choice: _mean(fold.ensemble(*choice) for fold in scored))
    said = ", ".join(f"{kind} weight {value:g}" for kind, value in weights(chosen).items())
    lines = [
        said + (f", gate {chosen[0]}" if "neighbours" in kinds else "") + f": MAP {_of(scored, 'r'):.4f}",
        f"ensemble: retrieval weight 1, {f'cross-encoder weight {weight}, ' if pipeline else ''}unseen_boost {boost}:"
        f" MAP {_mean(fold.ensemble(weight, boost) for fold in scored):.4f}"
        f" (without boost {_mean(fold.ensemble(weight, 1.0) for fold in scored):.4f})",
    ]
    if pipeline is not None:
        lines.insert(1, f"cross-encoder alone: MAP {_of(scored, 'ce'):.4f}")
    # The other members keep their weights: an LLM's ranking of the folds would cost hours.
    fused = {retrieval.name: 1.0} | ({pipeline.name: weight} if pipeline is not None else {})
    names = {name: fused.get(name, given) for name, given in config.ensemble.weights.items()}
    numbers = Numbers(weights(chosen), chosen[0] if "neighbours" in kinds else None, names, boost)
    atomic.write_text(root / NUMBERS, fragment(numbers, lines))
    if fitted.write(config, numbers, adapters, root / CONFIG):
        lines.append(f"with {adapters}: make run CONFIG={root / CONFIG}")
    else:
        lines.append(f"copy them from {root / NUMBERS} into {config.path}")
    return "\n".join(lines)


def fragment(numbers: Numbers, told: Sequence[str]) -> str:
    """The numbers as a config has them."""
    lines = [f"# {line}" for line in told]
    for kind, weight in numbers.weights.items():
        lines += ["", "[[retrieval.retriever]]", f'kind = "{kind}"', f"weight = {weight}"]
        lines += [f"gate = {numbers.gate}"] if kind == "neighbours" else []
    pairs = ", ".join(f'"{name}" = {weight}' for name, weight in numbers.ensemble.items())
    return "\n".join([*lines, "", "[ensemble]", f"weights = {{ {pairs} }}", f"unseen_boost = {numbers.boost}", ""])


def _scored(path: Path, config: Config, cache: Path) -> Fold:
    task = registry.of(config).read(path)
    assert task.truth is not None
    labelled = task.queries["query_id"].isin(task.truth["query_id"])
    task = replace(task, queries=task.queries[labelled].reset_index(drop=True))
    retrieval = config.retrieval[0]
    fold = Fold(task, {}, {}, {})
    with Blend(retrieval, config, cache) as blend:
        for part in retrieval.retriever:
            if isinstance(part, NeighboursPart):
                for gate in GATES:
                    gated = part.model_copy(update={"gate": gate})
                    fold.neighbours[gate] = blend.part_scores(gated, task.queries, task)
            else:
                fold.parts[part.kind] = blend.part_scores(part, task.queries, task)
    return fold


def best(choices: Iterable[tuple[float, ...]], value: Callable[[tuple[float, ...]], float]) -> tuple[float, ...]:
    """The choice of highest value; the first of equals."""
    return max(choices, key=value)


def _of(folds: Sequence[Fold], name: str) -> float:
    return _mean(fold.score(fold.rankings[name]) for fold in folds)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
