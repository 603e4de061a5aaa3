"""The transformers engine: where there is no vLLM, and the oracle that the other is held to.

Prompts that share their beginning are read together: the beginning once, then what differs.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, DynamicCache

from cascade import models
from cascade.config import LanguageModel
from cascade.scorers import DEFAULT_LENGTH, Usage
from cascade.scorers.beginnings import shared_beginnings
from cascade.workers import Place


class TransformersScorer:
    """An `OptionScorer` on transformers, in float16 on a GPU, with the LoRA adapter merged."""

    def __init__(self, place: Place, model: LanguageModel, folder: Path, adapter: Path | None) -> None:
        self.tokenizer: Any = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=model.trust_remote_code
        )
        loaded = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            dtype=getattr(torch, models.precision(place.device)),
            trust_remote_code=model.trust_remote_code,
            use_safetensors=True,
        )
        models.merge_adapter(loaded, adapter)
        self.model: Any = loaded.to(place.device).eval()
        longest = getattr(self.model.config.get_text_config(), "max_position_embeddings", DEFAULT_LENGTH)
        self.max_length: int = model.max_length or longest
        self.batch_size = model.batch_size
        self.usage = Usage()

    @torch.inference_mode()
    def score(self, prompts: Sequence[Sequence[int]], options: Sequence[int]) -> np.ndarray:
        """See `OptionScorer`."""
        scores = np.empty((len(prompts), len(options)), dtype=np.float32)
        self.usage.prompts += len(prompts)
        self.usage.tokens += sum(map(len, prompts))
        alone: list[int] = []
        for start, stop, shared in shared_beginnings(prompts):
            if stop - start == 1:
                alone.append(start)
                continue
            self.usage.cached_tokens += (stop - start - 1) * shared
            beginning = self._cache(prompts[start][:shared])
            rest = [prompt[shared:] for prompt in prompts[start:stop]]
            for batch in self._batches(rest):
                cache = repeated(beginning, len(batch))
                scores[[start + i for i in batch]] = self._last([rest[i] for i in batch], options, cache, shared)
        lonely = [prompts[i] for i in alone]
        for batch in self._batches(lonely):
            scores[[alone[i] for i in batch]] = self._last([lonely[i] for i in batch], options)
        return scores

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[str]:
        """See `OptionScorer`."""
        texts = [""] * len(prompts)
        for batch in self._batches(prompts):
            ids, mask = self._padded([prompts[i] for i in batch])
            written = self.model.generate(
                input_ids=ids, attention_mask=mask, max_new_tokens=max_tokens, do_sample=False,
                pad_token_id=self._pad,
            )  # fmt: skip
            decoded = self.tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True)
            for i, text in zip(batch, decoded, strict=True):
                texts[i] = text
            self.usage.written_tokens += int((written[:, ids.shape[1] :] != self._pad).sum())
        self.usage.prompts += len(prompts)
        self.usage.tokens += sum(map(len, prompts))
        return texts

    def _batches(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[int]]:
        """Indices of prompts of like length, so that little is padded."""
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
        for start in range(0, len(order), self.batch_size):
            yield order[start : start + self.batch_size]

    @property
    def _pad(self) -> int:
        pad = self.tokenizer.pad_token_id
        return int(pad if pad is not None else self.tokenizer.eos_token_id or 0)

    def _padded(self, prompts: Sequence[Sequence[int]]) -> tuple[torch.Tensor, torch.Tensor]:
        """Left-padded ids and attention mask, both [n_prompts, longest]: every last token stands in the last column."""
        longest = max(map(len, prompts))
        ids = torch.full((len(prompts), longest), self._pad)
        mask = torch.zeros((len(prompts), longest), dtype=torch.long)
        for row, prompt in enumerate(prompts):
            ids[row, longest - len(prompt) :] = torch.tensor(prompt)
            mask[row, longest - len(prompt) :] = 1
        return ids.to(self.model.device), mask.to(self.model.device)

    def _cache(self, beginning: Sequence[int]) -> DynamicCache:
        cache = DynamicCache(config=self.model.config)
        ids = torch.tensor([list(beginning)], device=self.model.device)
        self.model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return cache

    def _last(
        self, prompts: Sequence[Sequence[int]], options: Sequence[int], cache: DynamicCache | None = None, past: int = 0
    ) -> np.ndarray:
        """Log-probabilities over the options behind the last token: float32 [n_prompts, n_options]."""
        ids, mask = self._padded(prompts)
        positions = (mask.cumsum(-1) - 1).clamp(min=0) + past
        whole = torch.cat([mask.new_ones((len(prompts), past)), mask], dim=1)
        logits = self.model(
            input_ids=ids, attention_mask=whole, position_ids=positions, past_key_values=cache,
            use_cache=cache is not None, logits_to_keep=1,
        ).logits[:, -1, list(options)]  # fmt: skip
        found: np.ndarray = logits.float().log_softmax(-1).cpu().numpy()
        return found


def repeated(cache: DynamicCache, times: int) -> DynamicCache:
    """A cache of one row as one of `times` rows; the original stays as it is."""
    rows = copy.deepcopy(cache)
    rows.batch_repeat_interleave(times)
    return rows
