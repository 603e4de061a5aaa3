"""The config with its fitted numbers and new adapters, as a file that runs from where it lies."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cascade.base import atomic
from cascade.base.errors import CascadeError
from cascade.config import handles
from cascade.config import schema as configs
from cascade.config.schema import Config

HEADER = re.compile(r"^\s*\[\[?([\w.\" -]+)\]\]?\s*(#.*)?$")
KEY = re.compile(r"^(\s*)([\w-]+)(\s*=\s*)(.*)$")
PATHS = ("prompt", "adapters", "model")  # keys of a config whose values are relative to it
TOP, PART = "", "retrieval.retriever"


@dataclass(frozen=True)
class Numbers:
    """What was fitted. weights: of the first retrieval's parts, in their order; ensemble: of its members, by name."""

    weights: Sequence[float]
    gate: float | None
    ensemble: Mapping[str, float]
    boost: float


@dataclass
class Block:
    """A table of a TOML file as it is written: its header's name, and its lines."""

    name: str
    lines: list[str]

    def value(self, key: str) -> str:
        """What stands behind the key; "" where it is not there."""
        return next((found[4] for line in self.lines if (found := KEY.match(line)) and found[2] == key), "")

    def set(self, key: str, value: str) -> None:
        """Replaces the line of a key, or adds one below the block's last line that is not empty."""
        for place, line in enumerate(self.lines):
            if (found := KEY.match(line)) and found[2] == key:
                self.lines[place] = f"{found[1]}{key}{found[3]}{value}"
                return
        last = max((place for place, line in enumerate(self.lines) if line.strip()), default=-1)
        self.lines.insert(last + 1, f"{key} = {value}")


def write(config: Config, numbers: Numbers, adapters: Path, path: Path) -> bool:
    """Writes the config to `path`; False where its tables are written in a way that cannot be edited by lines."""
    text = edited(config, numbers, adapters, path)
    scratch = path.with_suffix(".trial.toml")
    atomic.write_text(scratch, text)
    try:
        same: bool = _plain(configs.load(scratch), path.parent) == _wanted(config, numbers, adapters)
    except CascadeError:
        same = False
    finally:
        scratch.unlink()
    if same:
        atomic.write_text(path, text)
    return same


def edited(config: Config, numbers: Numbers, adapters: Path, path: Path) -> str:
    """The config's text with the numbers, the adapters, and its paths as they are from `path`."""
    blocks = _blocks(config.path.read_text(encoding="utf-8"))
    for block in blocks:
        for key in PATHS:
            if (found := re.match(r'"([^"]*)"(.*)$', block.value(key))) and _is_path(key, found[1]):
                place = os.path.relpath((config.path.parent / found[1]).resolve(), path.parent.resolve())
                block.set(key, f'"{Path(place).as_posix()}"{found[2]}')
    blocks[0].set("adapters", f'"{Path(os.path.relpath(adapters.resolve(), path.parent.resolve())).as_posix()}"')
    if str(config.competition).endswith(".py"):
        place = os.path.relpath((config.path.parent / config.competition).resolve(), path.parent.resolve())
        blocks[0].set("competition", f'"{place}"')
    parts = [block for block in blocks if block.name == PART][: len(config.retrieval[0].retriever)]
    for block, part, weight in zip(parts, config.retrieval[0].retriever, numbers.weights, strict=False):
        block.set("weight", str(weight))
        if part.kind == "neighbours" and numbers.gate is not None:
            block.set("gate", str(numbers.gate))
    for block in blocks:
        if block.name == "ensemble":
            pairs = ", ".join(f'"{name}" = {weight}' for name, weight in numbers.ensemble.items())
            block.set("weights", f"{{ {pairs} }}")
            block.set("unseen_boost", str(numbers.boost))
    told = f"# {config.path.name} with the numbers and the adapters of python -m training run.\n"
    return told + "\n".join(line for block in blocks for line in block.lines) + "\n"


def _blocks(text: str) -> list[Block]:
    blocks = [Block(TOP, [])]
    for line in text.splitlines():
        if found := HEADER.match(line):
            blocks.append(Block(found[1].replace(" ", ""), []))
        blocks[-1].lines.append(line)
    return blocks


def _is_path(key: str, value: str) -> bool:
    return key != "model" or value.partition(":")[0] not in ("package", *handles.SCHEMES)


def _plain(config: Config, base: Path) -> Any:
    """All that the config says, with paths as they are for everybody. `base`: the folder that they are relative to."""

    def resolved(value: Any, key: str = "") -> Any:
        if isinstance(value, dict):
            return {name: resolved(each, name) for name, each in value.items() if name != "path"}
        if isinstance(value, list):
            return [resolved(each, key) for each in value]
        relative = key in PATHS or (key == "competition" and str(value).endswith(".py"))
        if relative and isinstance(value, str) and _is_path(key, value):
            return str((base / value).resolve())
        return value

    return resolved(config.model_dump(mode="json"))


def _wanted(config: Config, numbers: Numbers, adapters: Path) -> Any:
    found = _plain(config, config.path.parent)
    found["adapters"] = str(adapters.resolve())
    for part, weight in zip(found["retrieval"][0]["retriever"], numbers.weights, strict=True):
        part["weight"] = weight
        if part["kind"] == "neighbours" and numbers.gate is not None:
            part["gate"] = numbers.gate
    found["ensemble"] |= {"weights": dict(numbers.ensemble), "unseen_boost": numbers.boost}
    return found
