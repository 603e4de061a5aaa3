"""What a config says of a model, and the parts of a retrieval."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from cascade.config.values import Dtype, Model, PartWeight

# What is said of a key wherever it stands.
OF_BLEND = "weight of this retriever's scores in the blend"
CODE = "whether Python code that comes with the model may run"


class ConfigModel(BaseModel):
    """Unknown keys are refused and types are not bent: a typo must not cost a night."""

    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class Adapted(ConfigModel):
    """A model with its optional LoRA adapter."""

    model: Model = Field(description="`package:NAME`, a Kaggle handle, or a folder relative to the config")
    dtype: Dtype | None = Field(default=None, description="precision of the weights; default: the best for the device")
    adapter: str | None = Field(default=None, description="name of a LoRA adapter: a folder under `adapters`")
    adapter_base: str | None = Field(default=None, description="the base model's name in the adapter, if it differs")

    @model_validator(mode="after")
    def base_is_an_adapter_s(self) -> Self:
        if self.adapter_base is not None and self.adapter is None:
            raise ValueError("adapter_base requires an adapter; add it, or remove adapter_base")
        return self


class Encoder(Adapted):
    """A model from sentence-transformers."""

    batch_size: int = Field(default=64, gt=0, description="texts, or pairs of texts, in one batch")
    max_length: int | None = Field(default=None, gt=8, description="most tokens of a text; default: the model's limit")


class TfidfPart(ConfigModel):
    """Scores a label by the words and letters that it shares with the query (TF-IDF)."""

    kind: Literal["tfidf"]
    weight: PartWeight = Field(default=1.0, description=OF_BLEND)


class EmbeddingModel(Encoder):
    """A sentence-embedding model; one that is an LLM may need last-token pooling and 4-bit weights."""

    query_prompt: str = Field(default="", description="text to put before each query")
    pooling: Literal["mean", "lasttoken"] | None = Field(default=None, description="default: the model's own")
    load_in_4bit: bool = Field(default=False, description="loads 4-bit weights (bitsandbytes' NF4), for large models")
    trust_remote_code: bool = Field(default=False, description=CODE)


class DensePart(EmbeddingModel):
    """Scores a label by the cosine similarity of its embedding and the query's."""

    kind: Literal["dense"]
    weight: PartWeight = Field(default=1.0, description=OF_BLEND)
    passage_prompt: str = Field(default="", description="text to put before each label's text")


class NeighboursPart(EmbeddingModel):
    """Scores the labels of the train queries that are most similar to the query."""

    kind: Literal["neighbours"]
    weight: PartWeight = Field(default=1.0, description=OF_BLEND)
    gate: float = Field(default=0.7, ge=-1, lt=1, description="a train query counts only above this cosine similarity")
    top_n: int = Field(default=20, gt=0, description="how many of the most similar train queries count")


class AllowedPart(ConfigModel):
    """Gives every label that a query can have the same score: candidates without a model, where labels are few."""

    kind: Literal["allowed"]
    weight: PartWeight = Field(default=1.0, description=OF_BLEND)


class ClassifierPart(ConfigModel):
    """Gives each label of train the probability that a classifier, trained in the run, finds for it.

    It learns from the labelled queries of train alone, and knows no label that they lack.
    """

    kind: Literal["classifier"]
    weight: PartWeight = Field(default=1.0, description=OF_BLEND)
    learner: Literal["linear", "trees"] = Field(
        default="linear", description="ridge regression on TF-IDF, or extremely randomised trees over words"
    )
    by: str | None = Field(
        default=None,
        description="a field of the competition: a classifier for each of its texts; default: one for all",
    )
    embeddings: EmbeddingModel | None = Field(
        default=None, description="the table of a model whose embeddings `linear` learns from too"
    )

    @model_validator(mode="after")
    def trees_read_words(self) -> Self:
        if self.embeddings is not None and self.learner == "trees":
            raise ValueError("embeddings are for learner = 'linear'; remove them, or add a second classifier")
        return self


Part = Annotated[AllowedPart | TfidfPart | DensePart | NeighboursPart | ClassifierPart, Field(discriminator="kind")]
