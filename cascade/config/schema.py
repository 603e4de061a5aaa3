"""One TOML file is one whole run. Every key is declared here, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar

from pydantic import Field, ValidationError, model_validator

from cascade.base.errors import ConfigError, nearest
from cascade.base.runtime import COMPETITION
from cascade.config.messages import explained, read
from cascade.config.parts import (
    CODE,
    Adapted,
    AllowedPart,
    ClassifierPart,
    ConfigModel,
    DensePart,
    EmbeddingModel,
    Encoder,
    NeighboursPart,
    Part,
    TfidfPart,
)
from cascade.config.selecting import LOG_ODDS, PROBABILITIES, RANKS, Select
from cascade.config.timing import Time
from cascade.config.values import (
    Arguments,
    Device,
    Engine,
    Limit,
    Name,
    Variable,
    Weight,
)

ENSEMBLE, REASON = "ensemble", "reason"
# What is said of a key wherever it stands.
LIMIT = 'the most time that the stage may take, such as "10m"; default: its share of the time left'
CHUNK = "how many queries are finished and written to disk before the next ones begin"


class NamedStage(ConfigModel):
    """A stage of which a config may have several: `notebook` runs it, and it leaves a `ranking`."""

    notebook: ClassVar[str]
    ranking: ClassVar[str]
    name: Name = Field(description="the name that other stages and the ensemble use")

    @property
    def stage(self) -> str:
        """The stage's name in the ledger, the plan and the logs."""
        return f"{self.notebook}-{self.name}"

    @property
    def table(self) -> str:
        """The file that the stage leaves in the run's folder."""
        return f"{self.ranking}-{self.name}.parquet"


class Retrieval(NamedStage):
    """A weighted blend of retrievers, which gives each query its candidates."""

    notebook: ClassVar[str] = "retrieve"
    ranking: ClassVar[str] = "candidates"
    top_k: int = Field(default=100, gt=0, description="candidates for each query")
    query_text: str | None = Field(default=None, description="template of the query's text; default: the competition's")
    limit: Limit | None = Field(default=None, description=LIMIT)
    retriever: list[Part] = Field(min_length=1, description="the retrievers: tables [[retrieval.retriever]]")


class LanguageModel(Adapted):
    """A causal language model and the template of its prompts."""

    prompt: str = Field(description="file of the prompt template, relative to the config")
    parallel: Literal["data", "tensor"] = Field(default="data", description="one copy on each device, or one over all")
    max_length: int | None = Field(
        default=None, ge=64, description="most tokens, with the answer; default: the model's"
    )
    batch_size: int = Field(default=16, gt=0, description="prompts in one batch (transformers engine only)")
    trust_remote_code: bool = Field(default=False, description=CODE)
    chat_template: dict[str, Any] = Field(default_factory=dict, description="arguments for the model's chat template")
    vllm: Arguments = Field(default_factory=dict, description="vLLM arguments of this stage; they override `[vllm]`")


class Reason(LanguageModel):
    """Lets an LLM write one short text about each query before retrieval."""

    enabled: bool = Field(default=True, description="whether the stage runs")
    max_tokens: int = Field(default=64, gt=0, description="most tokens of the text")
    limit: Limit | None = Field(default=None, description=LIMIT)
    chunk: int = Field(default=16, gt=0, description=CHUNK)

    name: ClassVar[str] = REASON
    stage: ClassVar[str] = REASON
    notebook: ClassVar[str] = REASON
    table: ClassVar[str] = "reasons.parquet"


class Pipeline(NamedStage):
    """The keys that every reranker has."""

    notebook: ClassVar[str] = "rerank"
    ranking: ClassVar[str] = "ranking"
    candidates: str = Field(description="the retrieval or earlier pipeline to rerank")
    top_k: int = Field(default=25, gt=0, description="how many candidates of each query are scored")
    select: Select | None = Field(default=None, description="the table [pipeline.select]: what to leave out")
    enabled: bool = Field(default=True, description="whether the stage runs; else later stages read its input")
    limit: Limit | None = Field(default=None, description=LIMIT)
    chunk: int = Field(default=16, gt=0, description=CHUNK)

    @property
    def scale(self) -> str:
        """What its scores are: probabilities, log-odds or 1/rank."""
        return PROBABILITIES


