"""What each stage of a run has to do: computed from the config, the data folder and the number of queries."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cascade.base.errors import PlanError
from cascade.competitions.base import Task
from cascade.config.parts import ClassifierPart, EmbeddingModel
from cascade.config.schema import (
    ENSEMBLE,
    REASON,
    AnyPipeline,
    Config,
    CrossEncoderPipeline,
    LanguageModel,
    Retrieval,
)
from cascade.models import adapters, locate
from cascade.models.prompters import DEFAULT_LENGTH
from cascade.models.prompts import Template, query_fields
from cascade.plan.profile import Kind, Measured, Profile
from cascade.plan.prompts import PromptCounter
from cascade.plan.selected import Selected, selected
from cascade.plan.tokenizer import open_tokenizer


@dataclass(frozen=True)
class Work:
    """One kind of work within a stage. Counts are of the whole stage.

    prompts: prompts, texts, pairs or queries, as the kind of its `cascade.plan.profile.Rate` says. spread: of the
    counts, where they rest on an assumption. loads: whether the model, or what the kind stands for, has to start.
    settings: of an LLM, what `cascade.plan.profile.Rate` can name.
    """

    kind: Kind
    model: str = ""
    prompts: float = 0.0
    tokens: float = 0.0
    cached: float = 0.0
    written: float = 0.0
    loads: bool = False
    spread: float = 0.0
    settings: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class StageWork:
    """A stage as the ledger names it; `queries` and `candidates` a query of a pipeline, on average."""

    name: str
    works: tuple[Work, ...]
    limit: float | None = None
    queries: float = 0.0
    candidates: float = 0.0
    notes: tuple[str, ...] = ()


NOTEBOOK = Work("notebook", loads=True)
INSTALL, ZERO = "install", "zero"


class Planner:
    """Works out one config's stages; keeps what it counted, for the same config with another setting.

    `queries`: how many to plan for; the data's own texts stand for theirs. PlanError for none.
    """

    def __init__(self, config: Config, task: Task, profile: Profile, queries: int | None = None) -> None:
        self.task = task
        self.queries = len(task.queries) if queries is None else queries
        if self.queries < 1:
            mend = "pass --queries with 1 or more, or leave it out"
            raise PlanError(f"{self.queries} queries leave nothing to plan", mend=mend)
        written = (config.reason.max_tokens * profile.assumed.written) if config.reason is not None else 0.0
        self.counter = PromptCounter(config, task, profile.characters_per_token, written)
        self._texts: dict[tuple[str, str], tuple[float, float]] = {}

    def stages(self, config: Config, profile: Profile) -> list[StageWork]:
        """The enabled stages in the order they run, after the installation and submission zero."""
        labels = len(self.task.labels)
        found = [
            StageWork(INSTALL, (Work("install", loads=True),)),
            StageWork(ZERO, (Work("zero", prompts=self.queries + labels),), queries=self.queries),
        ]
        if config.reason is not None and config.reason.enabled:
            found.append(self._reason(config, profile))
        embedded: set[tuple[str, ...]] = set()
        found += [self._retrieval(config, profile, retrieval, embedded) for retrieval in config.retrieval]
        sizes = {retrieval.name: self._candidates(retrieval.top_k) for retrieval in config.retrieval}
        for pipeline in config.pipeline:
            taken = selected(pipeline, config, profile, sizes)
            if not pipeline.enabled:  # it stands for what it would have read
                below = (pipeline.select and pipeline.select.by) or pipeline.candidates
                sizes[pipeline.name] = sizes[below]
                continue
            sizes[pipeline.name] = taken.candidates
            found.append(self._pipeline(config, profile, pipeline, taken))
        fusion = Work("fusion", prompts=self.queries)
        return [*found, StageWork(ENSEMBLE, (NOTEBOOK, fusion), config.ensemble.limit, self.queries)]

    def _candidates(self, top_k: int) -> float:
        """Of a query in a retrieval's table, on average: some can have fewer labels than it would rank."""
        labels = len(self.task.labels)
        if self.task.allowed is None:
            return float(min(top_k, labels))
        return float(np.mean([min(top_k, len(self.task.labels_of(query))) for query in self.task.queries["query_id"]]))

    def _reason(self, config: Config, profile: Profile) -> StageWork:
        reason = config.reason
        assert reason is not None
        measured = profile.measured_of(REASON)
        fact = measured or Measured(stage=REASON)
        counts = self.counter.of_reason(reason)
        work = Work(
            "llm", adapters.base_name(reason.model), counts.prompts * self.queries,
            counts.tokens * self.queries * fact.tokens, counts.cached * self.queries * fact.cached,
            self.queries * reason.max_tokens * profile.assumed.written * fact.written,
            loads=True, spread=0.0 if measured else profile.assumed.spread, settings=_settings(config, reason),
        )  # fmt: skip
        notes = () if measured else (f"an answer is assumed to be {profile.assumed.written:.0%} of max_tokens long",)
        return StageWork(REASON, (NOTEBOOK, work), reason.limit, self.queries, notes=notes)

    def _retrieval(
        self, config: Config, profile: Profile, retrieval: Retrieval, embedded: set[tuple[str, ...]]
    ) -> StageWork:
        """`embedded` has what earlier retrievals have left in the run's cache of embeddings."""
        works = [NOTEBOOK, Work("blend", prompts=self.queries)]
        loaded = ""
        with_reason = config.reason is not None and config.reason.enabled
        for part in retrieval.retriever:
            encoder = part.embeddings if isinstance(part, ClassifierPart) else part
            if isinstance(part, ClassifierPart) and not self.task.train.empty:
                works.append(Work("classifier", part.learner, len(self.task.train) + self.queries))
            if not isinstance(encoder, EmbeddingModel):
                continue
            model = encoder.model_dump_json(include=set(EmbeddingModel.model_fields) - {"query_prompt", "batch_size"})
            holder = encoder.model_dump_json(include=set(EmbeddingModel.model_fields) - {"query_prompt"})
            wanted = (
                [("labels", getattr(encoder, "passage_prompt", "")), ("test", encoder.query_prompt)]
                if part.kind == "dense" else [("train", encoder.query_prompt), ("test", encoder.query_prompt)]
            )  # fmt: skip
            for what, prompt in wanted:
                read = "" if what == "labels" else f"{retrieval.query_text} {with_reason and what == 'test'}"
                key = (model, prompt, what, read)
                if key in embedded or (what == "train" and self.task.train.empty):
                    continue
                embedded.add(key)
                texts, tokens = self._text_counts(config, profile, encoder, retrieval.query_text, what, with_reason)
                name = adapters.base_name(encoder.model)
                works.append(Work("embedding", name, texts, tokens, loads=loaded != holder))
                loaded = holder
        return StageWork(retrieval.stage, tuple(works), retrieval.limit, self.queries)

    def _text_counts(
        self, config: Config, profile: Profile, part: EmbeddingModel, query_text: str | None, what: str, reason: bool
    ) -> tuple[float, float]:
        """How many distinct texts, and how many tokens they have together."""
        prompt = getattr(part, "passage_prompt", "") if what == "labels" else part.query_prompt
        key = (part.model_dump_json(include={"model", "max_length"}), f"{query_text} {what} {reason} {prompt}")
        if key not in self._texts:
            tokenizer, folder = open_tokenizer(part.model, config, profile.characters_per_token)
            if folder is None:
                self.counter.unread.add(part.model)
            settings = folder / "sentence_bert_config.json" if folder is not None else None
            own = locate.read_json(settings, part.model) if settings is not None and settings.is_file() else {}
            longest = part.max_length or own.get("max_seq_length") or DEFAULT_LENGTH
            texts = sorted(set(self._read(config, query_text, what, reason)))
            tokens = sum(min(longest, n) for n in tokenizer.count([prompt + text for text in texts]))
            scale = self.queries / len(self.task.queries) if what == "test" else 1.0
            self._texts[key] = (len(texts) * scale, tokens * scale)
        return self._texts[key]

    def _read(self, config: Config, query_text: str | None, what: str, reason: bool) -> list[str]:
        if what == "labels":
            return [str(name) for name in self.task.labels["text"]]
        rows = self.task.queries if what == "test" else self.task.train
        if query_text is None:
            return rows["text"].tolist()
        template = Template(config.path.parent / query_text, self.task.competition.fields)
        fields = [query_fields(row) for row in rows.to_dict("records")]
        if reason and what == "test":
            fields = [
                {**each, "reason": self.counter.reasoned(each[self.task.competition.fields[-1]])} for each in fields
            ]
        return [template.text(each) for each in fields]

    def _pipeline(self, config: Config, profile: Profile, pipeline: AnyPipeline, taken: Selected) -> StageWork:
        fact = profile.measured_of(pipeline.stage) or Measured(stage=pipeline.stage)
        queries = taken.share * self.queries
        spread = taken.spread
        if isinstance(pipeline, CrossEncoderPipeline):
            work = Work(
                "cross-encoder",
                adapters.base_name(pipeline.model),
                queries * taken.candidates,
                loads=True,
                spread=spread,
            )
        else:
            with_reason = config.reason is not None and config.reason.enabled
            counts = self.counter.of_pipeline(pipeline, taken.candidates, with_reason)
            tokens = counts.tokens * queries * fact.tokens
            work = Work(
                "llm", adapters.base_name(pipeline.model), counts.prompts * queries, tokens,
                min(tokens, counts.cached * queries * fact.cached), loads=True, spread=spread,
                settings=_settings(config, pipeline),
            )  # fmt: skip
        return StageWork(pipeline.stage, (NOTEBOOK, work), pipeline.limit, queries, taken.candidates, taken.notes)


def _settings(config: Config, model: LanguageModel) -> tuple[tuple[str, str], ...]:
    """The variables of the environment, and the engine arguments that are names."""
    arguments = {**config.vllm, **model.vllm} if config.engine == "vllm" else {}
    named = {name: value for name, value in arguments.items() if isinstance(value, str)}
    return tuple(sorted({**config.environment, **named}.items()))
