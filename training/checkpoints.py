"""Checkpoints: a training that was cut off goes on from its last one, and none follows a loss that is no number."""

from __future__ import annotations

import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from transformers import TrainerState

from cascade.base import atomic
from cascade.base.errors import ScoreError, StageError

EVERY = 25  # steps between two checkpoints
MARK, WEIGHTS, STATE = "checkpoints.json", "trained.safetensors", "trainer_state.json"
STEP = re.compile(r"checkpoint-(\d+)")
MEND = "pass a lower --rate"
BESIDE = "pass --checkpoints with a folder of its own"


def check_finite(number: torch.Tensor, key: str) -> None:
    """ScoreError for a loss or the norm of its gradient that is no number: no step may follow it."""
    if not torch.isfinite(number):
        raise ScoreError("the loss or its gradient is not a number", key=key, mend=MEND)


def trained(model: Any) -> dict[str, torch.Tensor]:
    """The weights that are trained, by name: LoRA's, and what is saved with it."""
    return {name: each.detach() for name, each in model.named_parameters() if each.requires_grad}


def sound(model: Any) -> dict[str, torch.Tensor]:
    """The trained weights, which a checkpoint may have; ScoreError where one of them is no number."""
    weights = trained(model)
    if bad := next((name for name, each in weights.items() if not torch.isfinite(each).all()), None):
        raise ScoreError(f"the weights of {bad} are not numbers", mend=MEND)
    return weights


def save_weights(model: Any, path: Path) -> None:
    """Writes the trained weights; ScoreError, and no file, where one of them is no number."""
    save_file({name: each.cpu().contiguous() for name, each in sound(model).items()}, path)


def load_weights(model: Any, path: Path) -> None:
    """Puts back what `save_weights` wrote."""
    saved = load_file(path)
    for name, each in trained(model).items():
        each.copy_(saved[name])


@contextmanager
def kept(folder: Path | None, told: Mapping[str, Any], out: Path) -> Iterator[Path | None]:
    """The folder of a training's checkpoints, None where none are kept; removed once the training is done.

    told: what the training depends on. out: where the adapter goes. StageError for a folder that has the checkpoints of
    another training, or that has `out` in it or lies in it.
    """
    if folder is None:
        yield None
        return
    folder, out = folder.resolve(), out.resolve()
    if folder.is_relative_to(out) or out.is_relative_to(folder):
        raise StageError("is removed in the end, and --out is in it or around it", path=folder, mend=BESIDE)
    mark = folder / MARK
    if folder.exists() and not folder.is_dir():
        raise StageError("is a file", path=folder, mend="pass --checkpoints with a folder")
    # A kill may leave a mark that was not written to its end, under a hidden name.
    if folder.is_dir() and any(not path.name.startswith(".") for path in folder.iterdir()):
        if not mark.is_file():
            raise StageError(
                "has files, and no training made it", path=folder, mend="pass --checkpoints with a new or empty folder"
            )
        if json.loads(mark.read_text(encoding="utf-8")) != json.loads(json.dumps(told)):
            raise StageError(
                "has the checkpoints of another training", path=folder, mend="pass --checkpoints with another folder"
            )
    atomic.write_text(mark, json.dumps(told, indent=1) + "\n")
    yield folder
    gone = folder.with_name(f".{folder.name}.{os.getpid()}")
    folder.replace(gone)  # at once: a part of a checkpoint must not be taken for one after a kill
    shutil.rmtree(gone)


def newest(folder: Path) -> Path | None:
    """The last whole checkpoint of a trainer in this folder; None where there is none."""
    steps = {int(found[1]): path for path in folder.glob("*") if (found := STEP.fullmatch(path.name))}
    return next((steps[number] for number in sorted(steps, reverse=True) if _is_whole(steps[number])), None)


