"""A fold's scores: every stage of the config on questions that its adapters were not trained on."""

from __future__ import annotations

import json
from pathlib import Path

from rich.console import Console

from cascade.base import atomic
from cascade.config.schema import Config
from cascade.evaluation import evaluate
from training.lora import with_adapters


def write(config: Config, data: Path, adapters: Path, out: Path) -> None:
    """Writes `out`/scores.json: by system what `evaluate.measure` finds. The run's tables lie in `out`/run."""
    own = with_adapters(config, adapters)
    console = Console(width=max(120, Console().width))
    found = {}
    for row in evaluate.measure(own, data, evaluate.emptied(out / "run", own), proves=False):
        found[row.pop("system")] = {key: None if value != value else value for key, value in row.items()}
        console.print(f"{[*found][-1]:<28} MAP {row['map']:.4f}  {row['seconds']:6.1f} s")
    atomic.write_text(out / "scores.json", json.dumps(found, indent=1) + "\n")
