"""transformers, and for an LLM on vLLM also vLLM, know the architecture of every model that a config names."""

from __future__ import annotations

import ast
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cascade import handles, models
from cascade.config import Config, Encoder
from cascade.errors import ModelError
from packer import vllm_api
from packer.bundle import Bundle, Finding

# Where transformers keeps the table; the second since version 5.
TABLES = ("transformers/models/auto/configuration_auto.py", "transformers/models/auto/auto_mappings.py")
TABLE = "CONFIG_MAPPING_NAMES"


def prove(bundle: Bundle) -> list[Finding]:
    used = {(model, on_vllm): config for config in bundle.configs for model, on_vllm in models_of(config)}
    if not used:
        return []
    facts = bundle.wheels.get("transformers")
    if facts is None:
        mend = f"make wheels IMAGE={bundle.image.name}"
        return [Finding("transformers", "its wheel is not there to be asked", mend, status="not proved")]
    types, architectures, found = model_types(facts.path), _architectures(bundle), []
    for (model, on_vllm), config in sorted(used.items(), key=lambda each: each[0]):
        asked = (f"{config.path.name} → {model}",)
        try:
            about = _about(bundle, model, config)
        except ModelError as error:
            found.append(_not_at_hand(bundle, model, error, asked))
            continue
        kind, own_code = str(about.get("model_type")), "auto_map" in about
        if kind not in types and not own_code:
            wants = f"transformers {facts.version} knows no model_type '{kind}'"
            mend = f"pin a transformers that has it in {bundle.image.requirements}, or name another model"
            found.append(Finding("transformers", wants, mend, asked))
        names = about.get("architectures") or []
        if on_vllm and architectures is not None and not architectures.intersection(names):
            wants = f"vLLM {bundle.wheels['vllm'].version} runs none of {', '.join(names) or 'its architectures'}"
            mend = f"name another model, or pin a vLLM that has it in {bundle.image.requirements}"
            found.append(Finding("vllm", wants, mend, asked))
    return found


def _not_at_hand(bundle: Bundle, model: str, error: ModelError, asked: tuple[str, ...]) -> Finding:
    if model.startswith("package:"):  # it has to come with the wheels
        return Finding(model, str(error), f"add it to {bundle.image.requirements}", asked)
    mend = "set MODELS to a folder that holds the model, or: python -m packer verify --fetch-models"
    return Finding(model, "its config.json is not at hand", mend, asked, "not proved")


def models_of(config: Config) -> Iterator[tuple[str, bool]]:
    """(model, whether vLLM runs it) of everything in a config that is not switched off."""
    parts = [part for retrieval in config.retrieval for part in retrieval.retriever]
    for each in (*parts, *config.pipeline):
        if isinstance(each, Encoder) and getattr(each, "enabled", True):
            yield each.model, False
    for model in config.language_models().values():
        yield model.model, config.engine == "vllm"


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


def _architectures(bundle: Bundle) -> set[str] | None:
    facts = bundle.wheels.get("vllm")
    return set(vllm_api.read_names(facts.path)["architectures"]) if facts is not None else None


def _about(bundle: Bundle, model: str, config: Config) -> dict[str, Any]:
    """A model's config.json: a package's out of its wheel, which is what the kernel reads."""
    scheme, _, rest = model.partition(":")
    if scheme == "package":
        facts = bundle.wheels.get(rest)
        if facts is None or rest not in models.PACKAGED:
            raise ModelError(f"model '{model}': no wheel of it is there")
        with zipfile.ZipFile(facts.path) as archive:
            found: dict[str, Any] = json.loads(archive.read(f"{models.PACKAGED[rest][0]}/model/config.json"))
        return found
    folder = handles.find(model) if scheme in handles.SCHEMES else (config.path.parent / model).resolve()
    return models.read_json(folder / "config.json", model)
