"""LoRA for the cross-encoder: the right label against hard negatives of the retrieval."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import torch
from datasets import Dataset
from sentence_transformers.cross_encoder import CrossEncoderTrainer, CrossEncoderTrainingArguments
from sentence_transformers.cross_encoder.losses import MultipleNegativesRankingLoss

from cascade.competitions import registry
from cascade.config.schema import Config
from cascade.models import locate
from cascade.rerankers.cross_encoder import load
from training import checkpoints, lora, negatives
from training.jobs import models, provenance

NEGATIVES = 4
MAX_LENGTH = 160  # tokens of a pair, where the config says nothing


class Trainer(checkpoints.Resumable, CrossEncoderTrainer):  # type: ignore[misc]
    """The library's, with checkpoints of the adapter alone."""


def train(
    folder: Path,
    config: Config,
    name: str | None,
    out: Path,
    epochs: float = 2,
    rate: float = 5e-4,
    *,
    kept: Path | None = None,
    replaces: bool = False,
) -> None:
    """Trains the adapter of that name on `folder`/train.csv and writes it to `out`; default: the config's first.

    Negatives are from the config's first retrieval. kept: a folder for checkpoints, from which the same training goes
    on. replaces: it may take another training's place in `out`.
    """
    lora.check_out(out)
    pipeline = models.chosen(models.cross_encoders(config), name, "pipeline of kind 'cross-encoder'", config)
    settings = {"epochs": epochs, "rate": rate}
    made = provenance.begin("cross-encoder", pipeline, config, folder, settings, negatives.provenance(config))
    made.check(out, replaces)
    task = registry.of(config).read(folder)
    queries, head = task.train, pipeline.head
    place = locate.model_path(pipeline.model, config.path.parent)
    with checkpoints.kept(kept, made.deciding, out) as kept, checkpoints.output(kept) as (scratch, saving):
        rows = Dataset.from_dict(groups(queries, negatives.retrieved(config, task), task.texts))
        model = load(place, head, pipeline.max_length or MAX_LENGTH, lora.DEVICE, **lora.no_dropout(place))
        peft_model = lora.add_lora(
            model.transformers_model,
            rank=8,
            trained_whole=["pooler", "classifier"] if head == "classifier" else None,
            targets=lora.targets(place),
        )
        arguments = CrossEncoderTrainingArguments(**lora.arguments(epochs, 8, rate, scratch), **saving)
        # The given negatives and one of the batch's: those are of other topics and teach little.
        loss = MultipleNegativesRankingLoss(model, num_negatives=1, scale=1.0, activation_fn=torch.nn.Identity())
        trainer = Trainer(model=model, args=arguments, train_dataset=rows, loss=loss)
        checkpoints.run(trainer, kept)
        made.follow(trainer.state.log_history, trainer.state.global_step)
        lora.save(peft_model, out, pipeline.adapter_base or pipeline.model, made)


def groups(queries: pd.DataFrame, candidates: dict[str, list[int]], names: dict[int, str]) -> dict[str, list[str]]:
    """Columns `query, positive, negative_0, …`: NEGATIVES drawn from each query's wrong candidates."""
    rng = np.random.default_rng(lora.SEED)
    seen = set(queries["label_id"])
    names_of_columns = ["query", "positive", *(f"negative_{i}" for i in range(NEGATIVES))]
    columns: dict[str, list[str]] = {name: [] for name in names_of_columns}
    texts = queries["text"].tolist()
    for text, query_id, right in zip(texts, queries["query_id"], queries["label_id"], strict=True):
        wrong = negatives.drawn(right, candidates[query_id], seen, NEGATIVES, rng)
        for column, value in zip(columns.values(), [text, *(names[id_] for id_ in (right, *wrong))], strict=True):
            column.append(value)
    return columns
