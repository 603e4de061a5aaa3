"""The names a vLLM offers, read out of its wheel or its folder without importing it.

The kernel's vLLM wants a GPU, so the tests run a CPU build, of another version. Arguments and fields come and go
between versions: what the project uses has to be in both. The kernel's wheel is too large to be at hand in a test;
the names in it are kept as a small JSON file, and the installed vLLM is read by the same code to compare.
"""

from __future__ import annotations

import ast
import builtins
import json
import zipfile
import zlib
from pathlib import Path
from typing import Any

from cascade.base.manifest import sha256
from cascade.models.adapter_checks import fields_obeyed
from packer.vllm.source import MEND, Package, WheelError
from packer.vllm.values import accepted, variable_values

CLASSES = {
    "CompletionOutput": "outputs.py",
    "LoRARequest": "lora/request.py",
    "Logprob": "logprobs.py",
    "RequestOutput": "outputs.py",
    "SamplingParams": "sampling_params.py",
}
CHOICES = {
    "LoadFormats": "model_executor/model_loader/__init__.py",
    "LogprobsMode": "config/model.py",
    "MARLIN_SUPPORTED_GROUP_SIZES": "model_executor/layers/quantization/utils/marlin_utils.py",
    "MaxLoRARanks": "config/lora.py",
    "QuantizationMethods": "model_executor/layers/quantization/__init__.py",
    "_FLOAT16_NOT_SUPPORTED_MODELS": "config/model.py",  # model types
}
METHODS = ("generate", "get_tokenizer")
MARLIN = "model_executor/kernels/linear/mixed_precision/marlin.py"
SHARDED = "model_executor/model_loader/sharded_state_loader.py"


def read_wheel(wheel: Path) -> dict[str, Any]:
    """The extract of a vLLM wheel, with the file's name and hash: which build of a version it was."""
    return {**read_names(wheel), "wheel": {"file": wheel.name, "sha256": sha256(wheel)}}


