"""What loading a model needs of its folder; what training, other formats and other programs leave beside it does not.

Weights are those that transformers, sentence-transformers and vLLM read: safetensors, and pickled ones only where a
folder has no others. Code travels only with `trust_remote_code = true`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath
from typing import Any

from cascade.models.checks import sharded

# By name in small letters, in the model's folder and in those of its modules (modules.json).
NEEDED = (
    "config.json", "*_config.json", "config_*.json", "modules.json", "tokenizer*.json", "tekken.json", "vocab.*",
    "vocab-*.json", "merges.txt", "*.model", "*.spm", "*.tiktoken", "bpe.codes", "added_tokens.json",
    "special_tokens_map.json", "chat_template*.jinja", "chat_template.json", sharded.MARK,
)  # fmt: skip
# Only in the model's folder: what a licence requires to stay with the weights.
LEGAL = ("license*", "licence*", "copying*", "notice*", "*use_policy*", "readme*")
TEMPLATES = "additional_chat_templates"
WEIGHTS = ("model.safetensors", "adapter_model.safetensors")
OTHERS = ("consolidated*", "optimizer*", "scheduler*", "training_*", "model.*.safetensors")  # no weights to load
PICKLED = ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json")


def needed(folder: Path, trusted: bool) -> dict[str, Path]:
    """Those files by their places in `folder`, with `/`; `trusted`: its code too."""
    found: dict[str, Path] = {}
    for place in _places(folder):
        within = folder / place
        names = sorted(path.name for path in within.iterdir() if path.is_file() and not path.name.startswith("."))
        taken = {name for name in names if _is_needed(name, place, trusted)} | set(_weights(within, names))
        found.update({(PurePosixPath(place) / name).as_posix(): within / name for name in sorted(taken)})
    return found


def linked(folder: Path) -> list[Path]:
    """Folders of the model's modules that are links, or lie in one below it: what is there would be passed over."""
    found = []
    for place in _places(folder):
        path = folder
        for part in PurePosixPath(place).parts:
            path /= part
            if path.is_symlink():
                found.append(path)
    return found


def left_out(folder: Path, taken: Iterable[str]) -> str | None:
    """A sentence on what of a model's folder does not travel; None where all does."""
    every = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*")}
    rest = {name for name, path in every.items() if (path.is_file() or path.is_symlink()) and name not in taken}
    tops = {name.partition("/")[0] + ("/" if "/" in name or every[name].is_dir() else "") for name in rest}
    named = sorted(top for top in tops if top not in (".DS_Store",) and not top.startswith("._"))
    return f"{folder}: left out, as loading does not need it: {', '.join(named)}" if named else None


def _places(folder: Path) -> Iterator[str]:
    """The model's folder, its modules' and those below them (a Router has more), its further chat templates'."""
    yield ""
    modules = _json(folder / "modules.json")
    named = {str(each.get("path", "")) for each in modules if isinstance(each, dict)} if modules else set()
    inside = {name.strip("/") for name in named if name and ".." not in PurePosixPath(name).parts}
    for name in sorted({*inside, TEMPLATES}):
        if name and (folder / name).is_dir():
            yield name
            yield from (path.relative_to(folder).as_posix() for path in sorted((folder / name).rglob("*"))
                        if path.is_dir() and not path.name.startswith((".", "__")))  # fmt: skip


def _is_needed(name: str, place: str, trusted: bool) -> bool:
    low = name.lower()
    patterns = [*NEEDED, *(LEGAL if not place else ()), *(["*.jinja"] if place == TEMPLATES else [])]
    return (trusted and low.endswith(".py")) or any(fnmatchcase(low, pattern) for pattern in patterns)


def _weights(folder: Path, names: list[str]) -> Iterator[str]:
    """Those that the index names and those of the usual name; where there is neither, all but the known others."""
    safe = [name for name in names if name.endswith(".safetensors")]
    chosen = {name for name in safe if name in WEIGHTS}
    for index in (name for name in names if name.endswith(".safetensors.index.json") and not _is_other(name)):
        told = _json(folder / index)
        shards = told.get("weight_map") if isinstance(told, dict) else None
        chosen |= {index, *(set(shards.values()) & set(safe) if isinstance(shards, dict) else ())}
    if not any(name.endswith(".safetensors") for name in chosen):
        chosen |= {name for name in safe if not _is_other(name)}
    yield from chosen
    if not safe:
        yield from (name for name in names if any(fnmatchcase(name, pattern) for pattern in PICKLED))


def _is_other(name: str) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in OTHERS) and not name.startswith("model.safetensors")


def _json(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, ValueError):
        return None
