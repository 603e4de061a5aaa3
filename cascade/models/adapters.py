"""LoRA adapters: where one lies, what its adapter_config.json says, what it was trained on, and how it is merged."""

from __future__ import annotations

import json
import math
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

from cascade.base import manifest, runtime
from cascade.base.errors import ModelError, NotHereError
from cascade.config.parts import Encoder
from cascade.config.schema import Config, LanguageModel

ADAPTER_FILES = ("adapter_config.json", "adapter_model.safetensors")
PROVENANCE = "provenance.json"  # what training leaves beside them; nothing of it is read to load one
FRAMEWORKS = ("transformers", "pytorch", "other")  # Kaggle's, of models that are folders


def adapter_path(model: Encoder | LanguageModel, config: Config) -> Path | None:
    """The adapter's folder with its weights and a usable adapter_config.json; None where none is named."""
    if model.adapter is None:
        return None
    folder = _adapter_folder(model.adapter, config)
    for file in ADAPTER_FILES:
        if not (folder / file).is_file():
            kind = ModelError if folder.is_dir() else NotHereError  # it may not be trained yet
            raise kind(
                f"{folder / file} is missing", key=f"adapter '{model.adapter}'", mend=_instead(model.adapter, folder)
            )
    read_settings(folder)
    return folder


def _adapter_folder(name: str, config: Config) -> Path:
    """Finds an adapter beside the config, else in an adapters dataset of the kernel's input, by its manifest."""
    beside = config.path.parent / config.adapters / name
    if beside.is_dir():
        return beside
    mounted = (dataset / name for dataset in manifest.find(runtime.INPUT, "adapters"))
    return next((folder for folder in mounted if folder.is_dir()), beside)


def _instead(name: str, folder: Path) -> str:
    """What lies in the folder in place of an adapter, with the way from there."""
    inside = [path.parent.relative_to(folder).as_posix() for path in folder.glob(f"**/{ADAPTER_FILES[0]}")]
    inside = sorted((path for path in inside if path != "."), key=lambda path: (len(path), path))  # 500 before 1000
    if inside:
        return f'its subfolder has an adapter ({", ".join(inside)}); name it: adapter = "{name}/{inside[-1]}"'
    others = sorted(path.name for path in folder.glob("adapter_model*") if path.name != ADAPTER_FILES[1])
    pickled = [file for file in others if file.endswith((".bin", ".pt", ".pth"))]
    if pickled:
        load = f'torch.load("{pickled[0]}", weights_only=True)'
        return (
            f"{pickled[0]} is there, but it is pickled and runs code when read; if you trust it, convert it: "
            f'safetensors.torch.save_file({load}, "{ADAPTER_FILES[1]}")'
        )
    if others:
        return f"{others[0]} is there, a part of it; save the adapter again as one file"
    if (folder / "config.json").is_file():
        return "a whole model is there; name it as `model`, without an adapter"
    return "train it or correct the name"


