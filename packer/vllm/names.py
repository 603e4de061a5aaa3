"""Every vLLM name that the project uses, read from its own source and configs, for a version to be held to."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from cascade.base.runtime import ROOT
from cascade.config.schema import Config
from cascade.models.checks import quantisation, sharded
from cascade.models.checks.engines import misfit

SOURCE = ROOT / "cascade" / "scorers" / "vllm_engine.py"
# What the engine's variables hold, by the class of the extract whose fields they are.
HOLDERS = {"output": "RequestOutput", "outputs": "CompletionOutput", "first": "Logprob"}
# Arguments that take any string by their annotation; the choices of the extract that tell which are known.
NAMED = {"quantization": "QuantizationMethods", "load_format": "LoadFormats"}


def problems(extract: dict[str, Any], configs: Iterable[Config]) -> list[str]:
    """What is used and not in the extract of packer.vllm.api, a line each with the file that uses it; else empty."""
    configs = list(configs)
    known_arguments = {*extract["engine_arguments"], *extract["llm_arguments"]}
    found = [
        f"engine argument {name} ({where})" for name, where in engine_arguments(configs) if name not in known_arguments
    ]
    for name, where in environment(configs):
        if name.startswith("VLLM_") and name not in extract["environment"]:
            found.append(f"environment variable {name} ({where})")
    for name, value, where in named(configs):
        if value not in extract["choices"][NAMED[name]]:
            found.append(f"{name} = {value} ({where})")
    for called, keywords in calls():
        known = {**extract["classes"], **extract["methods"]}.get(called)
        if known is None:
            found.append(f"LLM.{called}() ({SOURCE.name})")
        else:
            found += [f"{called}({name}=…) ({SOURCE.name})" for name in keywords if name not in known]
    for holder, name in fields():
        if name not in extract["classes"][HOLDERS[holder]]:
            found.append(f"{HOLDERS[holder]}.{name} ({SOURCE.name})")
    if "processed_logprobs" not in extract["choices"]["LogprobsMode"]:
        found.append(f"logprobs_mode = processed_logprobs ({SOURCE.name})")
    if extract["sharded_files"] != sharded.FILES:
        found.append(f"the file name {sharded.FILES} ({Path(sharded.__file__).name})")
    if extract["choices"]["MARLIN_SUPPORTED_GROUP_SIZES"] != list(quantisation.GROUPS):
        found.append(f"group_size of Marlin in {quantisation.GROUPS} ({Path(quantisation.__file__).name})")
    return found


def misfits(extract: dict[str, Any], configs: Iterable[Config]) -> list[str]:
    """Arguments and variables of the configs with a value that the extract knows vLLM to refuse, a line each."""
    configs, found = list(configs), []
    for config in configs:
        for name, value in config.environment.items():
            wanted = misfit(extract["environment"].get(name, {}), value)
            if wanted:
                found.append(f"environment variable {name} = {value!r} ({config.path.name}) must be {wanted}")
    for arguments, where in _given(configs):
        for name, value in arguments.items():
            wanted = misfit(extract["engine_arguments"].get(name, {}), value)
            if wanted:
                found.append(f"engine argument {name} = {value!r} ({where}) must be {wanted}")
    return found


def tree() -> ast.Module:
    return ast.parse(SOURCE.read_text(encoding="utf-8"))


def engine_arguments(configs: Iterable[Config]) -> Iterator[tuple[str, str]]:
    """Names of engine arguments: keys written in `engine_arguments`, and those of every config's vllm tables."""
    function = next(n for n in ast.walk(tree()) if isinstance(n, ast.FunctionDef) and n.name == "engine_arguments")
    for node in ast.walk(function):
        if isinstance(node, ast.Dict):
            yield from ((str(key.value), SOURCE.name) for key in node.keys if isinstance(key, ast.Constant))
    for arguments, where in _given(configs):
        yield from ((name, where) for name in arguments)


def named(configs: Iterable[Config]) -> Iterator[tuple[str, str, str]]:
    """(argument, value, file) of each value in the configs that vLLM knows by name only, as the source has `str`."""
    for arguments, where in _given(configs):
        yield from ((name, str(arguments[name]), where) for name in NAMED if arguments.get(name) is not None)


def _given(configs: Iterable[Config]) -> Iterator[tuple[dict[str, Any], str]]:
    """Each vllm table of the configs, of stages that are switched off too."""
    for config in configs:
        stages = [config.reason, *config.pipeline]
        for arguments in (config.vllm, *(getattr(stage, "vllm", {}) for stage in stages)):
            yield arguments, config.path.name


def environment(configs: Iterable[Config]) -> Iterator[tuple[str, str]]:
    """Names of environment variables that the engine and the configs set."""
    for node in ast.walk(tree()):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id == "ENVIRONMENT"
        ):
            yield from ((name, SOURCE.name) for name in ast.literal_eval(node.value))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "os.environ.setdefault":
            yield from ((str(each.value), SOURCE.name) for each in node.args[:1] if isinstance(each, ast.Constant))
    for config in configs:
        yield from ((name, config.path.name) for name in config.environment)


def calls() -> Iterator[tuple[str, list[str]]]:
    """(class or method, keywords) of each call into vLLM; `_run`'s own keywords go on to SamplingParams."""
    for node in ast.walk(tree()):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        keywords = [keyword.arg for keyword in node.keywords if keyword.arg is not None]
        if name == "_run":
            yield "SamplingParams", keywords
        elif name in ("SamplingParams", "LoRARequest") or ast.unparse(node.func) == f"self.engine.{name}":
            yield name, keywords


def fields() -> Iterator[tuple[str, str]]:
    """(holder, field) of each field read from what the engine returns."""
    for node in ast.walk(tree()):
        if isinstance(node, ast.Attribute):
            value = node.value
            while isinstance(value, ast.Subscript):
                value = value.value
            holder = value.id if isinstance(value, ast.Name) else getattr(value, "attr", "")
            if holder in HOLDERS:
                yield holder, node.attr
