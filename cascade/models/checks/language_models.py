"""An LLM before it is loaded: its files, its adapter, its engine's arguments, and what its cache can share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from cascade.base.errors import ModelError, NotHereError
from cascade.config import handles
from cascade.config.schema import Config, LanguageModel
from cascade.models import adapter_checks, locate
from cascade.models.adapters import adapter_path
from cascade.models.checks import engines, int8, parallel, sharded
from cascade.models.checks.adapters import adapter_facts
from cascade.models.checks.code import check_remote_code
from cascade.models.checks.facts import Fact, tried
from cascade.models.checks.target import Target

# Layers that keep the keys and values of tokens, and nothing else.
PLAIN_LAYERS = ("full_attention", "sliding_attention", "chunked_attention")
# How keys of a config.json begin whose model keeps a state, and those of kinds that tell it by their name alone.
STATE_KEYS = ("mamba_", "ssm_", "linear_conv", "linear_attn", "conv_L_cache", "state_size", "time_step_", "index_topk")
STATE_KINDS = ("rwkv", "recurrent_gemma", "xlstm", "zaya")


def facts(name: str, model: LanguageModel, config: Config, target: Target) -> Iterator[Fact]:
    """Checks everything of one stage's LLM but its prompts."""
    here = target.is_here
    folders: list[Path] = []

    def look() -> Iterator[Fact]:
        folders.append(_whole(model, config))
        yield Fact(f"{name}: model", True, model.model)

    yield from tried(f"{name}: model", look, here)
    folder = folders[0] if folders else None
    base = folder if not sharded.is_on(model, config) else None
    yield from adapter_facts(name, model, config, base, here, lambda adapter: _adapter_problems(
        adapter, base, model, config, target.vllm
    ))  # fmt: skip
    for looks in (parallel, sharded, int8):
        yield from looks.facts(name, model, config, target)
    if config.engine == "vllm":
        yield from tried(f"{name}: arguments", lambda: _arguments(name, model, config, target), here)
    elif folder is not None:
        yield from tried(f"{name}: cache", lambda: _cache(name, model, folder), here)


def check(name: str, model: LanguageModel, config: Config) -> Path:
    """The folder of a stage's LLM, with a tokenizer, safe weights and an adapter that fits; else ModelError."""
    folder = _whole(model, config)
    vllm = engines.known() if config.engine == "vllm" else None
    adapter = adapter_path(model, config)
    base = folder if not sharded.is_on(model, config) else None
    for told in _adapter_problems(adapter, base, model, config, vllm) if adapter is not None else ():
        raise ModelError.of_sentence(told)
    for told in engines.misfits(name, {**config.vllm, **model.vllm}, vllm) if vllm else ():
        raise ModelError.of_sentence(told)
    return folder


def _whole(model: LanguageModel, config: Config) -> Path:
    """The model's folder, with a tokenizer and safe weights; else ModelError."""
    folder = locate.model_path(model.model, config.path.parent)
    if not any((folder / file).is_file() for file in locate.TOKENIZER_FILES):
        raise ModelError(
            f"{folder} has no tokenizer", key=f"model '{model.model}'", mend=f"add its {locate.TOKENIZER_FILES[0]}"
        )
    if not any(folder.glob("*.safetensors")):
        pickled = next((path.name for kind in locate.PICKLED for path in sorted(folder.glob(kind))), None)
        found = f"has pickled weights only ({pickled}), which run code when read" if pickled else "has no weights"
        # Of a Kaggle model what describes it may have been fetched alone.
        is_described = not pickled and model.model.partition(":")[0] in handles.SCHEMES
        kind = NotHereError if is_described else ModelError
        raise kind(f"{folder} {found}", key=f"model '{model.model}'", mend="convert them to safetensors")
    check_remote_code(model.model, folder, model.trust_remote_code)
    return folder


def _adapter_problems(
    adapter: Path, folder: Path | None, model: LanguageModel, config: Config, vllm: engines.Vllm | None
) -> Iterator[str]:
    limit = {**config.vllm, **model.vllm}.get("max_lora_rank")
    obeyed = adapter_checks.installed_peft() if config.engine != "vllm" else vllm.obeyed if vllm else None
    return adapter_checks.problems(adapter, folder, obeyed, config.engine, limit)


def _arguments(name: str, model: LanguageModel, config: Config, target: Target) -> Iterator[Fact]:
    given, vllm = {**config.vllm, **model.vllm}, target.vllm
    if vllm is None:
        yield Fact(f"{name}: arguments", None, "no vLLM is known to check the engine's arguments with")
        return
    wrong = list(engines.misfits(name, given, vllm))
    yield from (Fact(f"{name}: arguments", False, told) for told in wrong)
    if not wrong:
        yield Fact(f"{name}: arguments", True, f"{vllm.name} takes all {len(given)}")


def _cache(name: str, model: LanguageModel, folder: Path) -> Iterator[Fact]:
    settings = locate.read_json(folder / "config.json", model.model)
    keeps = state_of(settings.get("text_config", settings))
    if keeps:
        mend = "each is read whole, which takes longer; vLLM may do better"
        found = f"keeps a state ({keeps}), which prompts with the same beginning cannot share"
        yield Fact(f"{name}: cache", True, found, mend)
    else:
        yield Fact(f"{name}: cache", True, "prompts with the same beginning share it")


def state_of(settings: Mapping[str, Any]) -> str:
    """What of a config.json tells that the model keeps more than the keys and values of its tokens; "" for nothing."""
    if settings.get("model_type") in STATE_KINDS:
        return str(settings["model_type"])
    others = [kind for kind in settings.get("layer_types") or [] if kind not in PLAIN_LAYERS]
    return next((str(each) for each in (*others, *settings) if each in others or each.startswith(STATE_KEYS)), "")
