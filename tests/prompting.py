"""A small tokenizer with a chat template, and prompters that use it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer, decoders, pre_tokenizers, trainers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

from cascade.models.prompts import Prompter, Template, query_fields
from tests.eedi import FIELDS

CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n"
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% endif %}{% endif %}"
)
SPECIAL = ["<|im_start|>", "<|im_end|>", "<think>", "</think>", "<|begin|>"]
WORDS = ["Yes No Yes No", "the question of the fraction", "the answer is", "system user assistant", "Topic: Skill:"]
CHAT = """\
=== system
You know pupils.
=== user
Question: {{ question }}
Wrong: {{ wrong }}
Is it this one? {{ candidate }}
"""
QUERY = {
    "query_id": "7_B", "construct": "Add", "subject": "Fractions", "question": "What is 1/2 + 1/3?", "correct": "5/6",
    "wrong": "2/5",
}  # fmt: skip


def make_tokenizer(chat_template: str | None = CHATML, normalizer: Any = None, words: Sequence[str] = WORDS) -> Any:
    """A byte-level BPE that has learnt a few words: any text can be read, and Yes and No are tokens."""
    tokenizer = Tokenizer(BPE())
    if normalizer is not None:
        tokenizer.normalizer = normalizer
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=330,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*words] * 5, trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token="<|im_end|>", chat_template=chat_template)


def template(path: Path, source: str, *needed: str) -> Template:
    path.write_text(source, encoding="utf-8")
    return Template(path, FIELDS, *needed)


def fields(**more: Any) -> dict[str, Any]:
    return query_fields(QUERY) | more


def prompter(path: Path, source: str, tokenizer: Any, max_tokens: int = 1000, **chat_arguments: Any) -> Prompter:
    needed = [name for name in ("candidate", "options") if name in source]
    return Prompter(template(path, source, *needed), tokenizer, max_tokens, chat_arguments)
