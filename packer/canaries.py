"""Makes the canaries of a config's stages: see `cascade.rerankers.canaries`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cascade.base.errors import ConfigError
from cascade.competitions import registry
from cascade.config.schema import Config, LLMPipeline
from cascade.processes.workers import DeviceSlot
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
    from cascade.rerankers.llm import LLMReranker

    for pipeline in known:
        if stages and pipeline.name not in stages:
            continue
        held = pipeline.model_copy(update={"dtype": dtype, "model": original or pipeline.model})
        alone = config.model_copy(update={"engine": "transformers"})
        reranker = LLMReranker(DeviceSlot((device,)), held, alone, task.texts)
        engine = f"transformers, {dtype}, {held.model}"
        yield canaries.write(pipeline, config, task, reranker.prompts, reranker.answer, engine)
