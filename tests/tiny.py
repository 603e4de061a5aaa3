"""What the tiny model and its adapters reach, measured with transformers and peft alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM, AutoTokenizer

from cascade.data import Competition
from cascade.prompts import LETTERS, Prompter, Template, lettered, query_fields

BASE = Path("sample/models/tiny-qwen2")
CANDIDATES = 25
FILES = {"pointwise": "pointwise.txt", "listwise": "listwise-tiny.txt", "reason": "reason.txt"}
BATCH = 16384  # tokens, padding included


def load(adapter: Path | None = None, base: Path = BASE) -> tuple[Any, Any]:
    """The model in float32, with the adapter if one is given, and its tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, adapter)
    return model.eval(), AutoTokenizer.from_pretrained(base)


def prompter(kind: str, tokenizer: Any) -> Prompter:
    """The prompts of `kind`: pointwise, listwise or reason."""
    needed = {"pointwise": ["candidate"], "listwise": ["options"], "reason": []}[kind]
    return Prompter(Template(Path("configs/prompts") / FILES[kind], *needed), tokenizer, 2048)


@torch.inference_mode()
def next_tokens(model: Any, prompts: list[list[int]], options: list[int]) -> np.ndarray:
    """Logits of the tokens `options` after each prompt, shape (prompts, options); batches of like lengths."""
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    logits = np.empty((len(prompts), len(options)), dtype=np.float32)
    while order:
        length = len(prompts[order[-1]])
        batch = order[-max(1, BATCH // length) :]
        del order[-len(batch) :]
        # What stands behind a prompt's last token cannot be seen from it, so padding there needs no mask.
        ids = torch.tensor([prompts[i] + [0] * (length - len(prompts[i])) for i in batch])
        lasts = torch.tensor([len(prompts[i]) - 1 for i in batch])
        causal = model.get_base_model() if isinstance(model, PeftModel) else model
        hidden = causal.model(input_ids=ids, use_cache=False).last_hidden_state[torch.arange(len(batch)), lasts]
        logits[batch] = causal.lm_head(hidden)[:, options].numpy()
    return logits


def shuffled_map(model: Any, tokenizer: Any, kind: str, competition: Competition, seed: int) -> dict[str, float]:
    """MAP@25 over the test's labelled queries of reranking the right misconception among 24 drawn at random.

    kind: "pointwise" orders by P(Yes) of Yes and No, "listwise" by the letter's probability, all
    in one prompt. The result's keys: all, seen, unseen. Chance is 0.153.
    """
    assert competition.labels is not None
    rng = np.random.default_rng(seed)
    names = competition.names
    prompt = prompter(kind, tokenizer)
    options = prompt.option_ids(["Yes", "No"] if kind == "pointwise" else list(LETTERS[:CANDIDATES]))
    queries = competition.test.merge(competition.labels, on="query_id")
    places, texts = [], []
    for query in queries.to_dict("records"):
        right = query["misconception_id"]
        wrong = rng.choice([id_ for id_ in names if id_ != right], CANDIDATES - 1, replace=False).tolist()
        candidates = rng.permutation([right, *wrong]).tolist()
        places.append(candidates.index(right))
        fields, candidate_names = query_fields(query), [names[id_] for id_ in candidates]
        if kind == "pointwise":
            texts += [prompt.text({**fields, "candidate": name}) for name in candidate_names]
        else:
            texts.append(prompt.text({**fields, "options": lettered(candidate_names)}))
    logits = next_tokens(model, prompt.encode(texts), options)
    assert np.isfinite(logits).all()  # NaN is neither above nor below anything, and would rank first
    scores = (logits[:, 0] - logits[:, 1]).reshape(-1, CANDIDATES) if kind == "pointwise" else logits
    own = np.take_along_axis(scores, np.array(places)[:, None], axis=1)
    # A tie counts as half a place, so equal scores earn nothing.
    ranks = 0.5 + (scores > own).sum(1) + 0.5 * (scores == own).sum(1)
    seen = queries["misconception_id"].isin(competition.seen).to_numpy()
    return {
        "all": float((1 / ranks).mean()),
        "seen": float((1 / ranks[seen]).mean()),
        "unseen": float((1 / ranks[~seen]).mean()),
    }
