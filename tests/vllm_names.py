"""Every vLLM name that the project uses, read from its own source and configs, for both versions to be held to."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from cascade import config as configs
from cascade.paths import ROOT

SOURCE = ROOT / "cascade" / "scorers" / "vllm_engine.py"
# What the engine's variables hold, by the class of the extract whose fields they are.
HOLDERS = {"output": "RequestOutput", "outputs": "CompletionOutput", "first": "Logprob"}


def problems(extract: dict[str, Any]) -> list[str]:
    """What is used and not in the extract, a line each; empty if all is there."""
    known_arguments = {*extract["engine_arguments"], *extract["llm_arguments"]}
    found = [f"engine argument {name} ({where})" for name, where in engine_arguments() if name not in known_arguments]
    for name, where in environment():
        if name.startswith("VLLM_") and name not in extract["environment"]:
            found.append(f"environment variable {name} ({where})")
    for called, keywords in calls():
        known = {
            "SamplingParams": extract["classes"]["SamplingParams"],
            "LoRARequest": extract["classes"]["LoRARequest"],
            "generate": extract["methods"]["generate"],
        }[called]
        found += [f"{called}({name}=…)" for name in keywords if name not in known]
    for holder, name in fields():
        if name not in extract["classes"][HOLDERS[holder]]:
            found.append(f"{HOLDERS[holder]}.{name}")
    if "processed_logprobs" not in extract["choices"]["LogprobsMode"]:
        found.append("logprobs_mode = processed_logprobs")
    return found


def tree() -> ast.Module:
    return ast.parse(SOURCE.read_text(encoding="utf-8"))


def engine_arguments() -> Iterator[tuple[str, str]]:
    """Names of engine arguments: keys written in `engine_arguments`, and those of every config's vllm tables."""
    function = next(n for n in ast.walk(tree()) if isinstance(n, ast.FunctionDef) and n.name == "engine_arguments")
    for node in ast.walk(function):
        if isinstance(node, ast.Dict):
            yield from ((key.value, SOURCE.name) for key in node.keys if isinstance(key, ast.Constant))
    for path in sorted((ROOT / "configs").glob("*.toml")):
        config = configs.load(path)
        models = [config.reason, *config.pipeline]
        for arguments in (config.vllm, *(getattr(model, "vllm", {}) for model in models if model is not None)):
            yield from ((name, path.name) for name in arguments)


def environment() -> Iterator[tuple[str, str]]:
    """Names of environment variables that the engine and the configs set."""
    for node in ast.walk(tree()):
        if (
            isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id == "ENVIRONMENT"
        ):
            yield from ((name, SOURCE.name) for name in ast.literal_eval(node.value))
        if isinstance(node, ast.Call) and ast.unparse(node.func) == "os.environ.setdefault":
            yield from ((each.value, SOURCE.name) for each in node.args[:1] if isinstance(each, ast.Constant))
    for path in sorted((ROOT / "configs").glob("*.toml")):
        yield from ((name, path.name) for name in configs.load(path).environment)


def calls() -> Iterator[tuple[str, list[str]]]:
    """(class or method, keywords) of each call into vLLM; `_run`'s own keywords go on to SamplingParams."""
    for node in ast.walk(tree()):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        keywords = [keyword.arg for keyword in node.keywords if keyword.arg is not None]
        if name == "_run":
            yield "SamplingParams", keywords
        elif name in ("SamplingParams", "LoRARequest") or ast.unparse(node.func) == "self.engine.generate":
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