class CrossEncoderPipeline(Pipeline, Encoder):
    """Scores query and label together with a transformer encoder."""

    kind: Literal["cross-encoder"]
    head: Literal["classifier", "segments"] = Field(
        default="classifier", description="the model's classifier, or the cosine of the two texts' mean token vectors"
    )


class AskedPipeline(Pipeline, LanguageModel):
    """The keys of a reranker that asks an LLM."""

    canary_bound: float = Field(
        default=0.5, gt=0, description="how far scores may be from the canaries', as a mean change of the log-odds"
    )


class PointwisePipeline(AskedPipeline):
    """Asks an LLM about one candidate at a time: yes or no."""

    kind: Literal["pointwise"]
    options: list[Annotated[str, Field(min_length=1)]] = Field(
        default=["Yes", "No"], min_length=2, max_length=2, description="the two possible answers, yes first"
    )
    scores: Literal["probabilities", "logits"] = Field(
        default="probabilities", description="P(yes), or the log-odds of yes to no (natural logarithm)"
    )
    normalise: Literal["query", "rank"] | None = Field(
        default=None,
        description="`query`: scores of a query add up to 1 (softmax of the log-odds); `rank`: a score is the share of "
        "all queries' scores that are not higher",
    )
    by: str | None = Field(
        default=None, description="for `rank`: a field of the competition, whose texts part the queries into groups"
    )

    @property
    def scale(self) -> str:
        return LOG_ODDS if self.scores == "logits" else PROBABILITIES

    @model_validator(mode="after")
    def one_scale(self) -> PointwisePipeline:
        if self.scores == "logits" and self.normalise is not None:
            raise ValueError(f"scores = 'logits' and normalise = '{self.normalise}' exclude each other; keep one")
        if self.by is not None and self.normalise != "rank":
            raise ValueError("by parts the queries for ranks; add normalise = 'rank', or remove by")
        return self


class ListwisePipeline(AskedPipeline):
    """Asks an LLM for the best of up to 52 candidates, each with a letter."""

    kind: Literal["listwise"]
    window: int = Field(default=40, ge=2, le=52, description="candidates in one prompt")
    stride: int | None = Field(default=None, gt=0, description="step to the next window; default: half a window")
    reverse: bool = Field(default=False, description="also asks in reverse order, and averages the scores")

    @model_validator(mode="after")
    def windows_meet(self) -> ListwisePipeline:
        if self.stride is not None and self.stride > self.window:
            raise ValueError(f"stride {self.stride} leaves gaps between windows of {self.window}; lower it")
        return self


class TournamentPipeline(AskedPipeline):
    """Asks an LLM for the best of a few candidates; the winner meets the next ones, from last to first."""

    kind: Literal["tournament"]
    group: int = Field(default=9, ge=2, le=52, description="candidates in one prompt")

    @property
    def scale(self) -> str:
        return RANKS


LLMPipeline = PointwisePipeline | ListwisePipeline | TournamentPipeline
AnyPipeline = Annotated[CrossEncoderPipeline | LLMPipeline, Field(discriminator="kind")]
AnyModel = Reason | EmbeddingModel | CrossEncoderPipeline | LLMPipeline


class Ensemble(ConfigModel):
    """Fuses the rankings of retrievals and pipelines; ties follow the order of the weights."""

    weights: dict[str, Weight] = Field(min_length=1, description="a weight for each retrieval or pipeline to fuse")
    unseen_boost: Weight | None = Field(default=None, description="factor for labels that no train query has")
    unseen_share: float | None = Field(
        default=None, ge=0, le=1, description="instead of a factor: the share of unseen labels in first place to reach"
    )
    limit: Limit | None = Field(default=None, description=LIMIT)

    name: ClassVar[str] = ENSEMBLE
    stage: ClassVar[str] = ENSEMBLE
    notebook: ClassVar[str] = ENSEMBLE
    table: ClassVar[str] = "ranking-ensemble.parquet"

    @model_validator(mode="after")
    def one_boost(self) -> Ensemble:
        if self.unseen_boost is not None and self.unseen_share is not None:
            raise ValueError("unseen_boost and unseen_share exclude each other; keep one")
        return self


