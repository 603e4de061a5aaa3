"""A training's adapters at Kaggle: packed, checked and pushed by the packer's own commands, as a dataset."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from cascade.base.errors import StageError
from cascade.config.schema import Config
from training.jobs import models
from training.jobs.graph import Places
from training.jobs.runner import Board


def check(config: Config, board: Board, image: str) -> None:
    """StageError, before hours of training, where there would be nothing to push, or not all of it."""
    if not (facts := Path("wheels", f"{image}.toml")).is_file():
        raise StageError("no such image", path=facts, key="--image", mend="pass a name of wheels/")
    named = {*models.systems(config)}
    if not named:
        raise StageError("names no adapter, so --push has nothing to push", path=config.path, mend="leave out --push")
    if missing := sorted(named - {*board.standings}):
        raise StageError(
            f"--push requires all adapters, and {missing[0]} would not be trained", mend="leave out --only or --push"
        )


def push(config: Config, root: Path, image: str) -> None:
    """Packs exactly the adapters of this training, checks and pushes them, and prints the config's lines for them.

    StageError where the packer cannot; it has said why.
    """
    folder = Places(root).adapters
    own = ("--config", str(config.path), "--image", image, "--adapters", str(folder))
    if _packer("pack", *own):
        raise StageError(
            "the adapters are trained, but they were not packed and not pushed",
            path=folder,
            mend="fix what is said above, and run it again: what is trained is kept",
        )
    left = _packer("push-datasets", *own)
    print("\n".join(lines(config, folder)))
    if left:
        raise StageError(
            "the adapters are trained, checked and packed, and only the push is left",
            path=folder,
            mend="fix what is said above, and run it again: nothing is trained or uploaded twice",
        )


def _packer(*words: str) -> int:
    return subprocess.run([sys.executable, "-m", "packer", *words], check=False).returncode


def lines(config: Config, folder: Path) -> Iterator[str]:
    """What a config beside `config` has to say to run with the adapters of that folder."""
    place = Path(os.path.relpath(folder.resolve(), config.path.parent.resolve())).as_posix()
    yield f"{config.path} with these adapters, which the kernel finds in the dataset by their names:"
    yield f'adapters = "{place}"'
    for adapter, systems in models.systems(config).items():
        stages = dict.fromkeys(name for name in systems if not name.endswith(": blend"))
        yield f'adapter = "{adapter}"  # {", ".join(stages)}'
