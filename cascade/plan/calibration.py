"""A profile of this machine, from the ledgers of a config's own runs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence, Set
from pathlib import Path
from typing import Any

import numpy as np

from cascade.base import atomic, folder
from cascade.base.errors import PlanError
from cascade.base.history import Entry, seconds
from cascade.competitions.base import Task
from cascade.config.schema import Config
from cascade.plan.fit import LEAST_SPREAD, costs, solve
from cascade.plan.ledgers import Runs, StageRun
from cascade.plan.profile import Measured, Profile, Rate
from cascade.plan.workload import Planner, StageWork, Work


def calibrate(
    config: Config, task: Task, base: Profile, runs: Runs, source: str, planner: Planner | None = None
) -> Profile:
    """`base` with the runs' own rates before its own, and with what they had to do in place of what is assumed.

    `planner`: one that has counted this config's prompts already. PlanError where the runs have nothing that a rate
    could be read from.
    """
    planner = planner or Planner(config, task, base)
    known = base.model_copy(update={"measured": []})
    for name in [stage.name for stage in planner.stages(config, known)]:  # what one leaves, a later one is given
        stage = next(stage for stage in planner.stages(config, known) if stage.name == name)
        left = _selected(stage, runs, planner.queries)
        known = known.model_copy(update={"measured": [*known.measured, *([left] if left is not None else [])]})
    stages = planner.stages(config, known)
    measured = {stage.name: _counted(stage, known, runs) for stage in stages if stage.name in runs.stages}
    others = [each for each in base.measured if each.stage not in measured]
    named = {name for rate in base.rate for name in rate.settings}
    rates = [rate for stage in stages for rate in _rates(stage, config, runs.stages.get(stage.name, []), source, named)]
    if not rates:
        raise PlanError("no stage has finished enough work to compute a rate from", path=source, mend="run it again")
    fresh = [(rate.kind, rate.stage, rate.settings) for rate in rates]
    kept = [rate for rate in base.rate if (rate.kind, rate.stage, rate.settings) not in fresh]
    found = [each for each in measured.values() if each is not None]
    return base.model_copy(update={"rate": [*rates, *kept], "measured": [*found, *others]})


def _selected(stage: StageWork, runs: Runs, all_queries: int) -> Measured | None:
    """What `select` left, against what the plan makes of it without a run."""
    found = [run.phases["select"]["selected"] for run in runs.stages.get(stage.name, [])
             if "selected" in run.phases.get("select", {})]  # fmt: skip
    queries = sum(each["queries"] for each in found)
    if not queries or not stage.candidates:
        return None
    share = queries / sum(each["of_queries"] for each in found)
    candidates = sum(each["candidates"] for each in found) / queries
    return Measured(
        stage=stage.name, queries=share * all_queries / stage.queries, candidates=candidates / stage.candidates
    )


def _counted(stage: StageWork, known: Profile, runs: Runs) -> Measured | None:
    """Tokens a query as the run had them, against what the plan makes of the same queries and candidates."""
    selected = known.measured_of(stage.name)
    work = next((work for work in stage.works if work.kind == "llm"), None)
    chunks = [chunk for run in runs.stages[stage.name] for chunk in _chunks(run) if "candidates_cut_to" not in chunk]
    if work is None or not chunks:
        return selected
    share = sum(chunk["queries"] for chunk in chunks) / stage.queries

    def factor(key: str, planned: float) -> float:
        return sum(chunk.get(key, 0) for chunk in chunks) / (planned * share) if planned else 1.0

    return (selected or Measured(stage=stage.name)).model_copy(
        update={
            "tokens": factor("tokens", work.tokens),
            "cached": factor("cached_tokens", work.cached),
            "written": factor("written_tokens", work.written),
        }
    )


def _chunks(run: StageRun) -> list[Entry]:
    found: list[Entry] = run.phases.get("score", {}).get("chunks", [])
    return found


def _rates(stage: StageWork, config: Config, runs: Sequence[StageRun], source: str, named: Set[str]) -> Iterator[Rate]:
    """Returns all rates that the runs of one stage give. `named`: the settings by which rates are told apart."""

    def rate(work: Work, spread: float = LEAST_SPREAD, **found: float) -> Rate:
        engine = config.engine if work.kind == "llm" else None
        settings = {name: value for name, value in work.settings if name in named}
        return Rate(kind=work.kind, stage=stage.name, model=work.model or None, engine=engine, settings=settings,
                    spread=spread, source=source, **found)  # fmt: skip

    besides = [run.beside for run in runs if run.beside is not None]
    for work in dict.fromkeys(stage.works):
        if work.kind in ("install", "notebook", "zero") and besides:
            mean = sum(besides) / len(besides)
            yield rate(work, load=mean) if work.loads else rate(work, prompt=mean / work.prompts)
        elif work.kind in ("fusion", "blend"):
            phases = [run.phases[name] for run in runs for name in ("fuse", "retrieve") if name in run.phases]
            if phases:
                own = sum(map(_own_seconds, phases)) / len(phases)
                yield rate(work, prompt=max(0.0, own) / work.prompts)
        elif work.kind == "classifier":
            told = [each for run in runs for each in run.phases.get("retrieve", {}).get("trained", [])]
            trained = [each for each in told if each.get("learner") == work.model]
            if rows := sum(each["rows"] for each in trained):
                yield rate(work, prompt=sum(each["seconds"] for each in trained) / rows)
        elif work.kind in ("llm", "cross-encoder") and (found := costs([_chunks(run) for run in runs])):
            loads = [seconds(run.phases["load"]) for run in runs if "load" in run.phases]
            load = (sum(loads) / len(loads) if loads else 0.0) + found.warm_up
            yield rate(work, found.spread, load=load, prompt=found.prompt, token=found.token, written=found.written)
    yield from _embedding_rates(stage, runs, rate)


def _own_seconds(phase: Entry) -> float:
    """Returns the seconds of a phase without the texts embedded and the classifiers trained in it."""
    embedding: float = sum(each["load"] + each["seconds"] for each in phase.get("embedded", []))
    training: float = sum(each["seconds"] for each in phase.get("trained", []))
    return seconds(phase) - embedding - training


def _embedding_rates(stage: StageWork, runs: Sequence[StageRun], rate: Any) -> Iterator[Rate]:
    """A rate for each model; nothing of a run that found texts in its cache, or read others than planned."""
    works = [work for work in stage.works if work.kind == "embedding"]
    lists = [run.phases["retrieve"].get("embedded", []) for run in runs if "retrieve" in run.phases]
    lists = [found for found in lists if [each["texts"] for each in found] == [round(work.prompts) for work in works]]
    if not lists:
        return
    for model in dict.fromkeys(work.model for work in works):
        places = [place for place, work in enumerate(works) if work.model == model]
        counts = np.array([[works[place].prompts, works[place].tokens] for _ in lists for place in places])
        prompt, token = solve(counts, np.array([found[place]["seconds"] for found in lists for place in places]))
        loads = [sum(found[place]["load"] for place in places) for found in lists]
        times = max(1, sum(works[place].loads for place in places))
        mean = sum(loads) / len(loads) / times
        yield rate(works[places[0]], load=mean, prompt=float(prompt), token=float(token))


def write(profile: Profile, path: Path) -> None:
    """The profile as TOML, to six figures; whole or not at all."""
    data = profile.model_dump(exclude_defaults=True)
    lines = [
        f"# {folder.mark('plan')} --calibrate",
        f"characters_per_token = {data['characters_per_token']!r}",
        *_table("[assumed]", data["assumed"]),
    ]
    for name in ("rate", "measured"):
        for row in data.get(name, []):
            lines += _table(f"[[{name}]]", row)
    atomic.write_text(path, "\n".join(lines) + "\n")


def _table(heading: str, row: dict[str, Any]) -> list[str]:
    return ["", heading, *(f"{key} = {_value(value)}" for key, value in row.items())]


def _value(value: str | float | dict[str, str]) -> str:
    if isinstance(value, dict):
        return f"{{ {', '.join(f'{key} = {_value(each)}' for key, each in value.items())} }}"
    return json.dumps(value, ensure_ascii=False) if isinstance(value, str) else repr(float(f"{value:.6g}"))
