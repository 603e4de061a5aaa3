"""Where an adapter comes from: a file beside its weights with what decided them, and the curve of its training."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

from cascade.base import atomic
from cascade.base.errors import StageError
from cascade.base.manifest import sha256
from cascade.config.parts import Adapted
from cascade.config.schema import Config
from cascade.models import locate
from cascade.models.adapters import ADAPTER_FILES, PROVENANCE
from training.jobs import models

CURVE = "curve.jsonl"
PACKAGES = ("torch", "peft", "transformers", "sentence-transformers")
# What decides an adapter. A training that differs in any of these makes another one.
DECIDES = ("kind", "adapter", "base", "config", "settings", "data", "negatives")


@dataclass
class Provenance:
    """A training while it goes on. kind: the command that trains. config: what the run's file says of the model.

    settings: the training's own. negatives: what finds them, and writes reasons, where the model itself does not. data:
    SHA-256 of each file that queries and labels are read from. curve: a point for some of the steps: its number, the
    mean loss since the last point, the learning rate. steps: those of the trainers that are done.
    """

    kind: str
    adapter: str
    base: str
    config: dict[str, Any]
    settings: dict[str, Any]
    data: dict[str, str]
    fingerprint: str
    negatives: dict[str, Any] = field(default_factory=dict)
    curve: list[tuple[int, float, float]] = field(default_factory=list)
    steps: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def deciding(self) -> dict[str, Any]:
        """What decides the adapter that comes of it."""
        return {key: getattr(self, key) for key in DECIDES}

    def check(self, folder: Path, replaces: bool) -> None:
        """StageError where `folder` has an adapter that another training made, unless this one `replaces` it."""
        if replaces or not any((folder / name).exists() for name in ADAPTER_FILES):
            return
        mend = "pass --out with another folder, or --replace to train it anew"
        known = read(folder)
        if not known:
            raise StageError(f"has an adapter, and no {PROVENANCE} says what it was trained on", path=folder, mend=mend)
        was, now = dict(flat(known)), dict(flat(json.loads(json.dumps(self.deciding))))
        for key in sorted(was.keys() | now.keys()):
            if key.partition(".")[0] in DECIDES and was.get(key) != now.get(key):
                told = f"was trained with {key} = {was.get(key)}, and here it is {now.get(key)}"
                raise StageError(told, path=folder, mend=mend)

    def follow(self, history: list[dict[str, Any]], steps: int) -> None:
        """Adds the points of a trainer's log, which has done so many steps, behind the steps of those before it."""
        self.curve += [
            (self.steps + each["step"], each["loss"], each["learning_rate"]) for each in history if "loss" in each
        ]
        self.steps += steps

    def write(self, folder: Path) -> None:
        """Writes both files into an adapter's folder."""
        points = ({"step": step, "loss": loss, "learning_rate": rate} for step, loss, rate in self.curve)
        atomic.write_text(folder / CURVE, "".join(json.dumps(point) + "\n" for point in points))
        told = self.deciding | {
            "base_fingerprint": self.fingerprint,
            "command": ["python", "-m", "training", *sys.argv[1:]],
            "versions": {name: version(name) for name in PACKAGES},
            "seconds": round(time.monotonic() - self.began, 1),
        }
        _write(folder, told)


def begin(
    kind: str,
    model: Adapted,
    config: Config,
    data: Path,
    settings: Mapping[str, Any],
    negatives: Mapping[str, Any] | None = None,
) -> Provenance:
    """That of a training of `model`'s adapter on the data folder, which begins now."""
    folder = locate.model_path(model.model, config.path.parent)
    told = model.model_dump(mode="json", exclude=models.BESIDE)
    read_by_it = {path.name: sha256(path) for path in sorted(data.glob("*.csv"))}
    return Provenance(
        kind, str(model.adapter), model.model, told, dict(settings), read_by_it, locate.fingerprint(folder, None),
        dict(negatives or {}),
    )  # fmt: skip


def read(folder: Path) -> dict[str, Any]:
    """What an adapter's folder tells of its training; empty where it tells nothing that can be read."""
    try:
        found = json.loads((folder / PROVENANCE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def add_scores(folder: Path, scores: Mapping[str, Any]) -> None:
    """Puts out-of-fold scores into what the folder tells; nothing where it tells nothing, or the same already."""
    told = read(folder)
    if told and told.get("scores") != scores:
        _write(folder, told | {"scores": scores})


def _write(folder: Path, told: Mapping[str, Any]) -> None:
    atomic.write_text(folder / PROVENANCE, json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def curve(folder: Path) -> list[dict[str, Any]]:
    """The points of an adapter's training: step, loss, learning_rate; none where it left none."""
    path = folder / CURVE
    lines = path.read_text(encoding="utf-8").splitlines() if path.is_file() else []
    return [json.loads(line) for line in lines]


def flat(told: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Each value with the way to it: `settings.epochs`."""
    for key, value in told.items():
        if isinstance(value, dict):
            yield from flat(value, f"{above}{key}.")
        else:
            yield f"{above}{key}", value
