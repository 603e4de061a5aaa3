"""The classic reranker: a transformer reads query and label together and gives one number."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

import pandas as pd
import torch
from sentence_transformers import CrossEncoder
from sentence_transformers.base.modules import Module, Transformer

from cascade.base.errors import ModelError
from cascade.config.schema import Config, CrossEncoderPipeline
from cascade.models import adapters, locate, precision
from cascade.models.checks import encoders
from cascade.processes.workers import DeviceSlot
from cascade.rankings import tables
from cascade.rankings.tables import check_finite


class SegmentSimilarity(Module):  # type: ignore[misc]
    """The head "segments": cosine of the two segments' mean token vectors, each read in the other's sight.

    A sentence-embedding model as base so ranks from the start about as it does when it reads the texts
    apart, and learns from few queries: after 75 steps on 350 of them MAP was .294 where a fresh classifier,
    its pooler trained too, had .233 (one trial each, 25 candidates; chance is .153).
    The score is a logit: a cosine of MIDDLE is even odds, 1 / SCALE more is odds of e to 1.
    """

    SCALE = 20.0  # sentence-transformers' own for ranking losses on cosines
    MIDDLE = 0.5

    def forward(self, features: dict[str, torch.Tensor], **_: Any) -> dict[str, torch.Tensor]:
        """Adds `scores` [n_pairs, 1] to the transformer's `token_embeddings` [n_pairs, n_tokens, n_dimensions]."""
        if "token_type_ids" not in features:
            raise ModelError(
                "the tokenizer does not mark segments", key="head = 'segments'", mend="use head = 'classifier'"
            )
        tokens, second = features["token_embeddings"].float(), features["token_type_ids"].float()
        given = features["attention_mask"].float()
        first_vector, second_vector = (
            torch.nn.functional.normalize(torch.einsum("pt,ptd->pd", mask, tokens), dim=-1)
            for mask in (given * (1 - second), given * second)
        )
        features["scores"] = self.SCALE * ((first_vector * second_vector).sum(-1, keepdim=True) - self.MIDDLE)
        return features

    def save(self, output_path: str, *args: Any, safe_serialization: bool = True, **kwargs: Any) -> None:
        """Nothing to save: the head has no weights."""


def load(
    folder: Path,
    head: Literal["classifier", "segments"],
    max_length: int | None,
    device: str,
    dtype: torch.dtype = torch.float32,
    **config: Any,
) -> CrossEncoder:
    """The base model with its head; `config` goes to transformers' model config."""
    settings: dict[str, Any] = {"device": device, "local_files_only": True, "max_length": max_length}
    kwargs = {"model_kwargs": {"dtype": dtype}, "config_kwargs": {"num_labels": 1, **config}}
    if head == "classifier":
        made = CrossEncoder(str(folder), num_labels=1, **kwargs, **settings)
        pad(made)
        return made
    transformer = Transformer(str(folder), **kwargs)
    return CrossEncoder(modules=[transformer, SegmentSimilarity()], **settings)


def pad(model: CrossEncoder) -> None:
    """Gives an LLM with a classifier a pad token: by it, its config's, transformers knows where a text ends."""
    tokenizer, network = model.tokenizer, model.transformers_model
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    if network.config.get_text_config().pad_token_id is None:
        network.config.get_text_config().pad_token_id = tokenizer.pad_token_id


class CrossEncoderReranker:
    """A `[[pipeline]]` of kind "cross-encoder": sentence-transformers' CrossEncoder with its optional adapter."""

    def __init__(
        self, place: DeviceSlot, pipeline: CrossEncoderPipeline, config: Config, names: dict[int, str]
    ) -> None:
        self.pipeline = pipeline
        self.names = names
        encoders.check_head(pipeline, config)
        folder = locate.model_path(pipeline.model, config.path.parent)
        dtype: torch.dtype = getattr(torch, precision.of(pipeline, place.device))
        self.model = load(folder, pipeline.head, pipeline.max_length, place.device, dtype)
        adapters.merge_adapter(self.model.transformers_model, adapters.adapter_path(pipeline, config))
        self.model.eval()

    def rerank(self, queries: pd.DataFrame, candidates: pd.DataFrame) -> tuple[pd.DataFrame, dict[str, int]]:
        """See `Reranker`; a score is a sigmoid in (0, 1)."""
        text = dict(zip(queries["query_id"], queries["text"].tolist(), strict=True))
        pairs = [
            (text[query], self.names[id_])
            for query, id_ in zip(candidates["query_id"], candidates["label_id"], strict=True)
        ]
        scores = self.model.predict(pairs, batch_size=self.pipeline.batch_size, activation_fn=torch.nn.Sigmoid())
        check_finite(
            scores[:, None],
            [f"{query}, {name}" for (query, (_, name)) in zip(candidates["query_id"], pairs, strict=True)],
        )
        return tables.from_scores(candidates.assign(score=scores)), {"prompts": len(pairs)}
