"""LoRA for the cross-encoder: the right label against hard negatives of the retrieval."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import MultipleNegativesRankingLoss

from cascade.base.errors import ConfigError
from cascade.competitions import registry
from cascade.config.schema import Config, CrossEncoderPipeline
from cascade.models import locate
from cascade.rerankers.cross_encoder import load
from cascade.retrievers.blend import Blend
from training import lora

NEGATIVES = 4
HARD = 30  # negatives are drawn from the retrieval's first so many


def train(folder: Path, config: Config, out: Path, epochs: float = 2, learning_rate: float = 5e-4) -> None:
    """Trains on `folder`/train.csv, negatives from the config's first retrieval, and writes the adapter to `out`."""
    lora.check_out(out)
    task = registry.of(config).read(folder)
    queries = task.train
    # What learns from train's labels would find every train query's own and leave no hard negatives to its like.
    retrieval = config.retrieval[0]
    parts = [part for part in retrieval.retriever if part.kind not in ("neighbours", "classifier")]
    pipeline = first_cross_encoder(config)
    if pipeline is None:
        raise ConfigError("has no [[pipeline]] of kind 'cross-encoder' to train", path=config.path, mend="add one")
    head = pipeline.head
    with tempfile.TemporaryDirectory() as scratch:
        hard = retrieval.model_copy(update={"retriever": parts, "top_k": HARD})
        with Blend(hard, config, Path(scratch) / "cache") as blend:
            candidates = blend.retrieve(queries, task)
        rows = Dataset.from_dict(groups(queries, candidates, task.texts))
        model = load(locate.model_path(lora.BASE, Path()), head, 160, lora.DEVICE, **lora.NO_DROPOUT)
        peft_model = lora.add_lora(
            model.transformers_model, rank=8, trained_whole=["pooler", "classifier"] if head == "classifier" else None
        )
        arguments = CrossEncoderTrainingArguments(**lora.arguments(epochs, 8, learning_rate, Path(scratch)))
        # The given negatives and one of the batch's: those are of other topics and teach little.
        loss = MultipleNegativesRankingLoss(model, num_negatives=1, scale=1.0, activation_fn=torch.nn.Identity())
        CrossEncoderTrainer(model=model, args=arguments, train_dataset=rows, loss=loss).train()
    lora.save(peft_model, out)


def first_cross_encoder(config: Config) -> CrossEncoderPipeline | None:
    """The config's first pipeline of that kind."""
    return next((each for each in config.pipeline if isinstance(each, CrossEncoderPipeline)), None)


def groups(queries: pd.DataFrame, candidates: pd.DataFrame, names: dict[int, str]) -> dict[str, list[str]]:
    """Columns `query, positive, negative_0, …`: NEGATIVES drawn from each query's wrong candidates.

    Only labels that train labels are negatives: an unlabelled one may be unseen for the very
    reason that the test asks for it (the 7th place's rule).
    """
    rng = np.random.default_rng(lora.SEED)
    seen = set(queries["label_id"])
    by_query = candidates.groupby("query_id")["label_id"].agg(list)
    names_of_columns = ["query", "positive", *(f"negative_{i}" for i in range(NEGATIVES))]
    columns: dict[str, list[str]] = {name: [] for name in names_of_columns}
    texts = queries["text"].tolist()
    for text, query_id, right in zip(texts, queries["query_id"], queries["label_id"], strict=True):
        wrong = [id_ for id_ in by_query[query_id] if id_ != right and id_ in seen]
        if len(wrong) < NEGATIVES:
            wrong += list(seen - {right, *wrong})[: NEGATIVES - len(wrong)]
        row = [text, names[right], *(names[id_] for id_ in rng.choice(wrong, NEGATIVES, replace=False))]
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    return columns
