"""What a run in a folder was made from, so that it is resumed with the same and nothing else."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cascade import manifest
from cascade.errors import StageError
from cascade.stages import Bench

FILE = "run.json"


def write(out: Path, identity: Mapping[str, str]) -> None:
    """Leaves the identity in the run's folder."""
    (out / FILE).write_text(json.dumps(identity, indent=1) + "\n", encoding="utf-8")


def identity(bench: Bench) -> dict[str, str]:
    """What a run may be resumed by: a digest of the config, without its times and devices, and of each data file."""
    settings = bench.config.model_dump(mode="json", exclude={"time", "devices"})
    _without_limits(settings)
    files = sorted(bench.competition.folder.glob("*.csv"))
    digest = hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()
    return {"config": digest, **{path.name: manifest.sha256(path) for path in files}}


def _without_limits(settings: Any) -> None:
    if isinstance(settings, dict):
        settings.pop("limit", None)
    for each in settings.values() if isinstance(settings, dict) else settings if isinstance(settings, list) else ():
        _without_limits(each)


def check(out: Path, identity: Mapping[str, str]) -> None:
    """StageError where `out` holds no run of that identity."""
    path = out / FILE
    try:
        earlier = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StageError(f"{path}: cannot be read ({error}); there is no run to resume, so run without it") from error
    changed = [name for name in {**earlier, **identity} if earlier.get(name) != identity.get(name)]
    if changed:
        raise StageError(f"{out}: was run with another {changed[0]}; resume it with that, or run without resuming")
