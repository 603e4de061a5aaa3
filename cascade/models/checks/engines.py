"""What an engine takes: the arguments of a vLLM, by its own source or by what was written down of it."""

from __future__ import annotations

import ast
import importlib.util
import json
import operator
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.base.errors import nearest
from cascade.base.runtime import ROOT
from cascade.models import adapter_checks

RECORDS = ROOT / "wheels"  # what `python -m packer vllm-api` wrote down of the kernel's vLLM
WITHOUT_VLLM = "set engine = 'transformers', or run it where vLLM is: make run ENGINE=vllm"
BOUNDS = {
    "gt": (operator.gt, "above"),
    "ge": (operator.ge, "at least"),
    "lt": (operator.lt, "below"),
    "le": (operator.le, "at most"),
}


@dataclass(frozen=True)
class Vllm:
    """A vLLM is known by its name, its engine arguments and what it obeys of an adapter.

    The arguments have the values that they take (see packer.vllm.values). `record`: what else was written down of it,
    empty for one that is installed.
    """

    name: str
    arguments: Mapping[str, Mapping[str, Any]]
    record: Mapping[str, Any]

    @property
    def obeyed(self) -> adapter_checks.Obeyed | None:
        if self.record:
            return adapter_checks.Obeyed(self.name, self.record["adapter_fields"], adapter_checks.WITHOUT_PEFT)
        return adapter_checks.installed_vllm()


def known() -> Vllm | None:
    """The vLLM that is installed, else that of the default image, the oldest whose names lie in the project.

    None where there is neither.
    """
    records = sorted(RECORDS.glob("vllm-*.json"))
    return installed() or (recorded(json.loads(records[0].read_text(encoding="utf-8"))) if records else None)


def recorded(record: Mapping[str, Any]) -> Vllm:
    """The vLLM of such a file."""
    return Vllm(f"vLLM {record['version']}", record["engine_arguments"], record)


def installed() -> Vllm | None:
    """Reads the installed vLLM's source, as importing it takes long; None where none is installed."""
    spec = importlib.util.find_spec("vllm")
    if spec is None or spec.origin is None:
        return None
    source = (Path(spec.origin).parent / "engine" / "arg_utils.py").read_text(encoding="utf-8")
    classes = (node for node in ast.parse(source).body if isinstance(node, ast.ClassDef))
    body = next(node.body for node in classes if node.name == "EngineArgs")
    names = [n.target.id for n in body if isinstance(n, ast.AnnAssign) and isinstance(n.target, ast.Name)]
    return Vllm("the installed vLLM", {name: {} for name in names}, {})


def misfits(stage: str, given: Mapping[str, Any], vllm: Vllm) -> Iterator[str]:
    """Engine arguments that a vLLM does not know, and those with a value that it does not take, a sentence each."""
    for name, value in given.items():
        if name not in vllm.arguments:
            yield (
                f"stage '{stage}': {vllm.name} has no engine argument '{name}'{nearest(name, vllm.arguments)}; "
                f"remove or correct it"
            )
        elif wanted := misfit(vllm.arguments[name], value):
            yield f"stage '{stage}': engine argument {name} is {value!r}, but in {vllm.name} must be {wanted}"


def wrong_variables(environment: Mapping[str, str], vllm: Vllm) -> Iterator[str]:
    """Variables that a vLLM does not know, and those with a value that it does not take, a sentence each.

    Nothing of one whose variables are not written down.
    """
    known: Mapping[str, Mapping[str, Any]] = vllm.record.get("environment", {})
    for name, value in environment.items() if known else ():
        if name.startswith("VLLM_") and name not in known:
            yield f"environment: {vllm.name} has no variable {name}{nearest(name, known)}; remove or correct it"
        elif wanted := misfit(known.get(name, {}), value):
            yield f"environment: {name} is {value!r}, but in {vllm.name} must be {wanted}; correct or remove it"


def misfit(told: Mapping[str, Any], value: Any) -> str:
    """What an engine argument's `value` has to be instead, by what is `told` of it; empty where it may be as it is."""
    types, choices, members = (told.get(kind, []) for kind in ("types", "choices", "members"))
    if not types and not choices and not members:
        return ""
    fits = (
        type(value).__name__ in types
        or ("float" in types and type(value) is int)
        or any(value == choice and type(value) is type(choice) for choice in choices)
        # vLLM reads a member's name in any case, and `auto` as none of them.
        or (bool(members) and isinstance(value, str) and value.upper() in (*members, "AUTO"))
    )
    if not fits:
        named = [str(each) for each in (*choices, *members)]
        if len(named) > 12:  # a screenful, of which one was meant
            named = [f"one of {len(named)} names{nearest(str(value), named)}"]
        return " or ".join([*(f"{'an' if each == 'int' else 'a'} {each}" for each in types), *named])
    if isinstance(value, int | float):
        for bound, (holds, words) in BOUNDS.items():
            if bound in told and not holds(value, told[bound]):
                return f"{words} {told[bound]}"
    return ""
