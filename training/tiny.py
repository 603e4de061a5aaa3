"""A Qwen2-architecture model of 3.3 million parameters and two LoRA adapters, made from the sample's train part.

It stands in for an LLM where there is neither a GPU nor a download: the same files, prompts and
one-token answers, at a size that a repository holds. `tiny_start` writes its first weights, training
refines them on the labelled queries of train.csv: yes or no, the right letter, the misconception's name.
"""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import GenerationConfig, PreTrainedTokenizerFast, Qwen2ForCausalLM

from cascade.base.folder import check_replaceable
from cascade.competitions import registry
from cascade.competitions.base import Task
from cascade.models.prompts import LETTERS, Prompter, Template, lettered, query_fields
from cascade.scorers import one_pass, packing
from training import lora, tiny_start

BASE = "tiny-qwen2"
MODEL_FILES = (  # what `save` makes
    "chat_template.jinja", "config.json", "generation_config.json", "model.safetensors", "special_tokens_map.json",
    "tokenizer.json", "tokenizer_config.json",
)  # fmt: skip
PROMPTS = Path("configs/prompts")
MAX_TOKENS = 2048
VOCABULARY = 2560  # a multiple of 64, as kernels like it
PAD, START, END = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
# Qwen's own: digits stand singly, a word takes the blank before it.
PIECES = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)
CHAT_TEMPLATE = """\
{%- for message in messages -%}
{{- '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' -}}
{%- endfor -%}
{%- if add_generation_prompt -%}
{{- '<|im_start|>assistant\\n' -}}
{%- endif -%}
"""
LINEAR = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
STEPS = {"base": 100, "adapter": 60}  # a step of each kind in turn
RATES = {"base": 1e-3, "adapter": 3e-4}
WRONG = 5  # candidates beside the right one, of a pointwise example
OPTIONS = 26  # of a listwise example, at most
QUERIES: dict[str, int] = {"pointwise": 5, "listwise": 8, "reason": 16}  # of a step

Kind = Literal["pointwise", "listwise", "reason"]


def train(folder: Path, models_folder: Path, adapters_folder: Path) -> None:
    """Trains on `folder`/train.csv: `models_folder`/tiny-qwen2, `adapters_folder`/tiny-pointwise and tiny-listwise."""
    base = models_folder / BASE
    check_replaceable(base, MODEL_FILES, "--models")
    for kind in ("pointwise", "listwise"):
        lora.check_out(adapters_folder / f"tiny-{kind}", "--adapters")
    task = registry.of_data(folder).read(folder)
    began = time.monotonic()
    tokenizer = make_tokenizer(task)
    examples = Examples(task, tokenizer)
    model = examples.start()
    print(f"{sum(p.numel() for p in model.parameters()):,} parameters, {len(tokenizer)} tokens")
    # What compares words stays as it was written: learning to write would tear it down. Adapters refine it all.
    for part in (model.model.embed_tokens, *model.model.layers[:-1]):
        part.requires_grad_(False)
    fit(model, examples, ["pointwise", "listwise", "reason"], "base")
    save(model, tokenizer, base)
    kinds: tuple[Kind, ...] = ("pointwise", "listwise")
    for kind in kinds:
        # Read back, because the adapter goes onto the rounded weights.
        adapted = lora.add_lora(Qwen2ForCausalLM.from_pretrained(base, dtype=torch.float32), 8, targets=LINEAR)
        fit(adapted.get_base_model(), examples, [kind], "adapter")
        lora.save(adapted, adapters_folder / f"tiny-{kind}", BASE)
    print(f"trained in {(time.monotonic() - began) / 60:.1f} min")


def make_tokenizer(task: Task) -> PreTrainedTokenizerFast:
    """Byte-level BPE over the train queries as prompts and the names, split as Qwen splits, with Qwen's chat format."""
    template = Template(PROMPTS / "pointwise.txt", task.competition.fields, "candidate")
    prompts = [template.text({**query_fields(row), "candidate": ""}) for row in task.train.to_dict("records")]
    names = [f" {name}" for name in task.texts.values()]
    tokenizer = Tokenizer(models.BPE())
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(PIECES), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[PAD, START, END],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(prompts + 5 * names + 100 * ["system\nuser\nassistant\nYes\nNo"], trainer)
    made = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token=END, pad_token=PAD, model_max_length=MAX_TOKENS, padding_side="left"
    )
    made.chat_template = CHAT_TEMPLATE
    return made


