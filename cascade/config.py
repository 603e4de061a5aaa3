"""One TOML file is one whole run. Every key is declared here, and nowhere else."""

from __future__ import annotations

import re
import reprlib
import tomllib
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from cascade.errors import ConfigError, nearest

DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h)")
ENSEMBLE = "ensemble"
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}


def seconds(value: Any) -> float:
    """`"90s"`, `"10m"`, `"9h"` in seconds."""
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f'{value!r} is no duration; write it as "90s", "10m" or "9h"')
    return float(match[1]) * UNITS[match[2]]


Seconds = Annotated[float, BeforeValidator(seconds)]
Limit = Annotated[float, BeforeValidator(seconds), Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class Table(BaseModel):
    """Unknown keys are refused and types are not bent: a typo must not cost a night."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Encoder(Table):
    """A model from sentence-transformers with its optional LoRA adapter."""

    model: str
    adapter: str | None = None
    batch_size: int = Field(default=64, gt=0)
    max_length: int | None = Field(default=None, gt=8)


class TfidfPart(Table):
    kind: Literal["tfidf"]
    weight: float = Field(default=1.0, ge=0)


class DensePart(Encoder):
    kind: Literal["dense"]
    weight: float = Field(default=1.0, ge=0)
    query_prompt: str = ""
    passage_prompt: str = ""


class NeighboursPart(Encoder):
    """`gate`: the cosine similarity above which a labelled train query may speak for its misconception."""

    kind: Literal["neighbours"]
    weight: float = Field(default=1.0, ge=0)
    query_prompt: str = ""
    gate: float = Field(default=0.7, ge=-1, lt=1)
    top_n: int = Field(default=20, gt=0)


Part = Annotated[TfidfPart | DensePart | NeighboursPart, Field(discriminator="kind")]


class Retrieval(Table):
    """A weighted blend of retrievers: one table of candidates."""

    name: Name
    top_k: int = Field(default=100, ge=25)
    limit: Limit | None = None
    retriever: list[Part] = Field(min_length=1)


class CrossEncoderPipeline(Encoder):
    """The classic reranker: one transformer reads query and misconception together."""

    name: Name
    kind: Literal["cross-encoder"]
    candidates: str
    top_k: int = Field(default=25, gt=0)
    head: Literal["classifier", "segments"] = "classifier"
    limit: Limit | None = None
    chunk: int = Field(default=16, gt=0, description="queries whose scores are on disk before the next are begun")


Pipeline = CrossEncoderPipeline


class Ensemble(Table):
    """Rank fusion: `weights` over names of pipelines and retrievals; ties go by the order they stand in."""

    weights: dict[str, Annotated[float, Field(gt=0)]] = Field(min_length=1)
    unseen_boost: float | None = Field(default=None, gt=0)
    unseen_share: float | None = Field(default=None, ge=0, le=1)
    limit: Limit | None = None

    @model_validator(mode="after")
    def one_boost(self) -> Ensemble:
        if self.unseen_boost is not None and self.unseen_share is not None:
            raise ValueError("unseen_boost and unseen_share exclude each other; keep one")
        return self


class Time(Table):
    limit: Limit = 9 * 3600.0
    reserve: Seconds = 600.0

    @property
    def available(self) -> float:
        """Seconds from the start to the deadline."""
        return self.limit - self.reserve

    @model_validator(mode="after")
    def something_is_left(self) -> Time:
        if self.available <= 0:
            raise ValueError("reserve leaves nothing of limit; lower it")
        return self


class Config(Table):
    """A whole run. `path` is the file it was read from; relative paths in it start at that file's folder."""

    time: Time = Time()
    devices: list[str] | None = Field(
        default=None, min_length=1, description="default: every visible GPU, else the CPU"
    )
    adapters: str = Field(default="adapters", description="the folder of LoRA adapters")
    retrieval: list[Retrieval] = Field(min_length=1)
    pipeline: list[Pipeline] = Field(default_factory=list)
    ensemble: Ensemble
    path: Path = Field(Path(), exclude=True)

    @model_validator(mode="after")
    def names_fit(self) -> Config:
        earlier: list[str] = []
        stages: list[Retrieval | Pipeline] = [*self.retrieval, *self.pipeline]
        for stage in stages:
            if stage.name == ENSEMBLE:
                raise ValueError(f"the name '{ENSEMBLE}' is the ensemble's own; give the stage another")
            if stage.name in earlier:
                raise ValueError(f"the name '{stage.name}' is used twice; give each retrieval and pipeline its own")
            if isinstance(stage, Pipeline) and stage.candidates not in earlier:
                raise ValueError(
                    f"pipeline '{stage.name}': candidates = '{stage.candidates}' is neither a retrieval nor an earlier "
                    f"pipeline{nearest(stage.candidates, earlier)}; name one that stands before it"
                )
            earlier.append(stage.name)
        for name in self.ensemble.weights:
            if name not in earlier:
                raise ValueError(f"ensemble.weights: no stage is called '{name}'{nearest(name, earlier)}; correct it")
        return self

    def retrieval_named(self, name: str) -> Retrieval:
        return _named(self.retrieval, name, "retrieval", self.path)

    def pipeline_named(self, name: str) -> Pipeline:
        return _named(self.pipeline, name, "pipeline", self.path)

    def table_path(self, name: str, run: Path) -> Path:
        """Where the table of the retrieval or pipeline of that name lies."""
        kind = "candidates" if any(name == retrieval.name for retrieval in self.retrieval) else "ranking"
        return run / f"{kind}-{name}.parquet"


S = TypeVar("S", Retrieval, CrossEncoderPipeline)


def _named(stages: list[S], name: str, what: str, path: Path) -> S:
    for stage in stages:
        if stage.name == name:
            return stage
    names = [stage.name for stage in stages]
    known = ", ".join(names) or "none"
    raise ConfigError(f"{path}: no {what} is called '{name}'{nearest(name, names)}; it has {known}")


def load(path: Path) -> Config:
    """Reads and checks a config; ConfigError names the file, the key and the mend."""
    if not path.is_file():
        raise ConfigError(f"{path}: no such config; pass a TOML file such as configs/sample.toml")
    try:
        raw = tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not TOML: {error}; correct it there") from error
    if "path" in raw:  # the one field that no file may set
        raise ConfigError(f"{path}: unknown key 'path'; remove or correct it")
    try:
        return Config.model_validate({**raw, "path": path})
    except ValidationError as error:
        raise ConfigError(f"{path}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    """One error, in one sentence; an unknown key first, as it may be why another is missing."""
    found = error.errors()
    first = next((each for each in found if each["type"] == "extra_forbidden"), found[0])
    type_, loc = first["type"], first["loc"]
    if not loc:
        return first["msg"].removeprefix("Value error, ")
    if type_ == "union_tag_invalid":
        tag, tags = first["ctx"]["tag"], first["ctx"]["expected_tags"]
        near = nearest(tag, tags.replace("'", "").split(", "))
        return f"{_place(loc)}: kind is {tag!r}{near}; it must be one of {tags}"
    if type_ == "union_tag_not_found":
        return f"{_place(loc)}: 'kind' is missing; add it"
    key = _place(loc[-2:]) if isinstance(loc[-1], int) else str(loc[-1])
    around = _place(loc[:-2] if isinstance(loc[-1], int) else loc[:-1])
    where = f"{around}: " if around else ""
    if type_ == "extra_forbidden":
        return f"{where}unknown key {key!r}{nearest(key, _keys_at(loc[:-1]))}; remove or correct it"
    if type_ == "missing":
        return f"{where}{key!r} is missing; add it"
    if type_ == "value_error":
        return f"{where}{key}: {first['msg'].removeprefix('Value error, ')}"
    if type_ == "list_type" and isinstance(first["input"], dict):
        return f"{where}{key} is one table, not a list of them; write its heading in double brackets"
    if type_ in ("model_type", "model_attributes_type", "dict_type"):
        mend = "it should be a table of keys and values"
    elif type_ == "string_pattern_mismatch":  # only names have a pattern
        mend = "a name is made of a-z, 0-9 and hyphens"
    else:
        mend = first["msg"].replace("Input should", "it should").replace(" after validation", "")
    return f"{where}{key} is {reprlib.repr(first['input'])}; {mend[0].lower()}{mend[1:]}"


KINDS: dict[str, type[Table]] = {"tfidf": TfidfPart, "dense": DensePart, "neighbours": NeighboursPart}


def _place(loc: tuple[int | str, ...]) -> str:
    """`retrieval 1, retriever 2` for ("retrieval", 0, "retriever", 1, "dense"): counted from 1, without the kind."""
    words: list[str] = []
    for part in loc:
        if isinstance(part, int):
            words[-1] += f" {part + 1}"
        elif part not in KINDS:
            words.append(part)
    return ", ".join(words)


def _keys_at(loc: tuple[int | str, ...]) -> list[str]:
    """The keys that the table at `loc` may have; of a tagged union, those of the tag in `loc`."""
    models: dict[str, type[Table]] = {
        "": Config, "time": Time, "retrieval": Retrieval, "pipeline": Pipeline, "ensemble": Ensemble, **KINDS,
    }  # fmt: skip
    last = next((part for part in reversed(loc) if isinstance(part, str)), "")
    return [key for key in models[last].model_fields if key != "path"] if last in models else []
