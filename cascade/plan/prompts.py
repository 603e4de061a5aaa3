"""How many tokens the prompts of an LLM stage have, and how many of them its engine reads only once.

Found by what the stage itself would ask of a few real queries with random candidates.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from math import floor
from typing import Any

import numpy as np

from cascade.base.errors import ModelError
from cascade.competitions.base import Task
from cascade.config.schema import Config, LanguageModel, LLMPipeline, Reason
from cascade.models import locate, placement, prompters
from cascade.models.checks.language_models import state_of
from cascade.models.prompts import Prompter, query_fields
from cascade.plan.tokenizer import open_tokenizer
from cascade.rerankers.asking import ask
from cascade.rerankers.base import Answer, Given, Question, answered
from cascade.scorers.prefixes import shared_beginnings

SAMPLE = 48  # queries, evenly over the lengths of all: their mean is then that of all within a few per cent
BLOCK, CPU_BLOCK = 16, 128  # tokens that vLLM's cache keeps together by default, on CUDA and on a CPU


@dataclass(frozen=True)
class Counts:
    """Means of one query: its prompts, their tokens, and those of the tokens that a shared beginning saves."""

    prompts: float = 0.0
    tokens: float = 0.0
    cached: float = 0.0

    def mixed(self, other: Counts, share: float) -> Counts:
        """`share` of `other` and the rest of this."""
        return Counts(
            self.prompts + share * (other.prompts - self.prompts),
            self.tokens + share * (other.tokens - self.tokens),
            self.cached + share * (other.cached - self.cached),
        )


class PromptCounter:
    """Counts for one config and its data; what has been counted is kept, as re-planning asks for it again."""

    def __init__(self, config: Config, task: Task, characters_per_token: float, written: float) -> None:
        self.config = config
        self.task = task
        self.characters_per_token = characters_per_token
        texts = task.queries["text"].tolist()
        order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))
        middles = (np.arange(min(SAMPLE, len(order))) + 0.5) * len(order) / min(SAMPLE, len(order))
        rows = task.queries.iloc[[order[floor(middle)] for middle in middles]]
        self.queries = [(str(row["query_id"]), query_fields(row)) for row in rows.to_dict("records")]
        self.written = written
        self._kept: dict[tuple[str, int], Counts] = {}
        self._prompters: dict[str, Prompter] = {}
        self.unread: set[str] = set()

    def of_pipeline(self, pipeline: LLMPipeline, candidates: float, with_reason: bool) -> Counts:
        """A query with so many candidates, on average, costs."""
        few = floor(candidates)
        counts = self._whole(pipeline, few, with_reason)
        return (
            counts if few == candidates else counts.mixed(self._whole(pipeline, few + 1, with_reason), candidates - few)
        )

    def _whole(self, pipeline: LLMPipeline, candidates: int, with_reason: bool) -> Counts:
        if candidates < 1:
            return Counts()
        key = pipeline.model_dump_json(exclude={"top_k", "select", "limit", "enabled"}) + str(with_reason), candidates
        if key not in self._kept:
            rng = np.random.default_rng(candidates)
            names = dict(enumerate(self.task.labels["text"].tolist()))
            given = [
                Given(
                    query,
                    self._reasoned(fields) if with_reason else fields,
                    rng.permutation(len(names))[:candidates].tolist(),
                )
                for query, fields in self.queries
            ]
            asked: list[list[Question]] = []

            def count(questions: list[Question]) -> list[Answer]:
                """The last option is the best: any is, before there is a score."""
                asked.append(questions)
                return [np.tile(np.arange(options), (len(variants), 1)) for _, variants, options in questions]

            answered(ask(pipeline, given, names), count)
            self._kept[key] = self._count(pipeline, asked)
        return self._kept[key]

    def of_reason(self, reason: Reason) -> Counts:
        key = reason.model_dump_json(exclude={"limit", "enabled"}), 0
        if key not in self._kept:
            self._kept[key] = self._count(reason, [[Question(query, [fields]) for query, fields in self.queries]])
        return self._kept[key]

    def reasoned(self, text: str) -> str:
        """A stand-in for what is written about a query, as long as that is expected to be, from the query's words."""
        length = max(1, round(self.written * self.characters_per_token))
        return (f"{text} " * (length // (len(text) + 1) + 1))[:length]

    def _reasoned(self, fields: dict[str, Any]) -> dict[str, Any]:
        return {**fields, "reason": self.reasoned(fields[self.task.competition.fields[-1]])}

    def _count(self, model: LanguageModel, asked: Sequence[Sequence[Question]]) -> Counts:
        """Of what the engine is asked, call by call."""
        prompter = self._prompter(model)
        called = [[ids for query, variants, _ in call for ids in prompter.fit(query, variants)[0]] for call in asked]
        prompts = sum(map(len, called))
        tokens = sum(len(ids) for call in called for ids in call)
        if self.config.engine == "transformers":
            apart = isinstance(model, Reason) or self._keeps_state(model)
            cached = 0 if apart else sum(map(_read_together, called))
        else:
            cached = _found_in_blocks(called, self._block(model))
        return Counts(*(count / len(self.queries) for count in (prompts, tokens, cached)))

    def _keeps_state(self, model: LanguageModel) -> bool:
        """Whether the transformers engine reads each prompt whole, as recurrent layers keep what no other can share."""
        try:
            folder = locate.model_path(model.model, self.config.path.parent)
        except ModelError:
            return False
        settings = locate.read_json(folder / "config.json", model.model)
        return bool(state_of(settings.get("text_config", settings)))

    def _block(self, model: LanguageModel) -> int:
        """Tokens of a block of vLLM's prefix cache; 0 where that is off."""
        arguments = {**self.config.vllm, **model.vllm}
        if not arguments.get("enable_prefix_caching", True):
            return 0
        on_cpu = (
            placement.device_list(self.config)[0] == "cpu"
            if self.config.devices is None
            else (self.config.devices[0] == "cpu")
        )
        return int(arguments.get("block_size", CPU_BLOCK if on_cpu else BLOCK))

    def _prompter(self, model: LanguageModel) -> Prompter:
        kind = getattr(model, "kind", "")
        key = model.model_dump_json(include={"model", "prompt", "max_length", "chat_template"}) + kind
        if key not in self._prompters:
            tokenizer, folder = open_tokenizer(model.model, self.config, self.characters_per_token)
            if folder is None:
                self.unread.add(model.model)
            length = prompters.context_length(model, folder)
            self._prompters[key] = prompters.open_prompter(model, self.config, tokenizer, length)
        return self._prompters[key]


def _read_together(prompts: Sequence[Sequence[Hashable]]) -> int:
    """Tokens that the transformers engine reads once for several prompts."""
    return sum((stop - start - 1) * shared for start, stop, shared in shared_beginnings(prompts) if stop - start > 1)


def _found_in_blocks(called: Sequence[Sequence[Sequence[Hashable]]], block: int) -> int:
    """Tokens that vLLM finds in its cache: whole blocks, of any earlier prompt, never a prompt's last token."""
    if not block:
        return 0
    known: set[int] = set()
    found = 0
    for ids in (ids for call in called for ids in call):
        blocks = list(_chained(ids, block))
        usable = blocks[: (len(ids) - 1) // block]
        found += block * next((n for n, each in enumerate(usable) if each not in known), len(usable))
        known.update(blocks)
    return found


def _chained(ids: Sequence[Hashable], block: int) -> Iterator[int]:
    """A name of each whole block, made of it and of all before it."""
    name = 0
    for start in range(0, len(ids) - block + 1, block):
        name = hash((name, *ids[start : start + block]))
        yield name
