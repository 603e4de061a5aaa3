"""What was changed from one run to another: settings, templates, and what the stages were made from."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from cascade.evaluation.compare.sides import Side
from cascade.stages.resume import TEMPLATES

NOT_THERE = "not there"
# Of what a stage is made from: the rest are its settings, which are told as such, and its inputs, told with their own.
TOLD = ("code", "environment", "model", "notebook")
SHORT = 60  # characters of a value


@dataclass(frozen=True)
class Setting:
    key: str
    old: str
    new: str


@dataclass(frozen=True)
class TemplateChange:
    """`diff`: lines of a unified diff, without its head; empty where the text of one of them was not kept."""

    name: str
    stages: tuple[str, ...]
    diff: tuple[str, ...]

    @property
    def counts(self) -> tuple[int, int]:
        """Lines removed, lines added."""
        removed, added = (sum(line.startswith(sign) for line in self.diff) for sign in "-+")
        return removed, added


def settings(a: Side, b: Side) -> list[Setting]:
    """Each key whose value differs, tables by their names: `pipeline.p1.top_k`."""
    return list(_differing(a.settings, b.settings)) if a.settings and b.settings else []


class _Absent:
    pass


ABSENT = _Absent()


def _differing(old: Any, new: Any, at: str = "") -> Iterator[Setting]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys([*old, *new]):
            yield from _differing(old.get(key, ABSENT), new.get(key, ABSENT), f"{at}.{key}" if at else key)
        if at == "ensemble.weights" and old.keys() == new.keys() and list(old) != list(new):
            yield Setting(f"{at}, order", ", ".join(old), ", ".join(new))  # by which ties go
    elif _are_tables(old) and _are_tables(new):
        yield from _differing(_named(old), _named(new), at)
    elif old != new:
        yield Setting(at, _value(old), _value(new))


def _are_tables(value: Any) -> bool:
    return isinstance(value, list) and bool(value) and all(isinstance(each, dict) for each in value)


def _named(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Tables by name, or by kind where they have none; a second one of a name is told by its place."""
    found: dict[str, Any] = {}
    for place, row in enumerate(rows, start=1):
        name = str(row.get("name") or row.get("kind") or place)
        found[f"{name}-{place}" if name in found else name] = row
    return found


def _value(value: Any) -> str:
    if value is ABSENT:
        return NOT_THERE
    if isinstance(value, dict) and "kind" in value:  # a whole pipeline or part
        return f"{value['kind']}, {value['model']}" if "model" in value else str(value["kind"])
    if isinstance(value, dict) and "retriever" in value:
        return f"a retrieval of {', '.join(part['kind'] for part in value['retriever'])}"
    said = "none" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return said if len(said) <= SHORT else f"{said[: SHORT - 1]}…"


def templates(a: Side, b: Side) -> list[TemplateChange]:
    """The templates whose text differs, of stages that both runs have."""
    found: dict[tuple[str, str], list[str]] = {}
    old, new = _templates_of(a), _templates_of(b)
    for stage in (stage for stage in old if stage in new):
        found.setdefault((old[stage], new[stage]), []).append(stage)
    texts = [_texts(side) for side in (a, b)]
    changes = []
    for (was, now), stages in found.items():
        before, after = texts[0].get(was), texts[1].get(now)
        name = was if was == now else f"{was} → {now}"
        if before is None or after is None:
            if any(_made_from(a, stage, was) != _made_from(b, stage, now) for stage in stages):
                changes.append(TemplateChange(name, tuple(stages), ()))
        elif before != after:
            lines = difflib.unified_diff(before.splitlines(), after.splitlines(), lineterm="", n=1)
            changes.append(TemplateChange(name, tuple(stages), tuple(list(lines)[2:])))
    return changes


def _texts(side: Side) -> Mapping[str, str]:
    found = side.record.get("templates")
    return found if isinstance(found, dict) else {}


def _templates_of(side: Side) -> dict[str, str]:
    """Template by stage, the config's names: `reason`, `p1`; a retrieval's `query_text` likewise."""
    kept = side.settings
    stages = {stage["name"]: stage for part in ("retrieval", "pipeline") for stage in kept.get(part, [])}
    if kept.get("reason"):
        stages["reason"] = kept["reason"]
    return {name: stage[key] for name, stage in stages.items() for key in TEMPLATES if stage.get(key)}


def _made_from(side: Side, of: str, template: str) -> str | None:
    told: dict[str, Any] = next(
        (told for name, told in side.stages.items() if name.partition("-")[2] == of or name == of), {}
    )
    found: str | None = (told.get("made_from") or {}).get(f"prompt: {template}")
    return found


def parts(a: Side, b: Side) -> list[tuple[str, list[str]]]:
    """What else stages were made from and that is not the same: (`code` or `model: …`, the stages)."""
    found: dict[str, list[str]] = {}
    for stage in (stage for stage in a.stages if stage in b.stages):
        old, new = (side.stages[stage].get("made_from") or {} for side in (a, b))
        for part in (part for part in old if part in new and old[part] != new[part]):
            if part.partition(":")[0] in TOLD:
                found.setdefault(part, []).append(stage)
    return list(found.items())


def untold(a: Side, b: Side) -> list[str]:
    """Stages of both of which one run does not keep what they were made from, as in the scoring rerun."""
    return [stage for stage in a.stages if stage in b.stages and stage != "ensemble"
            and not all(side.stages[stage].get("made_from") for side in (a, b))]  # fmt: skip


def data(a: Side, b: Side) -> list[str]:
    """The data files that the runs did not both read as they are in the other."""
    old, new = (side.record["identity"] for side in (a, b))
    names = sorted({name for name in (*old, *new) if name.endswith(".csv")})
    return [name for name in names if old.get(name) != new.get(name)]
