"""From a config and data to the board of jobs that is to run."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fnmatch import fnmatchcase
from pathlib import Path

from rich.console import Console

from cascade.base.errors import StageError
from cascade.base.manifest import sha256
from cascade.config.schema import Config
from cascade.models import placement
from cascade.processes.workers import device_slots
from training.jobs import graph
from training.jobs.executors import Processes
from training.jobs.job import Job
from training.jobs.ray_cluster import RayCluster
from training.jobs.runner import Board

BUILD = Path("build/train")


def board(
    config: Config,
    data: Path,
    root: Path | None,
    folds: int | Path,
    queries: int | None,
    only: str,
    by: str = "",
    ray: str | None = None,
    cores: int | None = None,
) -> Board:
    """The jobs of `make train`. root: default a folder of the config's and the data's own, under build/train/.

    ray: the address of the Ray cluster that runs them, each on so many `cores`; None: this machine does.
    """
    if cores is not None and ray is None:
        raise StageError("is for jobs on a Ray cluster", key="--cores", mend="pass --ray with it, or leave it out")
    data = _from_here(data)
    config = config.model_copy(update={"path": _from_here(config.path)})
    if not (data / "train.csv").is_file():
        raise StageError("has no train.csv to train on", path=data, mend="pass --data with the competition's files")
    own = f"{config.path.resolve()} {sha256(data / 'train.csv')}"
    root = root or BUILD / f"{config.path.stem}-{hashlib.sha256(own.encode()).hexdigest()[:12]}"
    made = graph.jobs(config, data, root, _from_here(folds) if isinstance(folds, Path) else folds, queries, by)
    if ray is not None:
        gpus = not config.devices or any(device != "cpu" for device in config.devices)
        return Board(wanted(made, only), root, RayCluster(ray, root, cores, gpus))
    # One job a GPU; a CPU's has all cores.
    devices = [device for device in placement.device_list(config) if device != "cpu"] or ["cpu"]
    return Board(wanted(made, only), root, Processes(device_slots(devices)))


def wanted(jobs: Sequence[Job], only: str) -> list[Job]:
    """The jobs whose names fit `only`, and all that they need; StageError where none does."""
    if not only:
        return list(jobs)
    by_name = {job.name: job for job in jobs}
    taken = {name for name in by_name if fnmatchcase(name, only)}
    if not taken:
        raise StageError("fits no job's name", key=f"--only '{only}'", mend=f"use one of {', '.join(by_name)}")
    for job in reversed(jobs):
        if job.name in taken:
            taken |= {*job.needs}
    return [job for job in jobs if job.name in taken]


def _from_here(path: Path) -> Path:
    """A path as it is told from the current folder, so that jobs are known again however it was written."""
    whole = path.resolve()
    return whole.relative_to(Path.cwd()) if whole.is_relative_to(Path.cwd()) else whole


def show(found: Board) -> None:
    """Prints each job with its command, and whether it is up to date."""
    console = Console(width=max(120, Console().width))
    due: set[str] = set()
    for job in found.jobs:
        before = [name for name in job.needs if name in due]
        state = f"due after {before[0]}" if before else "up to date" if job.is_done(found.root) else "due"
        due |= {job.name} if state != "up to date" else set()
        console.print(f"{job.name}: {state}: python -m {' '.join(job.command)}", highlight=False, markup=False)
