"""The transformers engine: where there is no vLLM, and the oracle that the other is held to.

Prompts that share their beginning are read together: the beginning once, then what differs. Whatever
is read together is padded on the right, so that every token stands where it stands in its prompt:
sliding windows, ALiBi and recurrent layers go by places, and what follows a token never changes it.
"""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, DynamicCache, GenerationConfig
from transformers.cache_utils import DynamicLayer, DynamicSlidingWindowLayer

from cascade.config.schema import LanguageModel
from cascade.models import adapters, precision
from cascade.models.prompters import DEFAULT_LENGTH, load_tokenizer
from cascade.processes.workers import DeviceSlot
from cascade.scorers.base import Usage
from cascade.scorers.prefixes import shared_beginnings

STRETCHED = ("longrope", "dynamic")  # kinds of RoPE whose angles change with the length of what is read
TRIED = (24, (8, 3))  # tokens of the beginning and of two rests that a shared cache is tried on


class TransformersScorer:
    """An `OptionScorer` on transformers, with the LoRA adapter merged."""

    def __init__(self, place: DeviceSlot, model: LanguageModel, folder: Path, adapter: Path | None) -> None:
        self.tokenizer: Any = load_tokenizer(model, folder)
        loaded = AutoModelForCausalLM.from_pretrained(
            folder,
            local_files_only=True,
            dtype=getattr(torch, precision.of(model, place.device)),
            trust_remote_code=model.trust_remote_code,
            use_safetensors=True,
        )
        adapters.merge_adapter(loaded, adapter)
        self.model: Any = loaded.to(place.device).eval()
        self.model.generation_config = self._greedy(self.model.generation_config)
        text_config = self.model.config.get_text_config()
        longest = getattr(text_config, "max_position_embeddings", DEFAULT_LENGTH)
        self.max_length: int = model.max_length or longest
        self.batch_size = model.batch_size
        self.usage = Usage()
        self.alike_up_to = unstretched_length(text_config)
        self.keeps = "logits_to_keep" in inspect.signature(self.model.forward).parameters
        self.plain_cache = self._cache_is_plain()
        if not self.plain_cache:
            print(
                f"model '{model.model}': its cache ({self.model.config.model_type}) cannot be shared by prompts with "
                f"the same beginning; each is read whole"
            )

    @torch.inference_mode()
    def score(self, prompts: Sequence[Sequence[int]], options: Sequence[int]) -> np.ndarray:
        """See `OptionScorer`."""
        scores = np.empty((len(prompts), len(options)), dtype=np.float32)
        self.usage.prompts += len(prompts)
        self.usage.tokens += sum(map(len, prompts))
        alone: list[int] = []
        for start, stop, shared in shared_beginnings(prompts):
            longest = max(map(len, prompts[start:stop]))
            if stop - start == 1 or not self.plain_cache or longest > self.alike_up_to:
                alone += range(start, stop)
                continue
            self.usage.cached_tokens += (stop - start - 1) * shared
            beginning = self._cache(prompts[start][:shared])
            rest = [prompt[shared:] for prompt in prompts[start:stop]]
            for batch in self._batches(rest):
                cache = repeated(beginning, len(batch))
                scores[[start + i for i in batch]] = self._last([rest[i] for i in batch], options, cache)
        lonely = [prompts[i] for i in alone]
        for batch in self._batches(lonely, self.alike_up_to):
            self._forget_length()
            scores[[alone[i] for i in batch]] = self._last([lonely[i] for i in batch], options)
        return scores

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[str]:
        """See `OptionScorer`."""
        texts = [""] * len(prompts)
        # What is written follows the prompt, so shorter prompts are padded on the left: only where that is exact.
        alike = self.alike_up_to - max_tokens if self.plain_cache else 0
        for batch in self._batches(prompts, alike):
            self._forget_length()
            ids, mask = self._padded([prompts[i] for i in batch])
            written = self.model.generate(input_ids=ids, attention_mask=mask, max_new_tokens=max_tokens)
            decoded = self.tokenizer.batch_decode(written[:, ids.shape[1] :], skip_special_tokens=True)
            for i, text in zip(batch, decoded, strict=True):
                texts[i] = text
            self.usage.written_tokens += int((written[:, ids.shape[1] :] != self._pad).sum())
        self.usage.prompts += len(prompts)
        self.usage.tokens += sum(map(len, prompts))
        return texts

    def _greedy(self, published: GenerationConfig) -> GenerationConfig:
        """How vLLM writes, too: token by token the most likely, to an end that the model or its tokenizer names.

        What else a model's generation_config.json asks for (penalties, beams) is left out.
        """
        named = published.eos_token_id
        ends = {*(named if isinstance(named, list) else [named]), self.tokenizer.eos_token_id} - {None}
        return GenerationConfig(do_sample=False, eos_token_id=sorted(ends) or None, pad_token_id=self._pad)

    def _batches(self, prompts: Sequence[Sequence[int]], alike_up_to: float = float("inf")) -> Iterator[list[int]]:
        """Indices of prompts of like length, so that little is padded; of the same length above so many tokens."""
        batch: list[int] = []
        for i in sorted(range(len(prompts)), key=lambda i: len(prompts[i])):
            unlike = batch and len(prompts[i]) > alike_up_to and len(prompts[i]) != len(prompts[batch[-1]])
            if unlike or len(batch) == self.batch_size:
                yield batch
                batch = []
            batch.append(i)
        if batch:
            yield batch

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
        """Keys and values of every token: a sliding window's own cache would drop those of the wrong end."""
        cache = DynamicCache(config=self.model.config)
        cache.layers = [DynamicLayer() for _ in cache.layers]
        ids = torch.tensor([list(beginning)], device=self.model.device)
        self.model(input_ids=ids, past_key_values=cache, use_cache=True, **self._keep([-1]))
        return cache

    def _cache_is_plain(self) -> bool:
        """Whether the model keeps keys and values of its tokens and nothing else, and goes on from them rightly.

        Recurrent layers keep a state. What a model of its own code does is seen from a trial.
        """
        kinds = {type(layer) for layer in DynamicCache(config=self.model.config).layers}
        if not kinds <= {DynamicLayer, DynamicSlidingWindowLayer}:
            return False
        shared, rests = TRIED
        prompts = [
            [token % self.model.config.get_text_config().vocab_size for token in range(shared + n)] for n in rests
        ]
        with torch.inference_mode():
            whole = torch.stack([self._logits([prompt])[0] for prompt in prompts])
            try:
                cache = repeated(self._cache(prompts[0][:shared]), len(prompts))
                together = self._logits([prompt[shared:] for prompt in prompts], cache)
            except Exception:  # a cache of its own: models raise whatever theirs lacks
                return False
        noise = max(1e-3, 30 * torch.finfo(self.model.dtype).eps)
        return bool((whole - together).abs().mean() < noise * whole.std())

    def _forget_length(self) -> None:
        """Dynamic RoPE goes on with the angles of the longest text so far; a short one makes it begin anew."""
        if self.alike_up_to < float("inf"):
            self.model(input_ids=torch.tensor([[self._pad]], device=self.model.device), use_cache=False)

    def _keep(self, places: list[int]) -> dict[str, Any]:
        return {"logits_to_keep": torch.tensor(places, device=self.model.device)} if self.keeps else {}

    def _logits(self, prompts: Sequence[Sequence[int]], cache: DynamicCache | None = None) -> torch.Tensor:
        """Logits behind each prompt's last token: float32 [n_prompts, vocabulary]."""
        longest = max(map(len, prompts))
        ids = torch.tensor(
            [[*prompt, *[self._pad] * (longest - len(prompt))] for prompt in prompts], device=self.model.device
        )
        places = sorted({len(prompt) - 1 for prompt in prompts})
        given = {"past_key_values": cache} if cache is not None else {}
        logits = self.model(input_ids=ids, use_cache=cache is not None, **given, **self._keep(places)).logits
        ends = [places.index(len(prompt) - 1) if self.keeps else len(prompt) - 1 for prompt in prompts]
        found: torch.Tensor = logits[range(len(prompts)), ends].float()
        return found

    def _last(
        self, prompts: Sequence[Sequence[int]], options: Sequence[int], cache: DynamicCache | None = None
    ) -> np.ndarray:
        """Log-probabilities over the options behind the last token: float32 [n_prompts, n_options]."""
        logits = self._logits(prompts, cache)
        wanted = logits[:, list(options)]
        shares = (wanted.logsumexp(-1) - logits.logsumexp(-1)).exp().tolist()
        for share, likeliest in zip(shares, logits.argmax(-1).tolist(), strict=True):
            rather = "" if likeliest in options else self.tokenizer.decode([likeliest], skip_special_tokens=False)
            self.usage.shares.append((share, rather))
        found: np.ndarray = wanted.log_softmax(-1).cpu().numpy()
        return found


def repeated(cache: DynamicCache, times: int) -> DynamicCache:
    """A cache of one row as one of `times` rows; the original stays as it is."""
    rows = copy.deepcopy(cache)
    rows.batch_repeat_interleave(times)
    return rows


def unstretched_length(text_config: Any) -> float:
    """Returns up to how many tokens prompts of unlike length can be read together; endless but for stretched RoPE.

    Its angles come from the longest prompt of a batch, and a cache keeps those of what was read first.
    """
    rope = getattr(text_config, "rope_parameters", None) or {}
    every = [rope, *(each for each in rope.values() if isinstance(each, dict))]
    if not any(each.get("rope_type") in STRETCHED for each in every):
        return float("inf")
    named = [each["original_max_position_embeddings"] for each in every if "original_max_position_embeddings" in each]
    own = getattr(text_config, "original_max_position_embeddings", None) or text_config.max_position_embeddings
    return float(min([*named, own]))
