"""The jobs of `make train`: folds, each fold's adapters and out-of-fold scores, the fitted numbers, the adapters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cascade.config.parts import ConfigModel
from cascade.config.schema import Config, LanguageModel
from training.jobs import models
from training.jobs.job import Job

FOLDS, FIT, SCORES = "folds", "fit", "scores"
NUMBERS, CONFIG = "numbers.toml", "config.toml"


@dataclass(frozen=True)
class Places:
    """Where a training keeps what it makes. root: its own folder; adapters: that of the finished ones."""

    root: Path
    adapters: Path

    def data(self, fold: int) -> Path:
        """A fold's folder of data, as `cascade folds` writes it."""
        return self.root / FOLDS / f"fold-{fold}"

    def of_fold(self, fold: int) -> Path:
        """The folder of what is trained on a fold's train part, and of its scores."""
        return self.root / f"fold-{fold}"

    def adapters_of(self, fold: int) -> Path:
        return self.of_fold(fold) / "adapters"


def jobs(config: Config, data: Path, places: Places, folds: int, queries: int | None) -> list[Job]:
    """All of them, each after those that it needs. `queries`: how many an LLM's adapter is trained on; None: all."""
    settings = ("--config", str(config.path))
    files = tuple(sorted(data.glob("*.csv")))
    out = ("--data", str(data), "--out", str(places.root / FOLDS), "--count", str(folds))
    left = tuple(places.data(fold) for fold in range(folds))
    made = [Job(FOLDS, ("cascade", "folds", *out, *settings), files, left)]
    whole = config.model_dump_json()
    for fold in range(folds):
        name, own, given = f"fold-{fold}", places.adapters_of(fold), places.data(fold)
        trained = list(_trained(config, f"{name}/", given, (given,), own, (FOLDS,), queries))
        scores = places.of_fold(fold) / f"{SCORES}.json"
        out = ("--data", str(given), "--adapters", str(own), "--out", str(scores.parent))
        reads = (given, *(path for job in trained for path in job.leaves))
        needs = (FOLDS, *(job.name for job in trained))
        command = ("training", SCORES, *settings, *out)
        made += [*trained, Job(f"{name}/{SCORES}", command, reads, (scores,), whole, needs, scores)]
    scored = tuple(job.name for job in made if job.scores is not None)
    reads = tuple(path for job in made for path in job.leaves)
    made.append(
        Job(
            FIT,
            ("training", FIT, str(places.root), "--folds", str(folds), "--adapters", str(places.adapters), *settings),
            reads,
            (places.root / NUMBERS,),
            whole,
            scored,
        )
    )
    made += _trained(config, "", data, files, places.adapters, (), queries)
    return made


def _trained(
    config: Config,
    prefix: str,
    data: Path,
    files: tuple[Path, ...],
    adapters: Path,
    needs: tuple[str, ...],
    queries: int | None,
) -> Iterator[Job]:
    """A job for each adapter. Those of rerankers learn from what the retrieval finds with its own new adapters."""
    before: list[Job] = []

    def job(adapter: str, command: str, of: list[ConfigModel | None], *more: str) -> Job:
        out = adapters / adapter
        own = ("--adapters", str(adapters)) if before else ()
        words = ("--config", str(config.path), "--data", str(data), "--out", str(out), *own)
        prompts = [each.prompt for each in of if isinstance(each, LanguageModel)]
        reads = (*files, *(path for each in before for path in each.leaves), *(config.path.parent / p for p in prompts))
        about = json.dumps([None if each is None else each.model_dump(mode="json") for each in of], sort_keys=True)
        named = (*needs, *(each.name for each in before))
        return Job(f"{prefix}{adapter}", ("training", command, *more, *words), reads, (out,), about, named)

    found = [job(adapter, "retriever", [part], adapter) for adapter, part in models.retrievers(config).items()]
    before += found
    first = config.retrieval[0]
    for adapter, encoder in models.cross_encoders(config).items():
        found.append(job(adapter, "cross-encoder", [encoder, first], adapter))
    some = ("--queries", str(queries)) if queries else ()
    for adapter, pipeline in models.rerankers(config).items():
        found.append(job(adapter, "reranker", [pipeline, first, config.reason], pipeline.name, *some))
    yield from found
