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
from pathlib import Path, PurePosixPath
from typing import Any

from cascade.errors import CascadeError
from cascade.manifest import sha256

Package = Path | zipfile.Path

CLASSES = {
    "CompletionOutput": "outputs.py",
    "LoRARequest": "lora/request.py",
    "Logprob": "logprobs.py",
    "RequestOutput": "outputs.py",
    "SamplingParams": "sampling_params.py",
}
CHOICES = {
    "LogprobsMode": "config/model.py",
    "MaxLoRARanks": "config/lora.py",
    "QuantizationMethods": "model_executor/layers/quantization/__init__.py",
}
METHODS = ("generate", "get_tokenizer")
MEND = "adapt packer/vllm_api.py to this vLLM"


class WheelError(CascadeError):
    """A wheel or package that cannot be read, or that keeps its names elsewhere than expected."""


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
        raise WheelError(f"{wheel}: cannot be read as a wheel ({reason}); pass vLLM's .whl file") from None


def read_package(package: Package) -> dict[str, Any]:
    """The extract of the `vllm` folder, inside a wheel or installed in site-packages.

    Parameters keep the order of their signature and choices that of their source; all other names are sorted.
    """
    llm = _methods(_lineage(package, "entrypoints/llm.py", "LLM"))
    extract = {
        "version": _constants(package, "_version.py", "__version__")[0],
        "engine_arguments": _fields(_lineage(package, "engine/arg_utils.py", "EngineArgs")),
        "llm_arguments": llm.get("__init__", []),
        "methods": {name: llm[name] for name in METHODS if name in llm},
        "classes": {name: _fields(_lineage(package, file, name)) for name, file in CLASSES.items()},
        "choices": {name: _constants(package, file, name) for name, file in CHOICES.items()},
        "environment": sorted(_constants(package, "envs.py", "environment_variables")),
        "architectures": sorted(_constants(package, "model_executor/models/registry.py", "_TEXT_GENERATION_MODELS")),
    }
    for name, found in {**extract, **extract["classes"]}.items():
        if not found:  # an empty list would read as a vLLM that has none of them
            raise WheelError(f"{package}: nothing found for '{name}'; {MEND}")
    return extract


def as_json(extract: dict[str, Any]) -> str:
    """The extract as it is kept: the same bytes for the same wheel, a name a line, so that a change can be read."""
    return json.dumps(extract, indent=1, sort_keys=True) + "\n"


def _module(package: Package, file: str) -> ast.Module:
    path = package / file
    if not path.is_file():
        raise WheelError(f"{path}: no such file; {MEND}, or pass one")
    try:
        return ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, ValueError) as error:
        raise WheelError(f"{path}: not readable as Python ({error}); use a Python as new as this vLLM's") from None


def _lineage(package: Package, file: str, name: str) -> list[ast.ClassDef]:
    """The class `name` as `file` defines or imports it, then its bases; none of what lies outside the package."""
    for node in ast.walk(_module(package, file)):  # breadth first: the module's own statements before nested ones
        if isinstance(node, ast.ClassDef) and node.name == name:
            named = [base.value if isinstance(base, ast.Subscript) else base for base in node.bases]
            bases = [base.id for base in named if isinstance(base, ast.Name) and not hasattr(builtins, base.id)]
            return [node, *(found for base in bases for found in _lineage(package, file, base))]
        if isinstance(node, ast.ImportFrom):
            for alias in node.names:
                if name == (alias.asname or alias.name):
                    source = _source(package, file, node)
                    return _lineage(package, source, alias.name) if source else []
    raise WheelError(f"{package / file}: no class {name} there; {MEND}")


def _source(package: Package, file: str, statement: ast.ImportFrom) -> str | None:
    """The file that `file` imports from; None outside the package."""
    parts = (statement.module or "").split(".")
    if statement.level:
        folder = PurePosixPath(file).parents[statement.level - 1]
    elif parts[0] == "vllm":
        folder, parts = PurePosixPath(), parts[1:]
    else:
        return None
    module = folder.joinpath(*parts)
    inside = (module / "__init__.py").as_posix()
    return inside if (package / inside).is_file() else f"{module}.py"


def _fields(classes: list[ast.ClassDef]) -> list[str]:
    """The public attributes: annotated in the class, or set on self by __init__."""
    names = set()
    for node in (node for found in classes for node in found.body):
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            if "ClassVar" not in ast.unparse(node.annotation):
                names.add(node.target.id)
        elif isinstance(node, ast.FunctionDef) and node.name == "__init__":
            for inner in ast.walk(node):
                match inner:
                    case ast.Attribute(value=ast.Name(id="self"), attr=name, ctx=ast.Store()):
                        names.add(name)
    return sorted(name for name in names if not name.startswith("_"))


def _methods(classes: list[ast.ClassDef]) -> dict[str, list[str]]:
    """The methods' named parameters, without self; a class before its bases, a definition before its overloads."""
    found = {}
    for node in (node for owner in reversed(classes) for node in owner.body):
        if isinstance(node, ast.FunctionDef):
            arguments = node.args
            named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
            found[node.name] = [argument.arg for argument in named[1:]]
    return found


def _constants(package: Package, file: str, name: str) -> list[Any]:
    """What `file` assigns to `name`: a constant, the values of a Literal or the keys of a dict."""
    for node in _module(package, file).body:
        match node:
            case ast.Assign(targets=[ast.Name(id=target), *_], value=value) if target == name:
                break
            case ast.AnnAssign(target=ast.Name(id=target), value=ast.expr() as value) if target == name:
                break
    else:
        raise WheelError(f"{package / file}: no {name} there; {MEND}")
    parts: list[ast.expr | None]
    match value:
        case ast.Dict(keys=keys):
            parts = keys
        case ast.Subscript(value=ast.Name(id="Literal"), slice=ast.Tuple(elts=elements)):
            parts = [*elements]
        case ast.Subscript(value=ast.Name(id="Literal"), slice=element):
            parts = [element]
        case _:
            parts = [value]
    constants = [part.value for part in parts if isinstance(part, ast.Constant)]
    if len(constants) < len(parts):
        raise WheelError(f"{package / file}: {name} is not written out in constants; {MEND}")
    return constants
