"""LoRA for the cross-encoder: the right misconception against hard negatives of the retrieval."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from datasets import Dataset
from sentence_transformers import CrossEncoder
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import MultipleNegativesRankingLoss

from cascade import data, models
from cascade.config import Config
from cascade.retrievers.blend import Blend
from training import lora

NEGATIVES = 4
HARD = 30  # negatives are drawn from the retrieval's first so many


def train(folder: Path, config: Config, out: Path, epochs: float = 3, learning_rate: float = 1e-3) -> None:
    """Trains on `folder`/train.csv, negatives from the config's first retrieval, and writes the adapter to `out`."""
    competition = data.read(folder)
    queries = competition.train
    # Neighbours would find every train query itself and leave no hard negatives to its like.
    retrieval = config.retrieval[0]
    parts = [part for part in retrieval.retriever if part.kind != "neighbours"]
    blend = Blend(retrieval.model_copy(update={"retriever": parts, "top_k": HARD}), config)
    rows = Dataset.from_dict(groups(queries, blend.retrieve(queries, competition), competition.names))
    model = CrossEncoder(
        str(models.model_path(lora.BASE, Path())), device="cpu", local_files_only=True, num_labels=1, max_length=160
    )
    peft_model = lora.add_lora(model.model, rank=8, trained_whole=["classifier"])
    with tempfile.TemporaryDirectory() as scratch:
        arguments = CrossEncoderTrainingArguments(
            **lora.arguments(epochs, 8, learning_rate, Path(scratch)), use_cpu=model.device.type == "cpu"
        )
        # The given negatives and one of the batch's: those are of other topics and teach little.
        loss = MultipleNegativesRankingLoss(model, num_negatives=1)
        CrossEncoderTrainer(model=model, args=arguments, train_dataset=rows, loss=loss).train()
    lora.save(peft_model, out)


def groups(queries: pd.DataFrame, candidates: pd.DataFrame, names: dict[int, str]) -> dict[str, list[str]]:
    """Columns `query, positive, negative_0, …`: NEGATIVES drawn from each query's wrong candidates.

    Only misconceptions that train labels are negatives: an unlabelled one may be unseen for the very
    reason that the test asks for it (the 7th place's rule).
    """
    rng = np.random.default_rng(lora.SEED)
    seen = set(queries["misconception_id"])
    by_query = candidates.groupby("query_id")["misconception_id"].agg(list)
    names_of_columns = ["query", "positive", *(f"negative_{i}" for i in range(NEGATIVES))]
    columns: dict[str, list[str]] = {name: [] for name in names_of_columns}
    texts = data.query_texts(queries)
    for text, query_id, right in zip(texts, queries["query_id"], queries["misconception_id"], strict=True):
        wrong = [id_ for id_ in by_query[query_id] if id_ != right and id_ in seen]
        if len(wrong) < NEGATIVES:
            wrong += list(seen - {right, *wrong})[: NEGATIVES - len(wrong)]
        row = [text, names[right], *(names[id_] for id_ in rng.choice(wrong, NEGATIVES, replace=False))]
        for column, value in zip(columns.values(), row, strict=True):
            column.append(value)
    return columns