class Examples:
    """Draws labelled train queries as prompts, with new candidates each time."""

    def __init__(self, task: Task, tokenizer: PreTrainedTokenizerFast) -> None:
        self.rng = np.random.default_rng(lora.SEED)
        self.tokenizer = tokenizer
        self.names = task.texts
        self.queries = task.train.to_dict("records")
        fields = task.competition.fields
        self.pointwise = Prompter(Template(PROMPTS / "pointwise.txt", fields, "candidate"), tokenizer, MAX_TOKENS)
        self.listwise = Prompter(Template(PROMPTS / "listwise-tiny.txt", fields, "options"), tokenizer, MAX_TOKENS)
        self.reason = Prompter(Template(PROMPTS / "reason.txt", fields), tokenizer, MAX_TOKENS)
        self.yes, self.no = self.pointwise.option_ids(["Yes", "No"])
        self.letters = self.listwise.option_ids(LETTERS[:OPTIONS])

    def start(self) -> Qwen2ForCausalLM:
        """The model before training."""
        texts = [*self.names.values()]
        for query in self.queries:
            label = self.names[query["label_id"]]
            texts.append(f"{query['construct']} {query['subject']} {query['question']} {label}")
        vocabulary = self.tokenizer.get_vocab()
        markers = [vocabulary["Misconception"], vocabulary["Ġletter"]]  # as both templates have them
        return tiny_start.start(self.tokenizer, texts, markers, self.letters, self.yes, self.no)

    def loss(self, model: Qwen2ForCausalLM, kind: Kind) -> torch.Tensor:
        """Mean loss of a step's queries: cross-entropy of the answer, or of the words written."""
        queries = [self.queries[i] for i in self.rng.integers(len(self.queries), size=QUERIES[kind])]
        if kind == "reason":
            return self._reason(model, queries)
        texts, answers = [], []
        for query in queries:
            right = query["label_id"]
            count = WRONG + 1 if kind == "pointwise" else int(self.rng.integers(8, OPTIONS + 1))
            wrong = self.rng.choice([id_ for id_ in self.names if id_ != right], count - 1, replace=False)
            candidates = self.rng.permutation([right, *wrong]).tolist()
            names, fields = [self.names[id_] for id_ in candidates], self._fields(query)
            if kind == "pointwise":
                texts += [self.pointwise.text({**fields, "candidate": name}) for name in names]
                answers += [float(id_ == right) for id_ in candidates]
            else:
                texts.append(self.listwise.text({**fields, "options": lettered(names)}))
                answers.append(candidates.index(right))
        prompter = self.pointwise if kind == "pointwise" else self.listwise
        # A query's prompts are one sequence, so that what they share is read once.
        given = list(packing.blocks(prompter.encode(texts), MAX_TOKENS))
        logits = one_pass.logits(model, given, 0)
        if kind == "listwise":
            return torch.nn.functional.cross_entropy(logits[:, self.letters], torch.tensor(answers))
        surplus = logits[:, self.yes] - logits[:, self.no]
        weight = torch.tensor(float(WRONG))  # as much for the one right candidate as for the wrong ones
        target = torch.tensor(answers)
        return torch.nn.functional.binary_cross_entropy_with_logits(surplus, target, pos_weight=weight)

    def _reason(self, model: Qwen2ForCausalLM, queries: list[Any]) -> torch.Tensor:
        prompts = self.reason.encode([self.reason.text(query_fields(query)) for query in queries])
        written = self.reason.encode([self.names[query["label_id"]] + END for query in queries])
        rows = [torch.tensor(prompt + text) for prompt, text in zip(prompts, written, strict=True)]
        ids = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)  # behind, where no token can see it
        targets = torch.full(ids.shape, -100)
        for row, (prompt, text) in enumerate(zip(prompts, written, strict=True)):
            targets[row, len(prompt) : len(prompt) + len(text)] = torch.tensor(text)
        logits = model(input_ids=ids, use_cache=False).logits[:, :-1]
        return torch.nn.functional.cross_entropy(logits.flatten(0, 1), targets[:, 1:].flatten())

    def _fields(self, query: dict[Any, Any]) -> dict[str, Any]:
        """A quarter of the prompts has a reason, as often some misconception's name as the right one's."""
        fields = query_fields(query)
        if self.rng.random() < 0.25:
            ids = [query["label_id"], int(self.rng.choice(list(self.names)))]
            fields["reason"] = self.names[ids[int(self.rng.integers(2))]]
        return fields


def fit(model: Qwen2ForCausalLM, examples: Examples, kinds: list[Kind], what: str) -> None:
    """Trains what of `model` is trainable, in place, a step of each kind in turn."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(trained, RATES[what], weight_decay=0.01)
    steps = STEPS[what] * len(kinds)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate(step, steps))
    means: dict[str, float] = {}
    model.train()
    for step, kind in enumerate(turns(kinds, steps), start=1):
        loss = examples.loss(model, kind)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(trained, 1.0)
        optimizer.step()
        schedule.step()
        means[kind] = 0.9 * means.get(kind, loss.item()) + 0.1 * loss.item()
        if step % 30 == 0 or step == steps:
            shown = ", ".join(f"{name} {value:.3f}" for name, value in sorted(means.items()))
            print(f"{what}: step {step} of {steps}, loss {shown}", flush=True)
    model.eval()


def turns(kinds: list[Kind], steps: int) -> Iterator[Kind]:
    for step in range(steps):
        yield kinds[step % len(kinds)]


def rate(step: int, steps: int) -> float:
    """The learning rate's factor: a tenth of the steps upwards, then a cosine down."""
    return min(1.0, (step + 1) / (steps / 10)) * (0.5 + 0.5 * math.cos(math.pi * step / steps))


def save(model: Qwen2ForCausalLM, tokenizer: PreTrainedTokenizerFast, folder: Path) -> None:
    """Writes the model in float16 and its tokenizer; replaces what is there."""
    check_replaceable(folder, MODEL_FILES, "--models")
    shutil.rmtree(folder, ignore_errors=True)
    model.generation_config = GenerationConfig(
        eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, do_sample=False
    )
    model.half().save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    print(f"{folder}: {sum(path.stat().st_size for path in folder.iterdir()) / 1e6:.2f} MB")
