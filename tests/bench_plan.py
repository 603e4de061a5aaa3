"""The plan's part of `python -m tests.bench`: one calibration run, then what it predicts of two others, measured.

Seconds are this machine's and an idle one's: whatever runs beside is measured too.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from cascade.base import history, ledger
from cascade.base.runtime import ROOT
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.plan import calibration, ledgers
from cascade.plan import profile as profiles
from cascade.plan.forecast import forecast
from cascade.plan.workload import Planner
from cascade.stages import resume
from cascade.stages.context import RunContext

Figures = Iterator[tuple[str, float, str]]
CONFIG = ROOT / "configs" / "tiny-llm.toml"
WARMING, CALIBRATED, LARGER = 4, 40, 80  # questions, three queries each
CANDIDATES = {25: 15}  # top_k of every pipeline that has it, in the second prediction


def plan_figures(folder: Path, engine: str = "transformers") -> Figures:
    """|predicted / measured - 1| of each model stage and of the run, for other queries and for other candidates."""
    few, many = questions(folder / "few", CALIBRATED), questions(folder / "many", LARGER)
    # A machine's first run reads all packages from its disk and compiles vLLM's kernels, which no later one does.
    measured(CONFIG, questions(folder / "first", WARMING), folder / "warming", engine)
    calibrating = measured(CONFIG, few, folder / "calibrated", engine)
    known = calibrated(few, calibrating, engine)
    for what, config, test in (("queries", CONFIG, many), ("candidates", narrowed(folder), few)):
        took = stage_seconds(measured(config, test, folder / what, engine))
        said = predicted(config, few, len(EEDI.read(test).queries), known, engine)
        for stage, seconds in took.items():
            if stage not in ("zero", "ensemble"):
                yield f"plan_error_{what}_{engine}_{stage}", abs(said[stage] / seconds - 1), "ratio"
        total = sum(said[stage] for stage in took)
        yield f"plan_error_{what}_{engine}_total", abs(total / sum(took.values()) - 1), "ratio"


def questions(folder: Path, count: int) -> Path:
    """The sample with so many of its test questions, drawn at random."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    for name in ("train.csv", "misconception_mapping.csv"):
        shutil.copy(ROOT / "sample" / name, folder / name)
    test = pd.read_csv(ROOT / "sample" / "test.csv", dtype=str)
    test.sample(count, random_state=count).to_csv(folder / "test.csv", index=False)
    return folder


def narrowed(folder: Path) -> Path:
    """The config with other candidate counts."""
    text = CONFIG.read_text(encoding="utf-8")
    for now, then in CANDIDATES.items():
        text = text.replace(f"top_k = {now}\n", f"top_k = {then}\n").replace("top_n = 15", "top_n = 10")
    return elsewhere(text, folder / "narrowed.toml")


def elsewhere(text: str, path: Path) -> Path:
    """The config's `text` as `path`, where the files it names are found as well."""
    text = re.sub(r'"\.\./', f'"{ROOT}/', text).replace('"prompts/', f'"{ROOT}/configs/prompts/')
    path.write_text(text, encoding="utf-8")
    return path


def measured(config: Path, test: Path, out: Path, engine: str) -> Path:
    """Runs it whole from an empty folder; returns the folder."""
    shutil.rmtree(out, ignore_errors=True)
    command = [sys.executable, "-m", "cascade", "run", "--config", str(config), "--data", str(test), "--out", str(out)]
    subprocess.run([*command, "--engine", engine], check=True, cwd=ROOT)
    return out


def stage_seconds(run: Path) -> dict[str, float]:
    return {e["stage"]: history.seconds(e) for e in ledger.read(run) if e["phase"] == ledger.STAGE}


def calibrated(test: Path, run: Path, engine: str) -> profiles.Profile:
    config, task = configs.load(CONFIG, engine), EEDI.read(test)
    base = profiles.load(profiles.PROFILES / "cpu.toml")
    runs = ledgers.read([run / ledger.FILE], resume.identity(RunContext(config, task, run)))
    return calibration.calibrate(config, task, base, runs, str(run))


def predicted(config: Path, test: Path, queries: int, known: profiles.Profile, engine: str) -> dict[str, float]:
    """Seconds of each stage for so many queries, by the texts of the run that was calibrated by."""
    settings = configs.load(config, engine)
    stages = Planner(settings, EEDI.read(test), known, queries).stages(settings, known)
    return {stage.name: stage.seconds for stage in forecast(settings, known, stages).stages}
