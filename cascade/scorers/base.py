"""Option scorers: what an LLM thinks of each of a few answers that are one token long. Two engines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Protocol

import numpy as np

from cascade.config.schema import Config, LanguageModel
from cascade.models import adapters
from cascade.models.checks import language_models
from cascade.processes.workers import DeviceSlot
from cascade.scorers.shares import Share


@dataclass
class Usage:
    """The usage counts what was computed.

    It counts prompts, their tokens, those of them that a shared beginning saved, tokens written and questions cut
    short; and it keeps what share of its probability the model gives to the options, and how far a model that was just
    loaded is from its canaries.
    """

    prompts: int = 0
    tokens: int = 0
    cached_tokens: int = 0
    written_tokens: int = 0
    shortened: int = 0
    shares: list[Share] = field(default_factory=list)
    canaries: dict[str, Any] = field(default_factory=dict)

    def take(self) -> dict[str, Any]:
        """The counts so far as a dict; counting begins anew."""
        taken = asdict(self)
        self.__init__()  # type: ignore[misc]
        return taken


class OptionScorer(Protocol):
    """An LLM with its adapter, loaded. `max_length` is in tokens, prompt and answer together."""

    tokenizer: Any
    max_length: int
    usage: Usage

    def score(self, prompts: Sequence[Sequence[int]], options: Sequence[int]) -> np.ndarray:
        """Log-probabilities of each option as the next token, normalised over the options.

        prompts: token ids; those that share a beginning should stand together. options: token ids,
        distinct. Returns float32 [n_prompts, n_options], NaN where the model gave no number. Of all of the prompts,
        or of some, `usage` gets the share that the options have of the whole vocabulary's probability.
        """
        ...

    def generate(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[str]:
        """What the model writes behind each prompt, most likely token by token, without special tokens."""
        ...


def open_scorer(place: DeviceSlot, stage: str, model: LanguageModel, config: Config, options: int) -> OptionScorer:
    """The stage's model on the config's engine, for up to `options` options; ModelError where it does not fit."""
    folder = language_models.check(stage, model, config)
    adapter = adapters.adapter_path(model, config)
    if config.engine == "vllm":
        from cascade.scorers.vllm_engine import VllmScorer

        return VllmScorer(place, model, config, folder, adapter, options)
    from cascade.scorers.transformers_engine import TransformersScorer

    return TransformersScorer(place, model, folder, adapter)
