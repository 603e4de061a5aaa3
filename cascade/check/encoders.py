"""Embedding models and cross-encoders: their pooling, prompts and heads, read from their files."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cascade.config import EmbeddingModel
from cascade.errors import ModelError

OWN = "config_sentence_transformers.json"
MODULES = "modules.json"
# Their folders are empty, which neither git nor a dataset keeps.
BARE = ("Transformer", "Normalize")
HEADS = ("classifier.weight", "score.weight", "classifier.out_proj.weight")


def check_pooling(part: EmbeddingModel, folder: Path) -> None:
    """ModelError where nothing says how the tokens' vectors become one: sentence-transformers would take the mean."""
    if part.pooling is not None:
        return
    mend = 'fetch it whole, or say pooling = "mean" or "lasttoken", as its card has it'
    if not (folder / MODULES).is_file():
        raise ModelError(f"model '{part.model}': {folder} has no {MODULES}, which says how it pools; {mend}")
    modules = _json(folder / MODULES, part.model)
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ModelError(f"model '{part.model}': {folder / MODULES} is no list of modules; fetch the model again")
    for module in modules:
        kind, path = str(module.get("type", "")), str(module.get("path", ""))
        if not kind.startswith("sentence_transformers.") and not part.trust_remote_code:
            raise ModelError(
                f"model '{part.model}': {folder / MODULES} names code of its own, '{kind}'; read it, then set "
                f"trust_remote_code = true, or use another model"
            )
        if kind.rpartition(".")[2] not in BARE and path and not (folder / path / "config.json").is_file():
            raise ModelError(
                f"model '{part.model}': {folder / path} has no config.json, but is one of {MODULES}; {mend}"
            )


def prompts(part: EmbeddingModel, folder: Path) -> Iterator[str]:
    """What the model's own files would put before texts and the config does not: a line each."""
    if not (folder / OWN).is_file():
        return
    settings = _json(folder / OWN, part.model)
    own = settings.get("prompts") if isinstance(settings, dict) else None
    if not isinstance(own, dict):
        return
    default = settings.get("default_prompt_name")
    if default and own.get(default):
        yield (
            f"model '{part.model}': would put its prompt '{default}', {own[default]!r}, before every text; "
            f"only the config's prompts are used"
        )
    ours = {part.query_prompt, getattr(part, "passage_prompt", "")}
    for name, text in own.items():
        if name in ("query", "document", "passage") and text and text not in ours:
            yield f"model '{part.model}': has a {name} prompt, {text!r}, which the config does not use"


def labels(weights: Path) -> int | None:
    """How many numbers the classifier in a weights file gives a pair; None where it holds no classifier."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="numpy") as file:
            for key in file.keys():  # noqa: SIM118 - no dict
                if key.endswith(HEADS) and ".layers." not in key:
                    return int(file.get_slice(key).get_shape()[0])
    except SafetensorError as error:
        raise ModelError(f"{weights}: cannot be read: {error}; fetch or train it again") from error
    return None


def _json(path: Path, model: str) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"model '{model}': {path} cannot be read: {error}; fetch the model again") from error
