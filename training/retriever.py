"""LoRA for the dense retriever: query and label drawn together, the batch's others pushed away."""

from __future__ import annotations

import tempfile
from pathlib import Path

from datasets import Dataset
from sentence_transformers import (
    SentenceTransformer,
    SentenceTransformerTrainer,
    SentenceTransformerTrainingArguments,
)
from sentence_transformers.sentence_transformer.losses import MultipleNegativesRankingLoss
from sentence_transformers.sentence_transformer.training_args import BatchSamplers

from cascade.competitions import registry
from cascade.models import locate
from training import lora


def train(folder: Path, out: Path, epochs: float = 4, batch_size: int = 32, learning_rate: float = 3e-4) -> None:
    """Trains on `folder`/train.csv and writes the adapter to `out`."""
    lora.check_out(out)
    task = registry.of_data(folder).read(folder)
    model = SentenceTransformer(
        str(locate.model_path(lora.BASE, Path())),
        device=lora.DEVICE,
        local_files_only=True,
        config_kwargs=lora.NO_DROPOUT,
    )
    model.max_seq_length = 160
    peft_model = lora.add_lora(model.transformers_model, rank=8)
    rows = Dataset.from_dict(
        {
            "anchor": task.train["text"].tolist(),
            "positive": [task.texts[id_] for id_ in task.train["label_id"]],
        }
    )
    with tempfile.TemporaryDirectory() as scratch:
        arguments = SentenceTransformerTrainingArguments(
            **lora.arguments(epochs, batch_size, learning_rate, Path(scratch)),
            batch_sampler=BatchSamplers.NO_DUPLICATES,  # a batch's other positives serve as negatives
        )
        trainer = SentenceTransformerTrainer(
            model=model, args=arguments, train_dataset=rows, loss=MultipleNegativesRankingLoss(model)
        )
        trainer.train()
    lora.save(peft_model, out)
