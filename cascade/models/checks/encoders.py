"""Embedding models and cross-encoders: their pooling, prompts and heads, read from their files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from cascade.base.errors import ModelError
from cascade.config.parts import EmbeddingModel, Encoder
from cascade.config.schema import Config, CrossEncoderPipeline
from cascade.models import adapter_checks, locate
from cascade.models.adapters import ADAPTER_FILES, adapter_path, read_settings
from cascade.models.checks.adapters import adapter_facts
from cascade.models.checks.code import check_remote_code
from cascade.models.checks.facts import Fact, tried

OWN = "config_sentence_transformers.json"
MODULES = "modules.json"
# Their folders are empty, which neither git nor a dataset keeps.
BARE = ("Transformer", "Normalize")
HEADS = ("classifier.weight", "score.weight", "classifier.out_proj.weight")


def facts(name: str, encoder: Encoder, config: Config, is_here: bool) -> Iterator[Fact]:
    """Checks one embedding model or cross-encoder."""
    folders: list[Path] = []

    def look() -> Iterator[Fact]:
        folders.append(locate.model_path(encoder.model, config.path.parent))
        told = ""
        if isinstance(encoder, EmbeddingModel):
            check_remote_code(encoder.model, folders[0], encoder.trust_remote_code)
            check_pooling(encoder, folders[0])
            told = "; ".join(prompts(encoder, folders[0]))
        if isinstance(encoder, CrossEncoderPipeline):
            check_head(encoder, config)
        yield Fact(f"{name}: model", True, encoder.model, told)

    yield from tried(f"{name}: model", look, is_here)
    base = folders[0] if folders else None
    yield from adapter_facts(
        name, encoder, config, base, is_here,
        lambda adapter: adapter_checks.problems(adapter, base, adapter_checks.installed_peft()),
    )  # fmt: skip


def check_pooling(part: EmbeddingModel, folder: Path) -> None:
    """ModelError where nothing says how the tokens' vectors become one: sentence-transformers would take the mean."""
    if part.pooling is not None:
        return
    mend = 'fetch all of it, or set pooling = "mean" or "lasttoken", as its model card says'
    if not (folder / MODULES).is_file():
        raise ModelError(
            f"{folder} has no {MODULES}, which defines the pooling", key=f"model '{part.model}'", mend=mend
        )
    modules = locate.read_json(folder / MODULES, part.model)
    if not isinstance(modules, list) or not all(isinstance(module, dict) for module in modules):
        raise ModelError(
            f"{folder / MODULES} is not a list of modules", key=f"model '{part.model}'", mend="fetch the model again"
        )
    for module in modules:
        kind, path = str(module.get("type", "")), str(module.get("path", ""))
        if not kind.startswith("sentence_transformers.") and not part.trust_remote_code:
            raise ModelError(
                f"{folder / MODULES} refers to the model's own code, '{kind}'",
                key=f"model '{part.model}'",
                mend="read it, then set trust_remote_code = true, or use another model",
            )
        if kind.rpartition(".")[2] not in BARE and path and not (folder / path / "config.json").is_file():
            raise ModelError(
                f"{folder / path} has no config.json, but {MODULES} lists it", key=f"model '{part.model}'", mend=mend
            )


def prompts(part: EmbeddingModel, folder: Path) -> Iterator[str]:
    """What the model's own files would put before texts and the config does not: a line each."""
    if not (folder / OWN).is_file():
        return
    settings = locate.read_json(folder / OWN, part.model)
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


def check_head(pipeline: CrossEncoderPipeline, config: Config) -> None:
    """ModelError for a classifier that nobody trained: transformers would draw it at random and go on."""
    if pipeline.head != "classifier":
        return
    adapter = adapter_path(pipeline, config)
    trained = adapter is not None and "classifier" in (read_settings(adapter).get("modules_to_save") or [])
    folder = locate.model_path(pipeline.model, config.path.parent)
    found = [adapter / ADAPTER_FILES[1]] if adapter is not None and trained else sorted(folder.glob("*.safetensors"))
    for weights in found:
        count = labels(weights)
        if count is not None and count != 1:
            raise ModelError(
                f"the classifier in {weights} gives {count} numbers a pair, but a reranker requires one",
                key=f"pipeline '{pipeline.name}'",
                mend="use a model trained with one label",
            )
        if count or trained:
            return
    raise ModelError(
        f"neither {pipeline.model} nor its adapter has a trained classifier",
        key=f"pipeline '{pipeline.name}'",
        mend='use an adapter that has one, or set head = "segments"',
    )


def labels(weights: Path) -> int | None:
    """How many numbers the classifier in a weights file gives a pair; None where it holds no classifier."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(weights, framework="numpy") as file:
            for key in file.keys():  # noqa: SIM118 - no dict
                if key.endswith(HEADS) and ".layers." not in key:
                    return int(file.get_slice(key).get_shape()[0])
    except SafetensorError as error:
        raise ModelError(f"cannot be read: {error}", path=weights, mend="fetch or train it again") from error
    return None
