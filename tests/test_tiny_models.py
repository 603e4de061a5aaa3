"""The sample's tiny LLM and its adapters: their files, and what they reach."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest

from cascade import data, models
from cascade.paths import ROOT
from cascade.prompts import LETTERS, query_fields
from tests import tiny

ADAPTERS = ROOT / "sample" / "adapters"


def test_they_are_small_and_hold_nothing_else() -> None:
    folders = [tiny.BASE, *(ADAPTERS / f"tiny-{kind}" for kind in ("pointwise", "listwise"))]
    files = {path.name for path in folders[0].iterdir()}
    assert files == {
        "config.json", "generation_config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json",
        "chat_template.jinja",
    }  # fmt: skip
    for folder in folders[1:]:
        assert {path.name for path in folder.iterdir()} == set(models.ADAPTER_FILES)
    assert sum(path.stat().st_size for folder in folders for path in folder.iterdir()) < 8_000_000


@pytest.mark.parametrize("kind", ["pointwise", "listwise"])
def test_each_adapter_reranks_shuffled_candidates(kind: str) -> None:
    """25 shuffled candidates that hold the right one: chance is MAP@25 .153, and each must reach .25, three times."""
    competition = data.read(ROOT / "sample")
    model, tokenizer = tiny.load(ADAPTERS / f"tiny-{kind}")
    reached = [tiny.shuffled_map(model, tokenizer, kind, competition, seed) for seed in range(3)]
    print(kind, [{name: round(value, 3) for name, value in row.items()} for row in reached])
    assert min(row["all"] for row in reached) >= 0.25


def test_the_model_alone_writes_and_its_options_are_tokens() -> None:
    model, tokenizer = tiny.load()
    assert len(set(tiny.prompter("listwise", tokenizer).option_ids(LETTERS))) == 52
    prompter = tiny.prompter("reason", tokenizer)
    rows = data.read(Path("sample")).test.head(3).to_dict("records")
    prompts = prompter.encode([prompter.text(query_fields(row)) for row in rows])
    import torch

    written = [
        tokenizer.decode(
            model.generate(torch.tensor([ids]), max_new_tokens=12)[0, len(ids) :], skip_special_tokens=True
        )
        for ids in prompts
    ]
    assert all(text.strip() for text in written)
    assert all(one != other for one, other in itertools.pairwise(written))
