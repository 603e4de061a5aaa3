"""Which values an engine argument or a variable of vLLM takes, as far as its source tells.

See `cascade.models.checks.engines.misfit`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from cascade.models.checks.engines import BOUNDS
from packer.vllm.source import Package, WheelError

# By annotation; the values as TOML has them.
TYPES = {
    "bool": "bool", "int": "int", "float": "float", "str": "str", "dict": "dict", "list": "list", "set": "list",
    "tuple": "list",
}  # fmt: skip


class _OpenError(Exception):
    """An annotation that does not tell every value."""


def accepted(package: Package, file: str, argument: ast.AnnAssign) -> dict[str, Any]:
    """`types`, `choices` (values), `members` (of an enum, by name) and BOUNDS that an argument's annotation tells.

    Bounds are those of the config class's field that its default is. Empty where the source leaves it open.
    """
    found: dict[str, Any] = {}
    try:
        for kind, value in _alternatives(package, file, argument.annotation):
            if value not in found.setdefault(kind, []):
                found[kind].append(value)
    except _OpenError:
        return {}
    if "str" in found.get("types", []):  # any name then
        found = {"types": found["types"]}
    bounds = {name: limit for name, limit in _bounds(package, file, argument.value) if name in BOUNDS}
    return {**found, **bounds}


def variable_values(reader: ast.AST) -> dict[str, Any]:
    """`choices` of an environment variable, by what reads it in envs.py; empty where that leaves it open."""
    match reader:
        case ast.Call(func=ast.Name(id="env_with_choices"), args=[_, _, ast.List(elts=elements)], keywords=[]):
            choices = [element.value for element in elements if isinstance(element, ast.Constant)]
            return {"choices": choices} if len(choices) == len(elements) else {}
    return {}


def _alternatives(package: Package, file: str, annotation: ast.AST) -> Iterator[tuple[str, Any]]:
    match annotation:
        case ast.Constant(value=None):  # which TOML cannot write
            return
        case ast.BinOp(left=left, op=ast.BitOr(), right=right):
            yield from _alternatives(package, file, left)
            yield from _alternatives(package, file, right)
        case ast.Subscript(value=ast.Name(id="Literal"), slice=inside):
            for element in inside.elts if isinstance(inside, ast.Tuple) else [inside]:
                if isinstance(element, ast.Constant):
                    yield "choices", element.value
                else:  # a Literal by name
                    yield from _alternatives(package, file, element)
        case ast.Name(id=name) | ast.Subscript(value=ast.Name(id=name)) if name in TYPES:
            yield "types", TYPES[name]
        case ast.Name(id=name):
            match _definition(package, file, name):
                case (_, ast.ClassDef(bases=[ast.Name(id="Enum")], body=body)):
                    for node in body:
                        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
                            yield "members", node.targets[0].id
                case (where, ast.Subscript() | ast.BinOp() | ast.Name() as value):
                    yield from _alternatives(package, where, value)
                case _:
                    raise _OpenError
        case _:
            raise _OpenError


def _definition(package: Package, file: str, name: str) -> tuple[str, ast.AST] | None:
    try:
        return package.definition(file, name)
    except WheelError:  # a builtin, or made where it is not seen: that leaves the argument open, no more
        return None


def _bounds(package: Package, file: str, default: ast.expr | None) -> Iterator[tuple[str, float]]:
    """Reads what `SomeConfig.field` or `get_field(SomeConfig, "field")` declares with pydantic's Field."""
    match default:
        case ast.Attribute(value=ast.Name(id=owner), attr=name):
            pass
        case ast.Call(func=ast.Name(id="get_field"), args=[ast.Name(id=owner), ast.Constant(value=str() as name)]):
            pass
        case _:
            return
    definition = _definition(package, file, owner)
    for node in getattr(definition[1], "body", []) if definition is not None else []:
        match node:
            case ast.AnnAssign(target=ast.Name(id=field), value=ast.Call(func=ast.Name(id="Field"), keywords=keywords)):
                for keyword in keywords if field == name else []:
                    match keyword:
                        case ast.keyword(arg=str() as bound, value=ast.Constant(value=int() | float() as limit)):
                            yield bound, limit