def read_names(wheel: Path) -> dict[str, Any]:
    """The extract of a vLLM wheel alone."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            return read_package(zipfile.Path(archive, "vllm/"))
    except (OSError, zipfile.BadZipFile, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise WheelError(f"cannot be read as a wheel ({reason})", path=wheel, mend="pass vLLM's .whl file") from None


def read_package(root: Path | zipfile.Path) -> dict[str, Any]:
    """The extract of the `vllm` folder, inside a wheel or installed in site-packages.

    Parameters keep the order of their signature and choices that of their source; all other names are sorted.
    """
    package = Package(root)
    llm = _methods(_lineage(package, "entrypoints/llm.py", "LLM"))
    extract = {
        "version": _constants(package, "_version.py", "__version__")[0],
        "engine_arguments": _arguments(package, _lineage(package, "engine/arg_utils.py", "EngineArgs")),
        "llm_arguments": llm.get("__init__", []),
        "methods": {name: llm[name] for name in METHODS if name in llm},
        "classes": {name: _fields(_lineage(package, file, name)) for name, file in CLASSES.items()},
        "choices": {name: _constants(package, file, name) for name, file in CHOICES.items()},
        "adapter_fields": fields_obeyed(package.module("lora/peft_helper.py")),
        "environment": _variables(package),
        "int8_weights": _int8_weights(package),
        "sharded_files": _sharded_files(package),
        "architectures": sorted(_constants(package, "model_executor/models/registry.py", "_TEXT_GENERATION_MODELS")),
    }
    for name, found in {**extract, **extract["classes"]}.items():
        if not found:  # an empty list would read as a vLLM that has none of them
            raise WheelError(f"nothing found for '{name}'", path=str(root), mend=MEND)
    return extract


def as_json(extract: dict[str, Any]) -> str:
    """The extract as it is kept: the same bytes for the same wheel, a name a line, so that a change can be read."""
    return json.dumps(extract, indent=1, sort_keys=True) + "\n"


def _lineage(package: Package, file: str, name: str) -> list[tuple[str, ast.ClassDef]]:
    """The class `name` as `file` defines or imports it, with its file, then its bases; none from outside vLLM."""
    definition = package.definition(file, name)
    if definition is None:
        return []
    where, node = definition
    if not isinstance(node, ast.ClassDef):
        raise WheelError(f"has no class {name}", path=str(package.root / where), mend=MEND)
    named = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
    bases = [base.id for base in named if isinstance(base, ast.Name) and not hasattr(builtins, base.id)]
    return [(where, node), *(found for base in bases for found in _lineage(package, where, base))]


def _fields(classes: list[tuple[str, ast.ClassDef]]) -> list[str]:
    """The public attributes: annotated in the class, or set on self by __init__."""
    names = set()
    for node in (node for _, found in classes for node in found.body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if "ClassVar" not in ast.unparse(node.annotation):
                names.add(node.target.id)
        elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
            for inner in ast.walk(node):
                match inner:
                    case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                        names.add(name)
    return sorted(name for name in names if not name.startswith("_"))


def _arguments(package: Package, classes: list[tuple[str, ast.ClassDef]]) -> dict[str, dict[str, Any]]:
    """The fields by name, each with the values that it takes: see packer.vllm.values."""
    annotated = {
        node.target.id: accepted(package, file, node)
        for file, owner in reversed(classes)
        for node in owner.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)
    }
    return {name: annotated.get(name, {}) for name in _fields(classes)}


def _variables(package: Package) -> dict[str, dict[str, Any]]:
    """The variables that are read from the environment by name, each with the values that it takes."""
    names = _constants(package, "envs.py", "environment_variables")
    definition = package.definition("envs.py", "environment_variables")
    values = getattr(definition[1], "values", []) if definition is not None else []
    return {name: variable_values(value) for name, value in zip(names, values, strict=True)}


def _int8_weights(package: Package) -> list[str]:
    """The types of weights that the kernel Marlin multiplies by 8-bit activations: it asserts them while it loads."""
    methods = [
        node
        for _, owner in _lineage(package, MARLIN, "MarlinLinearKernel")
        for node in owner.body
        if isinstance(node, ast.FunctionDef) and node.name == "process_weights_after_loading"
    ]
    asserted = [node.test for method in methods[:1] for node in ast.walk(method) if isinstance(node, ast.Assert)]
    return sorted(
        {
            inner.attr
            for test in asserted
            for inner in ast.walk(test)
            if isinstance(inner, ast.Attribute) and ast.unparse(inner.value) == "scalar_types"
        }
    )


def _sharded_files(package: Package) -> str:
    """How the files of a checkpoint of load_format sharded_state are called, as vLLM writes them by default."""
    for _, owner in _lineage(package, SHARDED, "ShardedStateLoader"):
        for node in owner.body:
            match node:
                case ast.Assign(
                    targets=[ast.Name(id="DEFAULT_PATTERN" | "TP_ONLY_PATTERN")],
                    value=ast.Constant(value=str() as name),
                ):
                    return name
    return ""


def _methods(classes: list[tuple[str, ast.ClassDef]]) -> dict[str, list[str]]:
    """The methods' named parameters, without self; a class before its bases, a definition before its overloads."""
    found = {}
    for node in (node for _, owner in reversed(classes) for node in owner.body):
        if isinstance(node, ast.FunctionDef):
            arguments = node.args
            named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            found[node.name] = [argument.arg for argument in named[1:]]
    return found


def _constants(package: Package, file: str, name: str) -> list[Any]:
    """What `file` assigns to `name`: a constant, the values of a Literal or a list, or the keys of a dict."""
    definition = package.definition(file, name)
    value = definition[1] if definition is not None else None
    parts: list[Any]
    match value:
        case ast.Dict(keys=keys):
            parts = keys
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Tuple(elts=elements)):
            parts = [*elements]
        case ast.Subscript(value=ast.Name(id="Literal"), slice=element):
            parts = [element]
        case ast.List(elts=elements):
            parts = [*elements]
        case _:
            parts = [value]
    constants = []
    for part in parts:
        match part:
            case ast.Constant(value=constant):
                constants.append(constant)
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int() as number)):
                constants.append(-number)
    if len(constants) < len(parts):
        raise WheelError(f"{name} is not written as constants", path=str(package.root / file), mend=MEND)
    return constants
