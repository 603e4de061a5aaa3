"""The budget's part of `python -m tests.bench`: a run with all the time it needs, then one with half of that.

The second one's profile is calibrated by the first, as whoever has run a config once would do.
Seconds are this machine's and an idle one's: what runs beside eats the second run's time.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd

from cascade.base import ledger
from cascade.base.runtime import ROOT
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.plan import calibration
from cascade.processes.workers import Pool
from cascade.rankings import metrics, tables
from cascade.stages.pace import Pace
from sample.generate.dataset import generate
from tests.bench_plan import calibrated, elsewhere
from tests.eedi import rows_of

Figures = Iterator[tuple[str, float, str]]
CONFIG = ROOT / "configs" / "tiny-llm.toml"
# Of the sample's kind, with more to score: of the 80 questions' run half is starting notebooks and loading models.
QUESTIONS, SEED = 200, 2
LINES = 1000  # written to time one


def budget_figures(folder: Path) -> Figures:
    """What half of the time is worth, how much of it goes into scoring, and what deciding costs."""
    test = folder / "data"
    generate(test, SEED, questions=400 + QUESTIONS, test=QUESTIONS)
    needed, full = run(folder / "full", test)
    yield "budget_full_run", needed, "s"
    yield "budget_cost_share", decided(full, folder) / needed, "ratio"
    calibration.write(calibrated(test, full, "transformers"), folder / "profile.toml")
    text = CONFIG.read_text(encoding="utf-8").replace("[time]\n", f'[time]\nprofile = "{folder / "profile.toml"}"\n')
    _, half = run(folder / "half", test, needed / 2, elsewhere(text, folder / "calibrated.toml"))
    retrieval = map_of(test, first_of(tables.read(full / "candidates-r1.parquet")))
    gains = [map_of(test, rows_of(each / "submission.csv")) - retrieval for each in (full, half)]
    yield "budget_full_gain", gains[0], "MAP@25"
    yield "budget_half_gain_share", gains[1] / gains[0], "ratio"
    yield "budget_half_scoring_share", scoring(half), "ratio"
    yield "budget_half_left", deadline(half) - max(entry["end"] for entry in ledger.read(half)), "s"


def run(out: Path, test: Path, seconds: float | None = None, config: Path = CONFIG) -> tuple[float, Path]:
    """Runs the config from an empty folder; how long that took, and the folder."""
    shutil.rmtree(out, ignore_errors=True)
    start = time.time()
    command = [sys.executable, "-m", "cascade", "run", "--config", str(config), "--data", str(test), "--out", str(out)]
    until = ["--deadline", str(start + seconds)] if seconds is not None else []
    # 1: a stage that ran out of time is a failure, and what the figures are of
    subprocess.run([*command, "--engine", "transformers", *until], check=seconds is None, cwd=ROOT)
    return time.time() - start, out


def decided(run: Path, folder: Path) -> float:
    """Seconds that a run spent on its budget and its ledger: decisions, each chunk's pace, and every line written."""
    entries = ledger.read(run)
    between = sum(entry["end"] - entry["start"] for entry in entries if entry["phase"] == ledger.BUDGET)
    folder.mkdir(parents=True, exist_ok=True)
    start = time.perf_counter()
    for _ in range(LINES):
        ledger.record(folder, "rerank-p", "score", 0.0, 1.0, queries=16, prompts=400, tokens=40000)
    line = (time.perf_counter() - start) / LINES
    (folder / ledger.FILE).unlink()
    chunks = sum(len(entry.get("chunks", [])) for entry in entries)
    return between + line * len(entries) + a_cut() * chunks


def a_cut() -> float:
    """Seconds that a chunk's pace takes to be watched where everything is to be cut: 15 chunks of 16 queries."""
    pipeline = next(each for each in configs.load(CONFIG).pipeline if each.name == "ce")
    ids = [f"{number}" for number in range(16)]
    rows = pd.DataFrame([(query, id_, id_ + 1) for query in ids for id_ in range(25)],
                        columns=["query_id", "label_id", "rank"])  # fmt: skip
    given: list[Any] = [(pd.DataFrame({"query_id": ids}), rows) for _ in range(15)]
    start = time.perf_counter()
    pool = cast(Pool, SimpleNamespace(name="bench", workers=[]))
    pace = Pace(pool, given, time.time() + 1, pipeline, lambda _: None)
    for number in range(15):
        pace.go_on()
        pace.finished(given[number], 4.0)
    return (time.perf_counter() - start) / 15


def first_of(table: pd.DataFrame) -> dict[str, list[int]]:
    return {str(query): ids.tolist()[:25] for query, ids in table.groupby("query_id")["label_id"]}


def map_of(test: Path, rows: dict[str, list[int]]) -> float:
    task = EEDI.read(test)
    assert task.truth is not None
    ranked = [(query, id_, rank) for query, ids in rows.items() for rank, id_ in enumerate(ids, start=1)]
    table = pd.DataFrame(ranked, columns=["query_id", "label_id", "rank"])
    return float(metrics.report(table, task.truth, task.seen, 25, recalls=())["map"])


def deadline(run: Path) -> float:
    return next(float(entry["deadline"]) for entry in ledger.read(run) if "deadline" in entry)


def scoring(run: Path) -> float:
    """The share of the time from the first model's loading to the deadline in which a model was at work."""
    worked, loaded = 0.0, deadline(run)
    for entry in ledger.read(run):
        if entry["phase"] == "score":
            worked, loaded = worked + entry["end"] - entry["start"], min(loaded, entry["start"])
        elif entry["phase"] == "retrieve":
            loads = [each["load"] for each in entry.get("embedded", [])]
            worked += entry["end"] - entry["start"] - sum(loads)
            loaded = min(loaded, entry["start"] + sum(loads[:1]))
    return worked / (deadline(run) - loaded)
