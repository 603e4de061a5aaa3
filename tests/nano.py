"""A model and an adapter, as small as they can be, and a run's config that names them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import save_file

from cascade.config.schema import Config, LanguageModel
from cascade.models import locate
from cascade.models.checks import language_models
from cascade.models.checks.target import this_machine
from cascade.run import check as checking

HIDDEN, LAYERS = 8, 2
PREFIX = "base_model.model.model.layers"


def make_model(tmp_path: Path) -> Path:
    """A model's folder that is whole."""
    made = tmp_path / "qwen-nano"
    made.mkdir()
    (made / "config.json").write_text(json.dumps({"hidden_size": HIDDEN, "num_hidden_layers": LAYERS}))
    (made / "tokenizer.json").write_text("{}")
    write_model(made)
    return made


def write_model(folder: Path, before: str = "model.") -> None:
    weights = {f"{before}embed_tokens.weight": np.zeros((4, HIDDEN), np.float32)}
    for layer in range(LAYERS):
        weights[f"{before}layers.{layer}.self_attn.q_proj.weight"] = np.zeros((12, HIDDEN), np.float32)
        weights[f"{before}layers.{layer}.mlp.down_proj.weight"] = np.zeros((HIDDEN, 20), np.float32)
    save_file(weights, folder / "model.safetensors")


def make_adapter(tmp_path: Path) -> Path:
    """An adapter that fits it."""
    made = tmp_path / "adapters" / "nano"
    made.mkdir(parents=True)
    write_adapter(made)
    return made


def write_adapter(
    adapter: Path,
    rank: int = 16,
    hidden: int = HIDDEN,
    layers: int = LAYERS,
    base: str | None = "Qwen/Qwen-Nano",
    **more: Any,
) -> None:
    settings = {
        "base_model_name_or_path": base, "peft_type": "LORA", "r": rank, "lora_alpha": 32,
        "target_modules": ["q_proj", "down_proj"], **more,
    }  # fmt: skip
    (adapter / "adapter_config.json").write_text(json.dumps(settings))
    weights = {}
    for layer in range(layers):
        weights[f"{PREFIX}.{layer}.self_attn.q_proj.lora_A.weight"] = np.zeros((rank, hidden), np.float32)
        weights[f"{PREFIX}.{layer}.self_attn.q_proj.lora_B.weight"] = np.zeros((12, rank), np.float32)
        weights[f"{PREFIX}.{layer}.mlp.down_proj.lora_A.weight"] = np.zeros((rank, 20), np.float32)
        weights[f"{PREFIX}.{layer}.mlp.down_proj.lora_B.weight"] = np.zeros((HIDDEN, rank), np.float32)
    save_file(weights, adapter / "adapter_model.safetensors")


def config(tmp_path: Path, engine: str = "transformers", **more: Any) -> Config:
    base = {
        "engine": engine, "path": tmp_path / "run.toml",
        "retrieval": [{"name": "r1", "retriever": [{"kind": "tfidf"}]}], "ensemble": {"weights": {"r1": 1.0}},
    }  # fmt: skip
    return Config.model_validate({**base, **more})


def model(**more: Any) -> LanguageModel:
    return LanguageModel.model_validate({"model": "qwen-nano", "prompt": "p.txt", **more})


def check_run(config: Config) -> None:
    """As a run does before its first stage."""
    locate.model_path.cache_clear()
    checking.require(checking.facts(config, this_machine(begins=True)))


def check(tmp_path: Path, of: LanguageModel | None = None, **more: Any) -> Path:
    locate.model_path.cache_clear()
    return language_models.check("point", of or model(), config(tmp_path, **more))
