"""The check finds what is wrong with a run before it begins, a line a fact, without loading weights."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from pydantic import ValidationError

from cascade.base import folder
from cascade.base.errors import CheckError, ConfigError, StageError
from cascade.competitions import registry
from cascade.competitions.base import Task
from cascade.config import schema as configs
from cascade.config.messages import explained
from cascade.config.schema import Config
from cascade.models import placement
from cascade.models.checks import dtypes, encoders, engines, language_models
from cascade.models.checks.facts import Fact, tried
from cascade.models.checks.target import Target
from cascade.run import check_prompts


def facts(config: Config, target: Target, task: Task | None = None, out: Path | None = None) -> Iterator[Fact]:
    """Checks all but the data, for a run of the config on that machine; competition: whose texts the prompts take."""
    yield from tried("engine", lambda: _engine(config, target), target.is_known)
    yield from tried("environment", lambda: _environment(config, target), target.is_known)
    yield from tried("devices", lambda: _devices(config, target), target.is_known)
    for name, encoder in config.encoders():
        yield from encoders.facts(name, encoder, config, target.is_here)
        yield from dtypes.facts(name, encoder, config, target)
    for name, model in config.language_models().items():
        yield from language_models.facts(name, model, config, target)
        yield from dtypes.facts(name, model, config, target)
    if config.language_models():
        yield from tried("prompts", lambda: check_prompts.facts(config, task), target.is_here)
    if out is not None:
        yield from tried("output folder", lambda: _out(out), target.is_here)


def of_files(path: Path, data: Path | None, out: Path | None, engine: str, target: Target) -> Iterator[Fact]:
    """Everything, the config and the data among it."""
    read: list[Config] = []
    competitions: list[Task] = []

    def config() -> Iterator[Fact]:
        try:
            read.append(configs.load(path, engine))
        except ConfigError as error:
            if not isinstance(error.__cause__, ValidationError):
                raise
            for each in explained(error.__cause__, path, configs.TABLES, configs.KINDS, ConfigError):
                yield Fact("config", False, each.found, each.mend)
            return
        stages = [*read[0].retrieval, *(pipeline for pipeline in read[0].pipeline if pipeline.enabled)]
        yield Fact("config", True, f"{path}: {', '.join(stage.name for stage in stages)}")

    def competition(folder: Path) -> Iterator[Fact]:
        found = (registry.of(read[0]) if read else registry.of_data(folder)).read(folder)
        competitions.append(found)
        counts = f"{len(found.train)} train queries, {len(found.queries)} test queries, {len(found.labels)} labels"
        yield Fact("data", True, f"{folder}: {counts}")
        yield from (Fact("data", True, str(folder), warning) for warning in found.warnings)

    def adaptor() -> list[Fact]:
        registry.of(read[0])
        return []

    yield from tried("config", config, target.is_here)
    if data is not None:
        yield from tried("data", lambda: competition(data), target.is_here)
    elif read:
        yield from tried("competition", adaptor, target.is_here)
    if read:
        yield from facts(read[0], target, competitions[0] if competitions else None, out)
    elif out is not None:
        yield from tried("output folder", lambda: _out(out), target.is_here)


def require(found: Iterable[Fact], say: Callable[[str], None] = print) -> None:
    """Says what is doubtful, and raises CheckError with the first of what is wrong, once all has been looked at."""
    wrong: list[Fact] = []
    for fact in found:
        if fact.ok is False:
            wrong.append(fact)
        elif fact.ok is None or fact.mend:
            say(f"warning: {fact.mend}" if fact.ok else str(fact))
    for fact in wrong[1:]:
        say(str(fact))
    if wrong:
        more = f" (and {len(wrong) - 1} more, above)" if len(wrong) > 1 else ""
        first, mend = wrong[0].found, wrong[0].mend
        raise CheckError(first if mend else first + more, mend=mend and mend + more)


def _engine(config: Config, target: Target) -> Iterator[Fact]:
    if not config.language_models():
        return
    if config.engine == "vllm" and not target.has_vllm:
        found = f"engine = 'vllm', but {target.name} has no vLLM"
        yield Fact("engine", False if target.is_known else None, found, engines.WITHOUT_VLLM)
    else:
        yield Fact("engine", True, config.engine)


def _environment(config: Config, target: Target) -> Iterator[Fact]:
    """Of a vLLM that is only installed, no variables are known: it looks at the values itself."""
    known = target.vllm.record.get("environment", {}) if target.vllm is not None and config.engine == "vllm" else {}
    if target.vllm is None or not known:
        return
    wrong = list(engines.wrong_variables(config.environment, target.vllm))
    for told in wrong:
        found, _, mend = told.rpartition("; ")
        yield Fact("environment", False, found, mend)
    taken = [name for name in config.environment if name in known]
    if taken and not wrong:
        yield Fact("environment", True, f"{target.vllm.name} takes {', '.join(taken)}")


def _devices(config: Config, target: Target) -> Iterator[Fact]:
    there, missing = placement.devices_of(config, target.gpus)
    for name, model in config.language_models().items():
        if model.parallel == "tensor":
            placement.check_tensor(name, there, missing)
    yield Fact("devices", True, ", ".join(there), placement.missing_devices(missing, there) if missing else "")


def _out(out: Path) -> Iterator[Fact]:
    folder.check(out)
    there = next(each for each in (out.absolute(), *out.absolute().parents) if each.exists())
    if not there.is_dir() or not os.access(there, os.W_OK):
        raise StageError("cannot be written to", path=there, mend="pass --out with a folder that can be written to")
    yield Fact("output folder", True, f"{out} {'contains a run, which is kept' if folder.read(out) else 'is free'}")
