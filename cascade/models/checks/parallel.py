"""Whether an LLM's weights can be shared out over the cards of `parallel = "tensor"`."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cascade.base.errors import NotHereError
from cascade.config.schema import Config, LanguageModel
from cascade.models import locate, placement
from cascade.models.checks.facts import Fact, tried
from cascade.models.checks.target import Target

MEND = 'use fewer devices, or parallel = "data"'


def facts(stage: str, model: LanguageModel, config: Config, target: Target) -> Iterator[Fact]:
    """Of a model that is spread over several devices; nothing of any other."""

    def look() -> Iterator[Fact]:
        if model.parallel != "tensor":
            return
        if (found := spread(model, config, target)) is None:
            return
        folder, count = found
        settings = locate.read_json(folder / "config.json", model.model)
        if why := indivisible(settings.get("text_config", settings), settings, count):
            yield Fact(name, False, f"{model.model}: {why}, so vLLM cannot share it out over {count} cards", MEND)
        else:
            yield Fact(name, True, f"its heads and layers divide by {count}")

    name = f"{stage}: parallel"
    return tried(name, look, target.is_here)


def spread(model: LanguageModel, config: Config, target: Target) -> tuple[Path, int] | None:
    """The model's folder, and how many cards the run names; None where either is not here, which is another fact."""
    try:
        cards, missing = placement.devices_of(config, target.gpus)
        return locate.model_path(model.model, config.path.parent), len([*cards, *missing])
    except NotHereError:
        return None


def indivisible(text: Mapping[str, Any], settings: Mapping[str, Any], cards: int) -> str:
    """What of a config.json cannot be divided among so many cards; "" where all can be.

    vLLM raises for these while it loads, minutes after it began: attention heads in
    `ModelConfig.verify_with_parallel_config`, key-value heads in `QKVParallelLinear`, and what a quantised layer reads,
    in whole groups, in `create_weights` of its quantisation.
    """
    heads, inner = text.get("num_attention_heads"), text.get("intermediate_size")
    keys = text.get("num_key_value_heads") or heads
    if isinstance(heads, int) and heads % cards:
        return f"it has {heads} attention heads"
    if isinstance(keys, int) and (keys % cards if keys >= cards else cards % keys):
        return f"it has {keys} key-value heads"
    if not isinstance(inner, int):
        return ""
    if inner % cards:
        return f"its intermediate_size is {inner}"
    quantised = settings.get("quantization_config") or text.get("quantization_config") or {}
    group = quantised.get("group_size")
    if isinstance(group, int) and group > 0 and inner % (group * cards):
        return f"its intermediate_size is {inner}, {inner / group:g} groups of {group} quantised weights"
    return ""
