"""What a run's result.json tells of its failures, for whoever has that file alone."""

from __future__ import annotations

import json
from pathlib import Path

from cascade.base.errors import with_fix


def failures(path: Path) -> list[str]:
    """What failed, a sentence each with its fix where one is known; nothing where there is no such file."""
    try:
        told = json.loads(path.read_text(encoding="utf-8"))
        failed = [_sentence(each) for each in told["stages"] if each["failure"]]
        return [*failed, *told["problems"]]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def _sentence(stage: dict[str, str | None]) -> str:
    return with_fix(f"{stage['stage']} failed ({stage['failure']})", stage.get("mend"))
