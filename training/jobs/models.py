"""What of a config can be trained: its adapters, each with the part or pipeline that it is for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from cascade.base.errors import ConfigError
from cascade.config.parts import Adapted, DensePart
from cascade.config.schema import Config, CrossEncoderPipeline, LLMPipeline, Retrieval

# Of a part or a stage, what changes its speed and place and not what is learnt from it.
BESIDE = {"weight", "batch_size", "chunk", "limit"}
T = TypeVar("T", bound=Adapted)


def retrievers(config: Config) -> dict[str, DensePart]:
    """The dense parts, by their adapters; the first of those that share one."""
    return _first(part for retrieval in config.retrieval for part in retrieval.retriever if isinstance(part, DensePart))


def cross_encoders(config: Config) -> dict[str, CrossEncoderPipeline]:
    """The enabled cross-encoders, by their adapters."""
    return _first(each for each in config.pipeline if isinstance(each, CrossEncoderPipeline) and each.enabled)


def rerankers(config: Config) -> dict[str, LLMPipeline]:
    """The enabled pipelines that ask an LLM, by their adapters; the first of those that share one."""
    return _first(each for each in config.pipeline if isinstance(each, LLMPipeline) and each.enabled)


def chosen(known: Mapping[str, T], name: str | None, what: str, config: Config) -> T:
    """The one whose adapter has that name, or the first; ConfigError where there is none."""
    if known and name is None:
        return next(iter(known.values()))
    if name is not None and name in known:
        return known[name]
    raise ConfigError(
        f"has no {what} with " + (f"adapter '{name}'" if name else "an adapter"),
        path=config.path,
        mend=f"use one of {', '.join(known)}" if known else f'add adapter = "name" to a {what}',
    )


def names(retrieval: Retrieval) -> list[str]:
    """The parts' names: their kinds, with a number from the second of a kind on."""
    kinds = [part.kind for part in retrieval.retriever]
    counts = [kinds[: place + 1].count(kind) for place, kind in enumerate(kinds)]
    return [kind if count == 1 else f"{kind} {count}" for kind, count in zip(kinds, counts, strict=True)]


def systems(config: Config) -> dict[str, list[str]]:
    """By adapter, what of a fold's scores it takes part in, as `evaluate.measure` calls it.

    Of a part of a retrieval that is the part and the blend.
    """
    found: dict[str, list[str]] = {}
    for retrieval in config.retrieval:
        for name, part in zip(names(retrieval), retrieval.retriever, strict=True):
            if isinstance(part, DensePart) and part.adapter is not None:
                found.setdefault(part.adapter, []).extend([f"{retrieval.name}: {name}", f"{retrieval.name}: blend"])
    for pipeline in config.pipeline:
        if (
            isinstance(pipeline, LLMPipeline | CrossEncoderPipeline)
            and pipeline.enabled
            and pipeline.adapter is not None
        ):
            found.setdefault(pipeline.adapter, []).append(f"{pipeline.name}: {pipeline.kind}")
    return found


def _first(adapted: Iterable[T]) -> dict[str, T]:
    found: dict[str, T] = {}
    for each in adapted:
        if each.adapter is not None:
            found.setdefault(each.adapter, each)
    return found