AnyStage = Reason | Retrieval | AnyPipeline | Ensemble


class Config(ConfigModel):
    """Describes a whole run; relative paths start at the config's folder."""

    competition: str = Field(default=COMPETITION, description="its name, or the path of an adaptor's .py file")
    time: Time = Field(default=Time(), description="the run's time: the table [time]")
    devices: list[Device] | None = Field(
        default=None, min_length=1, description="devices to use; default: every visible GPU, else the CPU"
    )
    adapters: str = Field(default="adapters", description="folder of the LoRA adapters, relative to the config")
    engine: Engine = Field(default="vllm", description="the library that runs every LLM")
    vllm: Arguments = Field(default_factory=dict, description="vLLM arguments of every LLM")
    environment: dict[Variable, str] = Field(
        default_factory=dict, description="variables of the model processes' environment"
    )
    reason: Reason | None = Field(default=None, description="the reasoning stage: the table [reason]")
    retrieval: list[Retrieval] = Field(min_length=1, description="the retrievals: tables [[retrieval]]")
    pipeline: list[AnyPipeline] = Field(default_factory=list, description="the rerankers: tables [[pipeline]]")
    ensemble: Ensemble = Field(description="the fusion of the rankings: the table [ensemble]")
    path: Path = Field(Path(), exclude=True)

    @model_validator(mode="after")
    def names_fit(self) -> Config:
        earlier: dict[str, Retrieval | Pipeline] = {}
        for stage in (*self.retrieval, *self.pipeline):
            if stage.name in (ENSEMBLE, REASON):
                raise ValueError(f"the name '{stage.name}' is reserved for another stage; choose another")
            if stage.name in earlier:
                raise ValueError(
                    f"the name '{stage.name}' is used twice; choose a different name for each retrieval and pipeline"
                )
            if isinstance(stage, Pipeline):
                if stage.candidates not in earlier:
                    raise ValueError(
                        f"pipeline '{stage.name}': candidates = '{stage.candidates}' is neither a retrieval nor an "
                        f"earlier pipeline{nearest(stage.candidates, earlier)}; use one that comes before it"
                    )
                self._check_select(stage, earlier)
            earlier[stage.name] = stage
        droppable = [REASON, *(pipeline.name for pipeline in self.pipeline)]
        for name in self.time.optional:
            if name not in droppable:
                raise ValueError(
                    f"time.optional: '{name}' is neither a pipeline nor '{REASON}'{nearest(name, droppable)}; "
                    f"list only these"
                )
        for name in self.ensemble.weights:
            if name not in earlier:
                raise ValueError(f"ensemble.weights: no stage is called '{name}'{nearest(name, earlier)}; correct it")
        return self

    @model_validator(mode="after")
    def engine_can(self) -> Config:
        for name, model in self.language_models().items():
            if model.parallel == "tensor" and self.engine == "transformers":
                raise ValueError(f"{name}: parallel = 'tensor' requires vLLM; set parallel = 'data' or engine = 'vllm'")
        return self

    def _check_select(self, stage: Pipeline, earlier: dict[str, Retrieval | Pipeline]) -> None:
        select = stage.select
        if select is None or select.by is None:
            return
        pipelines = {name: each for name, each in earlier.items() if isinstance(each, Pipeline)}
        if select.by not in pipelines:
            raise ValueError(
                f"pipeline '{stage.name}': select.by = '{select.by}' is not an earlier pipeline"
                f"{nearest(select.by, pipelines)}; use one that comes before it"
            )
        try:
            select.check_scale(pipelines[select.by].scale)
        except ValueError as error:
            raise ValueError(f"pipeline '{stage.name}': {error}") from error

    def stages(self, off: bool = False) -> list[AnyStage]:
        """The stages in the order they run; `off`: with those that do not."""
        every: list[AnyStage] = [
            *([self.reason] if self.reason else []),
            *self.retrieval,
            *self.pipeline,
            self.ensemble,
        ]
        return [stage for stage in every if off or getattr(stage, "enabled", True)]

    def changed(self, stage: AnyStage, **update: Any) -> Config:
        """The config with other keys of one of its stages."""

        def new(each: Any) -> Any:
            return each.model_copy(update=update) if each is stage else each

        lists = {"retrieval": [*map(new, self.retrieval)], "pipeline": [*map(new, self.pipeline)]}
        return self.model_copy(update={"reason": new(self.reason), "ensemble": new(self.ensemble), **lists})

    def models(self, off: bool = False) -> Iterator[tuple[str, AnyModel]]:
        """Every model and what is said of it, its stage's name; `off`: those of stages that do not run, too."""
        if self.reason is not None and (off or self.reason.enabled):
            yield REASON, self.reason
        for retrieval in self.retrieval:
            for part in retrieval.retriever:
                model = part.embeddings if isinstance(part, ClassifierPart) else part
                if isinstance(model, Encoder):
                    yield f"{retrieval.name} ({part.kind})", model
        for pipeline in self.pipeline:
            if off or pipeline.enabled:
                yield pipeline.name, pipeline

    def language_models(self) -> dict[str, Reason | LLMPipeline]:
        """The enabled reasoning stage and LLM pipelines, by stage name."""
        return {stage: model for stage, model in self.models() if isinstance(model, LanguageModel)}

    def encoders(self) -> Iterator[tuple[str, Encoder]]:
        """The enabled models that embed or cross-encode, as `models` names them."""
        return ((stage, model) for stage, model in self.models() if isinstance(model, Encoder))

    def find_pipeline(self, name: str | None) -> AnyPipeline | None:
        """The pipeline of that name, whether it is enabled or not; None where there is none."""
        return next((pipeline for pipeline in self.pipeline if pipeline.name == name), None)

    def retrieval_named(self, name: str) -> Retrieval:
        return _named(self.retrieval, name, "retrieval", self.path)

    def pipeline_named(self, name: str) -> AnyPipeline:
        return _named(self.pipeline, name, "pipeline", self.path)

    def table_path(self, name: str, run: Path) -> Path:
        """Where the table of the stage of that name lies."""
        return run / next(stage.table for stage in self.stages(off=True) if stage.name == name)


