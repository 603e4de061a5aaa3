"""The transformers engine: where there is no vLLM, and the oracle that the other is held to.

Prompts that share their beginning are one sequence (`packing`). Rows of a batch are padded on the right: what follows
a token never changes it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, GenerationConfig

from cascade.config.schema import LanguageModel
from cascade.models import adapters, precision
from cascade.models.prompters import DEFAULT_LENGTH, load_tokenizer
from cascade.processes.workers import DeviceSlot
from cascade.scorers import one_pass, packing
from cascade.scorers.base import Usage
from cascade.scorers.packing import Block
from cascade.scorers.shares import MEASURED

STRETCHED = ("longrope", "dynamic")  # kinds of RoPE whose angles change with the length of what is read


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
        self.measured = False
        self.packs = one_pass.can_pack(self.model, self._pad)
        if not self.packs:
            print(
                f"model '{model.model}': a {self.model.config.model_type} cannot read prompts with the same beginning "
                f"as one; each is read whole"
            )

    @torch.inference_mode()
    def score(self, prompts: Sequence[Sequence[int]], options: Sequence[int]) -> np.ndarray:
        """See `OptionScorer`."""
        scores = np.empty((len(prompts), len(options)), dtype=np.float32)
        for batch in self._packed(prompts):
            logits = self._logits(batch, options)
            scores[[number for block in batch for number in block.prompts]] = logits.log_softmax(-1).cpu().numpy()
            self.usage.cached_tokens += sum((len(block.prompts) - 1) * len(block.beginning) for block in batch)
            if not self.measured:
                self.measured = True
                self._measure(batch, options)
        self.usage.prompts += len(prompts)
        self.usage.tokens += sum(map(len, prompts))
        return scores

    @torch.inference_mode()
    def generate(self, prompts: Sequence[Sequence[int]], max_tokens: int) -> list[str]:
        """See `OptionScorer`."""
        texts = [""] * len(prompts)
        # What is written follows the prompt, so shorter prompts are padded on the left: only where that is exact.
        alike = self.alike_up_to - max_tokens if self.packs else 0
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

    def _packed(self, prompts: Sequence[Sequence[int]]) -> Iterator[list[Block]]:
        """Batches of blocks, each of at most as many tokens as `batch_size` of the longest prompt have."""
        budget = self.batch_size * max(map(len, prompts), default=0)
        given = list(packing.blocks(prompts, budget if self.packs else 0))
        for alone in (False, True):
            some = [block for block in given if block.longest <= self.alike_up_to and (not block.beginning) == alone]
            yield from packing.batches(some, budget)
        stretched = [number for block in given if block.longest > self.alike_up_to for number in block.prompts]
        stretched.sort(key=lambda number: len(prompts[number]))
        for _, alike in groupby(stretched, key=lambda number: len(prompts[number])):
            yield from packing.batches([Block([number], [], [prompts[number]]) for number in alike], budget)

    def _batches(self, prompts: Sequence[Sequence[int]], alike_up_to: float) -> Iterator[list[int]]:
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

    def _logits(self, given: Sequence[Block], tokens: Sequence[int] | None = None) -> torch.Tensor:
        """Logits behind each prompt's last token, of these tokens or of all: float32 [n_prompts, n_tokens]."""
        self._forget_length()
        with self._only(tokens) as columns:
            found: torch.Tensor = one_pass.logits(self.model, given, self._pad)[:, columns].float()
        return found

    def _forget_length(self) -> None:
        """Dynamic RoPE goes on with the angles of the longest text so far; a short one makes it begin anew."""
        if self.alike_up_to < float("inf"):
            self.model(input_ids=torch.tensor([[self._pad]], device=self.model.device), use_cache=False)

    @contextmanager
    def _only(self, tokens: Sequence[int] | None) -> Iterator[Any]:
        """Has the head compute the logits of these tokens alone; yields which columns of its output they are.

        What a model does with its logits (a cap, a scale) it does as ever.
        """
        head = self.model.get_output_embeddings()
        if tokens is None or type(head) is not torch.nn.Linear:
            yield slice(None) if tokens is None else list(tokens)
            return
        weight, bias = head.weight[list(tokens)], None if head.bias is None else head.bias[list(tokens)]
        # Of this instance, and so before its class's own.
        head.__dict__["forward"] = lambda hidden: torch.nn.functional.linear(hidden, weight, bias)
        try:
            yield slice(None)
        finally:
            del head.__dict__["forward"]

    def _measure(self, batch: Sequence[Block], options: Sequence[int]) -> None:
        """Reads some prompts once more, for all of the vocabulary, for the share that the options have of it."""
        some: list[Block] = []
        left = MEASURED
        for block in batch:
            if left > 0:
                some.append(Block(block.prompts[:left], block.beginning, block.rests[:left]))
                left -= len(block.prompts)
        logits = self._logits(some)
        shares = (logits[:, list(options)].logsumexp(-1) - logits.logsumexp(-1)).exp().tolist()
        for share, likeliest in zip(shares, logits.argmax(-1).tolist(), strict=True):
            rather = "" if likeliest in options else self.tokenizer.decode([likeliest], skip_special_tokens=False)
            self.usage.shares.append((share, rather))


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
