"""Makes the canaries of a config's stages: see `cascade.rerankers.canaries`."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError

from cascade.base.errors import ConfigError
from cascade.competitions import registry
from cascade.config.schema import Config, LLMPipeline
from cascade.config.values import Device, Dtype
from cascade.models import placement
from cascade.processes.workers import device_slots
from cascade.rerankers import canaries


def make(
    config: Config, data: Path, stages: Sequence[str], device: str, dtype: str, original: str | None
) -> Iterator[Path]:
    """Writes those of each enabled LLM pipeline, or of the named ones, and yields where.

    `original`: the model whose scores they are, where the config's is a quantised copy of it.
    """
    task = registry.of(config).read(data)
    known = [each for each in config.pipeline if isinstance(each, LLMPipeline) and each.enabled]
    for name in stages:
        if name not in {each.name for each in known}:
            raise ConfigError(
                f"no enabled LLM pipeline is called '{name}'",
                path=config.path,
                mend=f"use one of {', '.join(each.name for each in known)}" if known else "add one",
            )
    if not known:
        raise ConfigError("has no enabled LLM pipeline to make canaries of", path=config.path, mend="add one")
    _check(config, device, dtype, [each for each in known if not stages or each.name in stages])
    [place] = device_slots(placement.device_list(config.model_copy(update={"devices": [device]})))
    if place.device != "cpu":
        os.environ.update(place.environment())  # this process loads the model, and sees that card alone
    from cascade.rerankers.llm import LLMReranker

    for pipeline in known:
        if stages and pipeline.name not in stages:
            continue
        held = pipeline.model_copy(update={"dtype": dtype, "model": original or pipeline.model})
        alone = config.model_copy(update={"engine": "transformers"})
        reranker = LLMReranker(place, held, alone, task.texts)
        engine = f"transformers, {dtype}, {held.model}"
        yield canaries.write(
            pipeline, config, canaries.chosen(pipeline, task), reranker.prompter, reranker.answer, engine
        )


def _check(config: Config, device: str, dtype: str, pipelines: Sequence[LLMPipeline]) -> None:
    """ConfigError for what would only fail once the model has run."""
    options: list[tuple[str, Any, str, str]] = [
        ("device", Device, device, "use cpu or cuda:0"),
        ("dtype", Dtype, dtype, "use float32, bfloat16 or float16"),
    ]
    for name, kind, value, mend in options:
        try:
            TypeAdapter(kind).validate_python(value)
        except ValidationError as error:
            raise ConfigError(f"is '{value}'", key=f"--{name}", mend=mend) from error
    for pipeline in pipelines:
        path = canaries.path_of(pipeline, config)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise ConfigError(
                f"no folder can be made there: {error.strerror}", path=path.parent, mend="move what is there"
            ) from error
        if path.exists() and not path.is_file():
            raise ConfigError("is no file", path=path, mend="move it away")
