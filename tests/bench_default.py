"""Whether each part of the default run earns its time: MAP with and without it, on samples of five other seeds."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd

from cascade.base.runtime import ROOT
from cascade.competitions import registry
from cascade.competitions.base import Task
from cascade.config import schema as configs
from cascade.config.schema import Config
from cascade.evaluation.compare.scores import bootstrap
from cascade.rankings import metrics
from cascade.retrievers.blend import Blend
from cascade.stages import fusing, reading, stages
from cascade.stages.context import RunContext
from sample.generate.dataset import generate

SEEDS = range(2, 7)
DEFAULT, ENCODER = (ROOT / "configs" / f"{name}.toml" for name in ("sample", "cross-encoder"))
Figures = Iterator[tuple[str, float, str]]


def default_figures(folder: Path) -> Figures:
    """What each part of the blend adds to the others, what a cross-encoder adds, and what it costs."""
    gains: dict[str, list[np.ndarray]] = {}
    for seed in SEEDS:
        for name, gain in added(folder / str(seed), seed):
            gains.setdefault(name, []).append(gain)
    for name, found in gains.items():
        of_all = np.concatenate(found)
        low, high = bootstrap(of_all)
        yield f"{name}_adds", float(of_all.mean()), "MAP@25"
        yield f"{name}_adds_at_least", low, "MAP@25"
        yield f"{name}_adds_at_most", high, "MAP@25"
    seconds = {config: run_of(config, folder / config.stem) for config in (DEFAULT, ENCODER)}
    yield "default_run_to_run_with_cross_encoder", seconds[DEFAULT] / seconds[ENCODER], "ratio"


def added(folder: Path, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """What each query gains by each part: of the blend, with all others there; of the cross-encoder, in the fusion."""
    generate(folder, seed)
    config, encoder = configs.load(DEFAULT), configs.load(ENCODER)
    task = registry.of(config).read(folder)
    retrieval = config.retrieval[0]
    whole = blended(config, task, folder)
    for left in retrieval.retriever:
        others = [part for part in retrieval.retriever if part is not left]
        less = config.model_copy(update={"retrieval": [retrieval.model_copy(update={"retriever": others})]})
        yield left.kind, gain(whole, task) - gain(blended(less, task, folder), task)
    run = folder / "run"
    run.mkdir(exist_ok=True)
    context = RunContext(encoder, task, run)
    stages.retrieve(context, "r1")
    stages.rerank(context, "ce")
    members = reading.members(context)
    alone = fusing.fuse(context, {"r1": members["r1"]}, boosted=False)
    yield "cross_encoder", gain(fusing.fuse(context, members, boosted=False), task) - gain(alone, task)


def blended(config: Config, task: Task, folder: Path) -> pd.DataFrame:
    with Blend(config.retrieval[0], config, folder / "cache") as blend:
        return blend.retrieve(task.queries, task)


def gain(table: pd.DataFrame, task: Task) -> np.ndarray:
    """What each labelled query adds to MAP: 1/rank, or 0."""
    assert task.truth is not None
    ranks = metrics.ranks_of_labels(table, task.truth)
    found: np.ndarray = (1 / ranks).where(ranks <= task.depth, 0.0).to_numpy()
    return found


def run_of(config: Path, out: Path) -> float:
    """Seconds of the whole run on the sample, with nothing embedded beforehand."""
    start = time.time()
    command = [sys.executable, "-m", "cascade", "run", "--config", str(config), "--data", "sample", "--out", str(out)]
    environment = os.environ | {"XDG_CACHE_HOME": str(out.with_name(f"{out.name}-cache"))}
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    return time.time() - start