S = TypeVar("S", bound=Retrieval | Pipeline)


def _named(stages: list[S], name: str, what: str, path: Path) -> S:
    for stage in stages:
        if stage.name == name:
            return stage
    names = [stage.name for stage in stages]
    mend = f"use one of {', '.join(names)}" if names else f"add a [[{what}]]"
    raise ConfigError(f"no {what} is called '{name}'{nearest(name, names)}", path=path, mend=mend)


def load(path: Path, engine: str = "") -> Config:
    """Reads and checks a config; ConfigError names the file, the key and the mend. `engine` overrides its own."""
    if not path.is_file():
        raise ConfigError("no such config", path=path, mend="pass a TOML file such as configs/sample.toml")
    raw = read(path)
    if "path" in raw:  # the one field that no file may set
        raise ConfigError("unknown key 'path'", path=path, mend="remove or correct it")
    try:
        return Config.model_validate({**raw, **({"engine": engine} if engine else {}), "path": path})
    except ValidationError as error:
        raise explained(error, path, TABLES, KINDS, ConfigError)[0] from error


TABLES: dict[str, type[ConfigModel]] = {
    "": Config, "time": Time, "reason": Reason, "retrieval": Retrieval, "pipeline": Pipeline, "select": Select,
    "ensemble": Ensemble, "embeddings": EmbeddingModel,
}  # fmt: skip
KINDS: dict[str, type[ConfigModel]] = {
    "allowed": AllowedPart, "tfidf": TfidfPart, "dense": DensePart, "neighbours": NeighboursPart,
    "classifier": ClassifierPart, "cross-encoder": CrossEncoderPipeline,
    "pointwise": PointwisePipeline, "listwise": ListwisePipeline, "tournament": TournamentPipeline,
}  # fmt: skip
