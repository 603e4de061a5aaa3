"""An adapter for a dense retriever: query and label drawn together, others pushed away: the batch's, and hard ones."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from datasets import Dataset
from sentence_transformers import SentenceTransformerTrainer, SentenceTransformerTrainingArguments
from sentence_transformers.sentence_transformer.losses import (
    CachedMultipleNegativesRankingLoss,
    MultipleNegativesRankingLoss,
)
from transformers import TrainerState

from cascade.base.errors import StageError
from cascade.competitions import registry
from cascade.competitions.base import Task
from cascade.config.parts import DensePart
from cascade.config.schema import Config
from cascade.models import locate
from cascade.models.checks import encoders
from cascade.retrievers import dense
from training import checkpoints, lora, negatives, whole
from training.batches import ByLength
from training.jobs import models, provenance

MAX_LENGTH = 160  # tokens of a text, where the config says nothing
AT_ONCE = 32  # texts whose gradients are kept: the batch, and so its negatives, may be larger than memory allows
# Of what was tried on a fold of real questions with MiniLM.
WHOLE_RATE, WHOLE_RANK = 2e-4, 128
LORA_RATE, LORA_RANK = 2e-3, 32


@dataclass(frozen=True)
class Settings:
    """How it is trained. hard: negatives of each query, which the model itself finds after the first half.

    unlabelled: whether labels that train lacks may be negatives; they may be unseen for the very reason that the test
    asks for them (the 7th place's rule). whole: the linear layers themselves are trained and kept as LoRA, in place of
    LoRA on them; None: those of a small model.
    """

    epochs: float = 4
    batch_size: int = 32
    rate: float | None = None
    rank: int | None = None
    hard: int = 0
    unlabelled: bool = False
    whole: bool | None = None

    def decided(self, part: DensePart, model: Path) -> tuple[bool, float, int]:
        """Whether it is trained whole, the rate and the rank, of which a model's folder decides what is left open.

        StageError for weights of 4 bits, which cannot be trained themselves.
        """
        if self.whole and part.load_in_4bit:
            mend = "train with --lora, or leave load_in_4bit out of the config that you train with"
            raise StageError(
                "the model's weights have 4 bits, so that only LoRA can be trained", key="--whole", mend=mend
            )
        is_whole = whole.is_small(model) and not part.load_in_4bit if self.whole is None else self.whole
        rate, rank = (WHOLE_RATE, WHOLE_RANK) if is_whole else (LORA_RATE, LORA_RANK)
        return is_whole, self.rate or rate, self.rank or rank


def train(
    folder: Path,
    config: Config,
    name: str | None,
    out: Path,
    settings: Settings,
    *,
    kept: Path | None = None,
    replaces: bool = False,
) -> None:
    """Trains the adapter of that name on `folder`/train.csv and writes it to `out`; default: the config's first.

    kept: a folder for checkpoints, from which the same training goes on. replaces: it may take another training's place
    in `out`.
    """
    lora.check_out(out)
    part = models.chosen(models.retrievers(config), name, "retriever of kind 'dense'", config)
    task = registry.of(config).read(folder)
    place = locate.model_path(part.model, config.path.parent)
    encoders.check_pooling(part, place)
    is_whole, rate, rank = settings.decided(part, place)
    told = asdict(settings) | {"whole": is_whole, "rate": rate, "rank": rank}
    made = provenance.begin("retriever", part, config, folder, told)
    made.check(out, replaces)
    # Neither a CPU nor a model's own weights learn in half precision; on a GPU, peft keeps the adapter in float32.
    precision = {"dtype": torch.float32} if lora.DEVICE == "cpu" or is_whole else {}
    model = dense.load(part, place, lora.DEVICE, precision, **lora.no_dropout(place))
    if part.max_length is None:
        model.max_seq_length = min(MAX_LENGTH, model.max_seq_length or MAX_LENGTH)
    peft_model = lora.add_lora(model.transformers_model, rank=rank, targets=lora.targets(place))
    before = whole.begin(peft_model) if is_whole else None
    texts = [part.query_prompt + text for text in task.train["text"].tolist()]
    rounds = [0] if not settings.hard else [0, settings.hard]
    with checkpoints.kept(kept, made.deciding, out) as kept:
        for turn, hard in enumerate(rounds):
            columns = {
                "anchor": texts,
                "positive": [part.passage_prompt + task.texts[id_] for id_ in task.train["label_id"]],
            }
            for number, column in enumerate(
                zip(*hard_negatives(model, part, task, texts, hard, settings.unlabelled), strict=True)
            ):
                columns[f"negative_{number}"] = [part.passage_prompt + task.texts[id_] for id_ in column]
            own = None if kept is None else kept / f"round-{turn}"
            state = _fit(model, columns, settings.batch_size, rate, settings.epochs / len(rounds), own)
            made.follow(state.log_history, state.global_step)
        if before is not None:
            checkpoints.sound(peft_model)
            print(
                f"LoRA of rank {rank} holds {whole.keep(peft_model, before):.0%} of what was learnt",
                flush=True,
            )
        lora.save(peft_model, out, part.adapter_base or part.model, made)


def hard_negatives(
    model: Any, part: DensePart, task: Task, texts: Sequence[str], count: int, unlabelled: bool
) -> list[list[int]]:
    """Of each query `count` wrong labels, drawn from those that the model as it is finds most like it."""
    if not count:
        return [[] for _ in texts]
    ids = task.labels["label_id"].to_numpy()
    passages = model.encode([part.passage_prompt + text for text in task.labels["text"]], normalize_embeddings=True)
    queries = model.encode(list(texts), normalize_embeddings=True)
    _, places = dense.nearest(np.asarray(queries), np.asarray(passages), negatives.HARD + 1)
    rng = np.random.default_rng(lora.SEED)
    known = set(ids.tolist()) if unlabelled else task.seen
    right = task.train["label_id"].tolist()
    return [
        negatives.drawn(label, ids[found].tolist(), known, count, rng)
        for label, found in zip(right, places, strict=True)
    ]


class Trainer(checkpoints.Resumable, SentenceTransformerTrainer):  # type: ignore[misc]
    """The library's, with checkpoints of the adapter alone."""


def _fit(
    model: Any, columns: dict[str, list[str]], batch_size: int, rate: float, epochs: float, kept: Path | None
) -> TrainerState:
    """Trains in place; the trainer's log and steps."""
    with checkpoints.output(kept) as (place, saving):
        arguments = SentenceTransformerTrainingArguments(
            **lora.arguments(epochs, batch_size, rate, place),
            **saving,
            batch_sampler=ByLength,  # a batch's other positives serve as negatives
        )
        loss = (
            MultipleNegativesRankingLoss(model)
            if batch_size <= AT_ONCE
            else CachedMultipleNegativesRankingLoss(model, mini_batch_size=AT_ONCE)
        )
        trainer = Trainer(model=model, args=arguments, train_dataset=Dataset.from_dict(columns), loss=loss)
        checkpoints.run(trainer, kept)
        return trainer.state