# What an adapter_config.json has to hold, whichever engine reads it.


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_scale(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 < value < math.inf


def _is_flag(value: Any) -> bool:
    return value is None or isinstance(value, bool)


def _are_names(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(name, str) and name for name in value)


def _by_module(fits: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: value is None or (isinstance(value, dict) and all(map(fits, value.values())))


KEYS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "r": (_is_count, "a whole number above 0"),
    "lora_alpha": (_is_scale, "a number above 0"),
    "target_modules": (lambda value: bool(value) and (isinstance(value, str) or _are_names(value)), "names of modules"),
    "rank_pattern": (_by_module(_is_count), "whole numbers above 0 by module"),
    "alpha_pattern": (_by_module(_is_scale), "numbers above 0 by module"),
    "modules_to_save": (lambda value: value is None or _are_names(value), "a list of modules"),
    "bias": (lambda value: value in (None, "none", "all", "lora_only"), '"none", "all" or "lora_only"'),
    "init_lora_weights": (lambda value: _is_flag(value) or isinstance(value, str), "true, false or a method's name"),
    **dict.fromkeys(("use_rslora", "use_dora", "fan_in_fan_out", "lora_bias"), (_is_flag, "true or false")),
}


def read_settings(folder: Path) -> dict[str, Any]:
    """What adapter_config.json says; ModelError with the key where that is no LoRA adapter's."""
    path = folder / ADAPTER_FILES[0]
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"not JSON: {error}", path=path, mend="train the adapter again") from error
    if not isinstance(found, dict):
        raise ModelError(
            f"contains a {type(found).__name__} instead of keys", path=path, mend="train the adapter again"
        )
    if found.get("peft_type") != "LORA":
        kind = found.get("peft_type")
        raise ModelError(
            f"its peft_type is {kind}, and only LORA is supported",
            key=f"adapter '{folder.name}'",
            mend="train it again",
        )
    for key, (fits, wanted) in KEYS.items():
        value = found.get(key)
        if key == "target_modules" and found.get("target_parameters"):
            continue  # layers are named there then
        if not fits(value):
            given = json.dumps(value)[:60] if key in found else "missing"
            raise ModelError(
                f"is {given}, but must be {wanted}", path=path, key=key, mend="correct it or train the adapter again"
            )
    return found


def lora_rank(adapter: Path) -> int:
    """The largest rank in an adapter's config."""
    settings = read_settings(adapter)
    ranks: list[int] = [settings["r"], *(settings.get("rank_pattern") or {}).values()]
    return max(ranks)


# What it was trained on: a name alone proves nothing, so it only warns; shapes decide (see `adapter_checks`).


def base_name(model: str) -> str:
    """Returns what of a model's name is the same wherever it lies.

    That is the last part of Hugging Face's name, of a path or of a package's name, and a Kaggle model's family and
    variation. So `Qwen/Qwen2.5-32B-Instruct-AWQ` is `kaggle:qwen-lm/qwen2.5/transformers/32b-instruct-awq/1`, and the
    folder in a download's cache is its model.
    """
    scheme, _, name = model.replace("\\", "/").rpartition(":")
    words = [word for word in name.lower().split("/") if word]
    for i, word in enumerate(words[:-1]):
        if word.startswith("models--") and words[i + 1] == "snapshots":  # Hugging Face's cache
            words = word.split("--")[1:]
            break
    if len(words) > 2 and words[-1].isdigit() and words[-2] == "versions":  # kagglehub's
        words = words[:-2]
    if len(words) > 3 and words[-1].isdigit() and words[-3] in FRAMEWORKS:  # where a Kaggle model lies
        scheme, words = "kaggle", ["", *words[-4:]]
    found = words[-1] if words else name
    if scheme == "kaggle" and len(words) == 5:
        family, found = words[1], words[3]
        found = found if found.startswith(family) else family + found
    return re.sub(r"[^a-z0-9.]", "", found.replace("___", "."))  # as ModelScope's cache spells a full stop


def name_warning(model: Encoder | LanguageModel, adapter: Path) -> str | None:
    """A sentence where the adapter names another base model than it is given to, or none; `adapter_base` answers it."""
    named = read_settings(adapter).get("base_model_name_or_path")
    trained_on = named if isinstance(named, str) else ""
    if trained_on:
        if base_name(trained_on) in {base_name(model.model), base_name(model.adapter_base or "")}:
            return None
        told, answer = f"trained on '{trained_on}', but the config gives it to '{model.model}'", trained_on
    else:
        if model.adapter_base is not None:
            return None
        told, answer = f"names no base model, and the config gives it to '{model.model}'", model.model
    answer = answer.replace("\\", "/")
    return f"adapter '{model.adapter}': {told}; if that is the same model, set adapter_base = \"{answer}\" beside it"


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
        raise ModelError(
            f"does not match its base model: {error}", key=f"adapter '{adapter.name}'", mend="train it again"
        ) from error
