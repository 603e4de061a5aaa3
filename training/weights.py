"""The config's numbers (blend weights, gate, fusion weights, boost), fitted on folds of the train part.

Each fold's adapters are trained on that fold's train part alone, so what is fitted has never been
trained on, and about as much of it is unseen as in the competition's hidden test.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pandas as pd

from cascade.base import atomic
from cascade.competitions import registry
from cascade.competitions.base import Task
from cascade.config.parts import NeighboursPart, Part
from cascade.config.schema import Config, Retrieval
from cascade.models import placement
from cascade.processes import workers
from cascade.rankings import fusion, metrics, tables
from cascade.rerankers.cross_encoder import CrossEncoderReranker
from cascade.retrievers.allowed import best_allowed
from cascade.retrievers.blend import Blend
from training import fitted
from training.fitted import Numbers
from training.jobs import models
from training.jobs.graph import CONFIG, NUMBERS, Places
from training.lora import with_adapters

# What is tried for a part of each kind, beside the weight that it has; the others keep theirs.
WEIGHTS = {
    "tfidf": (0.0, 0.25, 0.5, 0.75, 1.0),
    "neighbours": (0.0, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0),
    "classifier": (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 5.0),
}
GATES = (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9)
FUSION = (0.1, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0)
BOOSTS = (1.0, 0.8, 0.9, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0)  # none first, which is what equals mean


@dataclass
class Fold:
    """What is needed of a fold once its models have run: each part's scores by name and gate; rankings."""

    task: Task
    parts: dict[str, dict[float | None, np.ndarray]]
    rankings: dict[str, pd.DataFrame]

    def score(self, table: pd.DataFrame) -> float:
        assert self.task.truth is not None
        return metrics.map_at(metrics.ranks_of_labels(table, self.task.truth), self.task.depth)

    def blend(self, weights: Mapping[str, float], gate: float, top_k: int = 25) -> pd.DataFrame:
        scores = np.sum([weight * self._scores(name, gate) for name, weight in weights.items()], axis=0)
        return best_allowed(self.task.queries["query_id"].tolist(), self.task, [scores], top_k)

    def _scores(self, name: str, gate: float) -> np.ndarray:
        by_gate = self.parts[name]
        return by_gate[gate] if gate in by_gate else by_gate[None]

    def ensemble(self, weight: float, boost: float) -> float:
        """MAP of the cross-encoder, where there is one, fused with the retrieval (weight 1), as the config has them."""
        fused = fusion.fuse(self.rankings, {"ce": weight, "r": 1.0})
        return self.score(fusion.to_table(fusion.boost_unseen(fused, self.task.seen, boost)))


def fit(config: Config, root: Path, folds: int) -> str:
    """The numbers to put into the config, with the MAP each choice reached, on the folds of a training.

    root: its folder, which has the folds' data and adapters. There NUMBERS is written, and CONFIG, which has them and
    the adapters that are trained on all data.
    """
    retrieval = config.retrieval[0]
    pipeline = next(iter(models.cross_encoders(config).values()), None)
    made = []
    places = Places(root)
    for number in range(folds):
        own = with_adapters(config, places.adapters_of(number))
        made.append((own, _scored(places.data(number), own, root / "cache")))
    scored = [fold for _, fold in made]
    parts = dict(zip(models.names(retrieval), retrieval.retriever, strict=True))
    fixed = {name: part.weight for name, part in parts.items() if part.kind not in WEIGHTS}
    free = [name for name in parts if name not in fixed]
    gated = any(part.kind == "neighbours" for part in parts.values())
    tried = itertools.product(GATES if gated else GATES[:1], *(_weights_of(parts[name]) for name in free))

    def weights(choice: Sequence[float]) -> dict[str, float]:
        return {**fixed, **dict(zip(free, choice[1:], strict=True))}

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
        said + (f", gate {chosen[0]}" if gated else "") + f": MAP {_of(scored, 'r'):.4f}",
        f"ensemble: retrieval weight 1, {f'cross-encoder weight {weight}, ' if pipeline else ''}unseen_boost {boost}:"
        f" MAP {_mean(fold.ensemble(weight, boost) for fold in scored):.4f}"
        f" (without boost {_mean(fold.ensemble(weight, 1.0) for fold in scored):.4f})",
    ]
    if pipeline is not None:
        lines.insert(1, f"cross-encoder alone: MAP {_of(scored, 'ce'):.4f}")
    # The other members keep their weights: an LLM's ranking of the folds would cost hours.
    fused = {retrieval.name: 1.0} | ({pipeline.name: weight} if pipeline is not None else {})
    members = {name: fused.get(name, given) for name, given in config.ensemble.weights.items()}
    own_weights = weights(chosen)
    numbers = Numbers([own_weights[name] for name in parts], chosen[0] if gated else None, members, boost)
    atomic.write_text(root / NUMBERS, fragment(retrieval, numbers, lines))
    if fitted.write(config, numbers, places.adapters, root / CONFIG):
        lines.append(f"with {places.adapters}: make run CONFIG={root / CONFIG}")
    else:
        lines.append(f"copy them from {root / NUMBERS} into {config.path}")
    return "\n".join(lines)


def fragment(retrieval: Retrieval, numbers: Numbers, told: Sequence[str]) -> str:
    """The numbers as a config has them."""
    lines = [f"# {line}" for line in told]
    for part, weight in zip(retrieval.retriever, numbers.weights, strict=True):
        lines += ["", "[[retrieval.retriever]]", f'kind = "{part.kind}"', f"weight = {weight}"]
        lines += [f"gate = {numbers.gate}"] if part.kind == "neighbours" else []
    pairs = ", ".join(f'"{name}" = {weight}' for name, weight in numbers.ensemble.items())
    return "\n".join([*lines, "", "[ensemble]", f"weights = {{ {pairs} }}", f"unseen_boost = {numbers.boost}", ""])


def _scored(path: Path, config: Config, cache: Path) -> Fold:
    task = registry.of(config).read(path)
    assert task.truth is not None
    labelled = task.queries["query_id"].isin(task.truth["query_id"])
    task = replace(task, queries=task.queries[labelled].reset_index(drop=True))
    retrieval = config.retrieval[0]
    fold = Fold(task, {}, {})
    with Blend(retrieval, config, cache) as blend:
        for name, part in zip(models.names(retrieval), retrieval.retriever, strict=True):
            if isinstance(part, NeighboursPart):
                gated = {gate: part.model_copy(update={"gate": gate}) for gate in GATES}
                fold.parts[name] = {gate: blend.part_scores(each, task.queries, task) for gate, each in gated.items()}
            else:
                fold.parts[name] = {None: blend.part_scores(part, task.queries, task)}
    return fold


def _weights_of(part: Part) -> Sequence[float]:
    return (part.weight, *(weight for weight in WEIGHTS[part.kind] if weight != part.weight))


def best(choices: Iterable[tuple[float, ...]], value: Callable[[tuple[float, ...]], float]) -> tuple[float, ...]:
    """The choice of highest value; the first of equals."""
    return max(choices, key=value)


def _of(folds: Sequence[Fold], name: str) -> float:
    return _mean(fold.score(fold.rankings[name]) for fold in folds)


def _mean(values: Iterable[float]) -> float:
    return float(np.mean(list(values)))
