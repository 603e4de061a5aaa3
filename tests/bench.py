"""`python -m tests.bench`: the figures the README gives, as `name value unit` lines and in build/bench.json.

Speed is told by ratios within one run; seconds are of this machine.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Annotated

import nbformat
import pandas as pd
import typer

from cascade.base import ledger
from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from cascade.config.schema import CrossEncoderPipeline
from cascade.evaluation.evaluate import measure
from cascade.models.precision import of
from cascade.processes.workers import device_slots
from cascade.rerankers.cross_encoder import CrossEncoderReranker
from sample.generate.dataset import generate
from tests import (
    bench_budget,
    bench_default,
    bench_llm,
    bench_one_pass,
    bench_packer_staging,
    bench_packer_upload,
    bench_packer_verify,
    bench_plan,
    bench_ray,
    bench_rehearsal,
    bench_tables,
)

BUILD = ROOT / "build" / "bench"
CONFIG = ROOT / "configs" / "sample.toml"
Figures = Iterator[tuple[str, float, str]]


def orchestration() -> Figures:
    """The default run: how long, how much memory, and how much of it is not the notebooks' cells."""
    out = BUILD / "run"
    start = time.time()
    command = [sys.executable, "-m", "cascade", "run", "--config", str(CONFIG), "--data", "sample", "--out", str(out)]
    environment = os.environ | {"XDG_CACHE_HOME": str(BUILD / "cache")}  # empty: nothing is embedded beforehand
    subprocess.run(command, check=True, cwd=ROOT, env=environment)
    total = time.time() - start
    entries = [entry for entry in ledger.read(out) if entry["phase"] == ledger.STAGE]
    overheads = []
    for entry in entries[1:]:
        cells = nbformat.read(out / "notebooks" / f"{entry['stage']}.ipynb", as_version=4).cells
        work = sum(cell.metadata.papermill.duration or 0.0 for cell in cells if cell.cell_type == "code")
        overheads.append(entry["end"] - entry["start"] - work)
    yield "run", total, "s"
    yield "run_peak_memory", max(entry.get("peak_memory_mb", 0.0) for entry in entries) / 1000, "GB"
    yield "orchestration_per_stage_mean", sum(overheads) / len(overheads), "s"
    yield "orchestration_per_stage_max", max(overheads), "s"
    yield "orchestration_share_of_run", sum(overheads) / total, "ratio"


def quality() -> Figures:
    """The ensemble with boost against the best single list, on the committed sample and on another seed's."""
    other = BUILD / "sample-2"
    generate(other, seed=2)
    for name, folder in (("sample", ROOT / "sample"), ("second_sample", other)):
        run = BUILD / f"quality-{name}"
        run.mkdir(parents=True, exist_ok=True)
        rows = pd.DataFrame(measure(configs.load(CONFIG), folder, run)).set_index("system")
        fused = float(rows["map"].to_dict()["ensemble + boost"])
        single = rows[~rows.index.str.startswith(("ensemble", "submission")) & ~rows.index.str.contains(r"\+")][
            "map"
        ].max()
        yield f"{name}_map", fused, "MAP@25"
        yield f"{name}_ensemble_to_best_single", fused / single, "ratio"


def precision() -> Figures:
    """The cross-encoder in the precision chosen for this CPU against float32, on the same pairs."""
    import torch

    config = configs.load(bench_default.ENCODER)
    pipeline = next(each for each in config.pipeline if isinstance(each, CrossEncoderPipeline))
    queries, given, names = bench_llm.work(20)
    chosen = of(pipeline, "cpu")
    seconds = {}
    for dtype in dict.fromkeys(("float32", chosen)):
        reranker = CrossEncoderReranker(device_slots(["cpu"])[0], pipeline, config, names)
        reranker.model.to(getattr(torch, dtype))
        start = time.perf_counter()
        reranker.rerank(queries, given)
        seconds[dtype] = time.perf_counter() - start
    yield "cross_encoder_pairs_per_second", len(given) / seconds[chosen], "1/s"
    yield "cross_encoder_chosen_precision_speedup", seconds["float32"] / seconds[chosen], "ratio"


FIGURES = {
    "plan": bench_plan.plan_figures,
    "plan-vllm": partial(bench_plan.plan_figures, engine="vllm"),
    "rehearsal": bench_rehearsal.rehearsal_figures,
    "rehearsal-broken": bench_rehearsal.broken_figures,
    "budget": bench_budget.budget_figures,
    "verify": bench_packer_verify.verify_figures,
    "staging": bench_packer_staging.staging_figures,
    "upload": bench_packer_upload.upload_figures,
    "default": bench_default.default_figures,
    "one-pass": bench_one_pass.one_pass_figures,
    "ray": bench_ray.ray_figures,
    "tables": bench_tables.tables_figures,
}
ALL: dict[str, Callable[[], Figures]] = {
    "orchestration": orchestration,
    "quality": quality,
    "precision": precision,
    **{name: partial(measured, BUILD / name) for name, measured in (bench_llm.ALL | FIGURES).items()},
}


def main(only: Annotated[str | None, typer.Option(help=f"one of {', '.join(ALL)}")] = None) -> None:
    """Measures, prints and writes build/bench.json."""
    if only is not None and only not in ALL:
        raise typer.BadParameter(f"'{only}' is none of {', '.join(ALL)}")
    shutil.rmtree(BUILD, ignore_errors=True)
    BUILD.mkdir(parents=True)
    figures: dict[str, float] = {}
    for name, measured in ALL.items():
        if only in (None, name):
            (BUILD / name).mkdir(exist_ok=True)
            for figure, value, unit in measured():
                figures[figure] = round(value, 4)
                print(f"{figure} {value:.4g} {unit}", flush=True)
    path = ROOT / "build" / "bench.json"
    Path(path).write_text(json.dumps(figures, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    typer.run(main)
