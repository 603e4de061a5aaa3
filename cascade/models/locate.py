"""Where a model or an adapter lies, and on which devices it runs."""

from __future__ import annotations

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from cascade.base.errors import ModelError
from cascade.base.manifest import sha256
from cascade.config import handles
from cascade.models import packaged
from cascade.models.adapters import ADAPTER_FILES

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
        return packaged.folder_of(rest, base)
    folder = handles.find(model) if scheme in handles.SCHEMES else (base / model).resolve()
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{folder} has no config.json", key=f"model '{model}'", mend="use a model's folder or package:<name>"
        )
    return folder


def read_json(path: Path, model: str) -> Any:
    """What a model's file holds; ModelError where it cannot be read."""
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{path} cannot be read: {error}", key=f"model '{model}'", mend="fetch the model again"
        ) from error


def fingerprint(folder: Path, adapter: Path | None) -> str:
    """A name for the weights, which changes when they do; part of the key of what is cached."""
    digest = hashlib.sha256()
    own = [adapter / name for name in ADAPTER_FILES] if adapter is not None else []
    for path in (*sorted(folder.rglob("*")), *own):
        if path.is_file():
            stat = path.stat()
            whole = stat.st_size <= HASHED_WHOLE
            digest.update(f"{path.name}:{sha256(path) if whole else (stat.st_size, stat.st_mtime_ns)}\n".encode())
    return digest.hexdigest()
