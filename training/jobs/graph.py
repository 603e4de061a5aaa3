"""The jobs of `make train`: folds, each fold's adapters and out-of-fold scores, the fitted numbers, the adapters."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cascade.base.errors import CascadeError, ConfigError
from cascade.config.parts import Adapted, ConfigModel
from cascade.config.schema import Config, LanguageModel
from cascade.evaluation import folds as folding
from cascade.models import locate
from cascade.models.adapters import ADAPTER_FILES, PROVENANCE
from training.jobs import models
from training.jobs.job import Job
from training.jobs.provenance import CURVE

FOLDS, FIT, SCORES = "folds", "fit", "scores"
NUMBERS, CONFIG = "numbers.toml", "config.toml"


@dataclass(frozen=True)
class Places:
    """Where a training keeps what it makes, all of it under one folder."""

    root: Path

    @property
    def adapters(self) -> Path:
        """The folder of the adapters that are trained on all data."""
        return self.root / "adapters"

    def data(self, fold: int) -> Path:
        """A fold's folder of data, as `cascade folds` writes it."""
        return self.root / FOLDS / f"fold-{fold}"

    def of_fold(self, fold: int) -> Path:
        """The folder of what is trained on a fold's train part, and of its scores."""
        return self.root / f"fold-{fold}"

    def adapters_of(self, fold: int) -> Path:
        return self.of_fold(fold) / "adapters"


def jobs(config: Config, data: Path, root: Path, folds: int | Path, queries: int | None, by: str = "") -> list[Job]:
    """All of them, each after those that it needs. `queries`: how many an LLM's adapter is trained on; None: all.

    folds: how many, or a folds.json that tells of them. by: the column that no two folds' tests share. ConfigError for
    an adapter that none of them would train: a fold's scores would be without it.
    """
    check(config)
    places, settings = Places(root), ("--config", str(config.path))
    files = (*sorted(data.glob("*.csv")), *_read_by_all(config))
    count, split, told = _splitting(folds)
    grouped = ("--by", by) if by else ()
    out = ("--data", str(data), "--out", str(root / FOLDS), *split, *grouped)
    left = tuple(places.data(fold) for fold in range(count))
    made = [Job(FOLDS, ("cascade", "folds", *out, *settings), (*files, *told), left, config.competition)]
    whole = config.model_dump_json(exclude={"path"})
    prompts = [config.path.parent / model.prompt for model in config.language_models().values()]
    spread = any(model.parallel == "tensor" for model in config.language_models().values())
    for fold in range(count):
        name, own, given = f"fold-{fold}", places.adapters_of(fold), places.data(fold)
        read = (given, *_read_by_all(config))
        trained = list(_trained(config, f"{name}/", given, read, own, (FOLDS,), queries))
        scores = places.of_fold(fold) / f"{SCORES}.json"
        out = ("--data", str(given), "--adapters", str(own), "--out", str(scores.parent))
        reads = (*read, *prompts, *(path for job in trained for path in job.leaves))
        needs = (FOLDS, *(job.name for job in trained))
        scoring = ("training", SCORES, *settings, *out)
        made += [*trained, Job(f"{name}/{SCORES}", scoring, reads, (scores,), whole, needs, scores, spread)]
    scored = tuple(job.name for job in made if job.scores is not None)
    reads = (*_read_by_all(config), *(path for job in made for path in job.leaves))
    command = ("training", FIT, str(root), "--folds", str(count), *settings)
    made.append(Job(FIT, command, reads, (root / NUMBERS,), whole, scored, also=(root / CONFIG,)))
    made += _trained(config, "", data, files, places.adapters, (), queries)
    taken = tuple(_taken(config))
    return [replace(job, takes=taken) for job in made]


def _splitting(folds: int | Path) -> tuple[int, tuple[str, str], tuple[Path, ...]]:
    """How many folds there are, the option that makes them, and the file that it reads."""
    if isinstance(folds, Path):
        return len(folding.read(folds)["folds"]), ("--from", str(folds)), (folds,)
    return folds, ("--count", str(folds)), ()


def check(config: Config) -> None:
    """ConfigError for an adapter that no job trains, or whose name is a job's."""
    trained = [*models.retrievers(config), *models.cross_encoders(config), *models.rerankers(config)]
    twice = sorted({name for name in trained if trained.count(name) > 1} | {*trained} & {FOLDS, FIT, SCORES})
    if twice:
        raise ConfigError(
            f"adapter '{twice[0]}' is of two kinds, or has a job's name",
            path=config.path,
            mend="give it a name of its own",
        )
    for stage, model in config.models():
        if isinstance(model, Adapted) and model.adapter is not None and model.adapter not in trained:
            raise ConfigError(
                f"adapter '{model.adapter}' is not one that is trained: retrievers of kind 'dense', cross-encoders and "
                f"LLM pipelines are",
                path=config.path,
                key=stage,
                mend="train with a config without it",
            )


def _read_by_all(config: Config) -> tuple[Path, ...]:
    """The files that decide what queries are."""
    own = [each.query_text for each in config.retrieval if each.query_text is not None]
    own += [config.competition] if config.competition.endswith(".py") else []
    return tuple(config.path.parent / name for name in own)


def _taken(config: Config) -> Iterator[Path]:
    """The config's own file, its templates, and its models that are folders beside it."""
    folder = config.path.parent
    yield config.path
    for _, model in config.models():
        if isinstance(model, LanguageModel):
            yield folder / model.prompt
        if ":" not in model.model:
            yield folder / model.model


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
        words = ("--config", str(config.path), "--data", str(data), "--out", str(out), *own, "--replace")
        left = tuple(out / name for name in ADAPTER_FILES)  # what else lies there may be added to, and changes no job
        prompts = [config.path.parent / each.prompt for each in of if isinstance(each, LanguageModel)]
        reads = (*files, *(path for each in before for path in each.leaves), *prompts)
        named = (*needs, *(each.name for each in before))
        whole = ("training", command, *more, *words)
        told = (out / PROVENANCE, out / CURVE)
        return Job(f"{prefix}{adapter}", whole, reads, left, _about(config, of), named, resumes=True, also=told)

    found = [job(adapter, "retriever", [part], adapter) for adapter, part in models.retrievers(config).items()]
    before += found
    first = config.retrieval[0]
    for adapter, encoder in models.cross_encoders(config).items():
        found.append(job(adapter, "cross-encoder", [encoder, first], adapter))
    some = ("--queries", str(queries)) if queries else ()
    for adapter, pipeline in models.rerankers(config).items():
        found.append(job(adapter, "reranker", [pipeline, first, config.reason], pipeline.name, *some))
    yield from found


def _about(config: Config, of: list[ConfigModel | None]) -> str:
    """What the config says of them, and the weights of their models, where these are at hand."""
    told: list[Any] = [config.competition]
    for each in filter(None, of):
        told.append(each.model_dump(mode="json", exclude=models.BESIDE))
        if isinstance(each, Adapted):
            try:
                told.append(locate.fingerprint(locate.model_path(each.model, config.path.parent), None))
            except CascadeError:  # the job itself says so
                told.append("not here")
    return json.dumps(told, sort_keys=True)
