"""The vLLM engine: continuous batching, prefix caching, LoRA, several cards.

Only names that both the kernel's vLLM and the tests' have are used; tests/packer/vllm/test_vllm_api.py proves it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from cascade.base.errors import ModelError
from cascade.config.schema import Config, LanguageModel
from cascade.models import adapters, precision
from cascade.models.prompters import context_length
from cascade.processes.workers import DeviceSlot
from cascade.scorers.base import Usage
from cascade.scorers.shares import MEASURED

LORA_RANKS = (8, 16, 32, 64, 128, 256, 320, 512)  # vLLM's own; it refuses others
LIKELIEST = 20  # tokens of the whole vocabulary that are asked for
# Before vLLM is imported. An engine of several cards is processes that must not inherit our pipes, so no forks.
ENVIRONMENT = {
    "VLLM_WORKER_MULTIPROC_METHOD": "spawn",
    "VLLM_LOGGING_LEVEL": "WARNING",
    "VLLM_NO_USAGE_STATS": "1",
    "VLLM_HOST_IP": "127.0.0.1",
    "HF_HUB_OFFLINE": "1",
}


def engine_arguments(
    place: DeviceSlot, model: LanguageModel, config: Config, folder: Path, adapter: Path | None, options: int
) -> dict[str, Any]:
    """What vLLM's LLM is made with: what follows from our own keys, under the run's and the stage's arguments."""
    lora: dict[str, Any] = {}
    if adapter is not None:
        rank = adapters.lora_rank(adapter)
        fitting = next((known for known in LORA_RANKS if known >= rank), None)
        if fitting is None:
            raise ModelError(
                f"rank {rank} is more than the {LORA_RANKS[-1]} that vLLM supports",
                key=f"adapter '{adapter.name}'",
                mend="train it with a lower rank, or set engine = 'transformers'",
            )
        lora = {"enable_lora": True, "max_loras": 1, "max_lora_rank": fitting}
    return {
        "enable_prefix_caching": True,
        **config.vllm,
        **lora,
        **model.vllm,
        "model": str(folder),
        "dtype": precision.of(model, place.device, precision.asked(model, config)),
        "trust_remote_code": model.trust_remote_code,
        "max_model_len": context_length(model, folder),
        "tensor_parallel_size": len(place.devices),
        "logprobs_mode": "processed_logprobs",
        "max_logprobs": max(options, LIKELIEST),
    }


class VllmScorer:
    """An `OptionScorer` on vLLM's offline engine."""

    def __init__(
        self, place: DeviceSlot, model: LanguageModel, config: Config, folder: Path, adapter: Path | None, options: int
    ) -> None:
        for name, value in ENVIRONMENT.items():
            os.environ.setdefault(name, value)
        if len(place.devices) == 1:  # in this process: nothing else shares it, and its end frees the memory
            os.environ.setdefault("VLLM_ENABLE_V1_MULTIPROCESSING", "0")
        try:
            from vllm import LLM
            from vllm.lora.request import LoRARequest
        except ImportError as error:
            mend = "install it, or set engine = 'transformers'"
            raise ModelError(f"vLLM cannot be imported ({error})", key="engine = 'vllm'", mend=mend) from error
        arguments = engine_arguments(place, model, config, folder, adapter, options)
        self.engine = LLM(**arguments)
        self.lora = LoRARequest(adapter.name, 1, str(adapter)) if adapter is not None else None
        self.tokenizer = self.engine.get_tokenizer()
        self.max_length: int = arguments["max_model_len"]
        self.usage = Usage()
        self.measured = False

    def score(self, prompts: Sequence[Sequence[int]], options: Sequence[int]) -> np.ndarray:
        """See `OptionScorer`. The engine masks all other tokens itself: none is lost to the rest of the vocabulary."""
        outputs = self._run(prompts, max_tokens=1, logprobs=len(options), allowed_token_ids=list(options))
        scores = np.full((len(prompts), len(options)), np.nan, dtype=np.float32)
        for row, output in zip(scores, outputs, strict=True):
            first: Mapping[int, Any] = output.outputs[0].logprobs[0]
            for column, option in enumerate(options):
                if option in first:
                    row[column] = first[option].logprob
        if not self.measured:
            self.measured = True
            self._measure(prompts[:: max(1, len(prompts) // MEASURED)][:MEASURED], options)
        return scores

    def _measure(self, prompts: Sequence[Sequence[int]], options: Sequence[int]) -> None:
        """Asks some prompts, which are in the cache, again with no token masked: shares are at most what is found.

        An option that is not among the likeliest tokens has at most the least probability of these.
        """
        likeliest = max(len(options), LIKELIEST)
        for output in self._asked(prompts, max_tokens=1, logprobs=likeliest):
            first: Mapping[int, Any] = output.outputs[0].logprobs[0]
            found = {token: float(np.exp(first[token].logprob)) for token in first}
            best, least = max(found, key=lambda token: found[token]), min(found.values())
            rather = "" if best in options else self.tokenizer.decode([best], skip_special_tokens=False)
            self.usage.shares.append((min(1.0, sum(found.get(option, least) for option in options)), rather))

    def generate(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[str]:
        """See `OptionScorer`."""
        outputs = self._run(prompts, max_tokens=max_tokens)
        self.usage.written_tokens += sum(len(output.outputs[0].token_ids) for output in outputs)
        texts: list[str] = self.tokenizer.batch_decode(
            [output.outputs[0].token_ids for output in outputs], skip_special_tokens=True
        )
        return texts

    def _asked(self, prompts: Sequence[Sequence[int]], **settings: Any) -> list[Any]:
        from vllm import SamplingParams

        outputs: list[Any] = self.engine.generate(
            [{"prompt_token_ids": list(prompt)} for prompt in prompts],
            SamplingParams(temperature=0.0, detokenize=False, **settings),
            use_tqdm=False,
            lora_request=self.lora,
        )
        return outputs

    def _run(self, prompts: Sequence[Sequence[int]], **settings: Any) -> list[Any]:
        outputs = self._asked(prompts, **settings)
        self.usage.prompts += len(prompts)
        self.usage.tokens += sum(map(len, prompts))
        self.usage.cached_tokens += sum(output.num_cached_tokens or 0 for output in outputs)
        return outputs