def _is_whole(checkpoint: Path) -> bool:
    """Whether the file that a trainer writes last is there to its end."""
    try:
        json.loads((checkpoint / STATE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    return True


class Resumable:
    """A mixin for sentence-transformers' trainers: checkpoints of the trained weights alone, whatever holds them."""

    model: Any
    state: Any

    def _save(self, output_dir: str | None = None, state_dict: Any = None) -> None:
        place = Path(str(output_dir))
        place.mkdir(parents=True, exist_ok=True)
        save_weights(self.model, place / WEIGHTS)

    def _load_from_checkpoint(self, checkpoint_path: str, model: Any = None) -> None:
        load_weights(self.model, Path(checkpoint_path) / WEIGHTS)

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        try:
            super()._save_checkpoint(model, trial)  # type: ignore[misc]
        except ScoreError:
            raise
        except Exception as error:  # torch, safetensors and the system each have another one for a full disk
            print(f"step {self.state.global_step}: its checkpoint could not be written ({error})", flush=True)

    def training_step(self, *arguments: Any, **named: Any) -> torch.Tensor:
        loss: torch.Tensor = super().training_step(*arguments, **named)  # type: ignore[misc]
        check_finite(loss, f"step {self.state.global_step + 1}")
        return loss


class Loop:
    """A loop of our own as far as it has come: its curve, and what its checkpoint has.

    done: examples that lie behind. curve: the step, the mean loss since the point before, the learning rate.
    """

    def __init__(self, folder: Path | None, model: Any, states: Mapping[str, Any], rng: np.random.Generator) -> None:
        self.path = None if folder is None else folder / "loop.pt"
        self.model, self.states, self.rng = model, states, rng
        self.done = 0
        self.curve: list[tuple[int, float, float]] = []
        self.losses: list[float] = []
        if self.path is None or not self.path.is_file():
            return
        saved = torch.load(self.path, weights_only=True)
        for name, each in trained(model).items():
            each.copy_(saved["weights"][name])
        for name, state in states.items():
            state.load_state_dict(saved[name])
        rng.bit_generator.state = json.loads(saved["drawn"])
        torch.set_rng_state(saved["torch"])
        self.done, self.curve, self.losses = saved["done"], saved["curve"], saved["losses"]
        print(f"goes on after {self.done} examples", flush=True)

    def told(self, loss: float) -> None:
        """Takes note of an example's loss."""
        self.losses.append(loss)

    @property
    def mean(self) -> float:
        """The mean loss since the curve's last point, or that point's where there is none since."""
        return sum(self.losses) / len(self.losses) if self.losses else self.curve[-1][1]

    def mark(self, step: int, rate: float) -> None:
        """Adds a point to the curve."""
        self.curve.append((step, self.mean, rate))
        self.losses.clear()

    def save(self, done: int) -> None:
        """Replaces the checkpoint; ScoreError as for `sound`. A full disk costs the checkpoint and not the training."""
        if self.path is None:
            return
        told = {
            "weights": sound(self.model),
            "drawn": json.dumps(self.rng.bit_generator.state),
            "torch": torch.get_rng_state(),
            "done": done,
            "curve": self.curve,
            "losses": self.losses,
            **{name: state.state_dict() for name, state in self.states.items()},
        }
        try:
            with atomic.replaced(self.path) as partial:
                torch.save(told, partial)
        except (OSError, RuntimeError) as error:  # torch's own writer raises the second
            print(f"after {done} examples: the checkpoint could not be written ({error})", flush=True)


@contextmanager
def output(folder: Path | None) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Where a trainer writes to, and its arguments about checkpoints: in `folder`, or none at all."""
    if folder is not None:
        yield folder, {"save_strategy": "steps", "save_steps": EVERY, "save_total_limit": 1}
        return
    with TemporaryDirectory() as scratch:
        yield Path(scratch), {"save_strategy": "no"}


def run(trainer: Any, folder: Path | None) -> None:
    """Trains, on from the last checkpoint in the folder."""
    last = None if folder is None or not folder.is_dir() else newest(folder)
    if last is not None:
        print(f"goes on from {last}", flush=True)
        state = TrainerState.load_from_json(str(last / STATE))
        if state.global_step >= state.max_steps:  # the trainer would do a step more
            load_weights(trainer.model, last / WEIGHTS)
            trainer.state = state
            return
    trainer.train(resume_from_checkpoint=None if last is None else str(last))
