"""How fast each stage of a run was and how much memory it took; and, by that, what the whole test would take."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import Any

import pandas as pd

from cascade.base import history, ledger
from cascade.base.history import Entry
from cascade.base.runtime import is_kaggle, is_rerun
from cascade.kaggle.kernel import Kernel
from cascade.processes import environ

TOTAL = "all stages"
LIMIT = 300.0  # seconds for a plan, which takes ten or so: no slow disk may hold up the end of the run


def table(run: Path) -> pd.DataFrame:
    """One row a stage of the run's ledger and one for all, of seconds, counts, rates and memory."""
    rows = {stage: _row(each.whole, each.work) for stage, each in history.read(run).items() if each.whole}
    frame = pd.DataFrame.from_dict(rows, orient="index")
    if not frame.empty:
        frame.loc[TOTAL, "seconds"] = frame["seconds"].sum()
    return frame


def _row(whole: Entry, work: Entry) -> dict[str, Any]:
    seconds = history.seconds(whole)
    loading = sum(part["load"] for part in work.get("embedded", []))  # a retriever's models load as it works
    worked = history.seconds(work) - loading if work else 0.0
    tokens = work.get("tokens", 0) if worked else 0
    return {
        "seconds": round(seconds, 1),
        "of it working": round(worked, 1),
        "queries": work.get("queries"),
        "prompts": work.get("prompts"),
        "tokens a second": round(tokens / worked) if tokens else None,
        "memory (GB)": round(whole["peak_memory_mb"] / 1000, 1) if "peak_memory_mb" in whole else None,
        "of a GPU (GiB)": round(whole["peak_gpu_memory_mb"] / 1024, 1) if "peak_gpu_memory_mb" in whole else None,
    }


def plan(kernel: Kernel, engine: str = "") -> None:
    """Prints the plan for the whole test by this run's own rates, which it leaves in the run as profile.toml.

    `python -m cascade plan` in the environment, as the image's Python lacks what it needs. Nothing in the rerun, which
    is the whole test, and without an environment. A plan that cannot be made is said, and no failure of the run.
    """
    if is_rerun() or kernel.python is None:
        return
    tables = kernel.tables
    profile = tables / "profile.toml"
    about = [
        "--config", str(kernel.config), "--data", str(tables / "data" if kernel.practice else kernel.data),
        *(["--engine", engine] if engine else []),
    ]  # fmt: skip
    calibrated = ["--calibrate", str(tables / ledger.FILE), "--out", str(profile)]
    planned = [
        "--queries",
        str(kernel.competition.hidden_queries),
        "--profile",
        str(profile),
        "--out",
        str(tables / "plan.png"),
    ]
    if _said(kernel.python, [*about, *calibrated]) == 0:
        _said(kernel.python, [*about, *planned])


def _said(python: Path, options: list[str]) -> int:
    """The exit code of `python -m cascade plan`, whose lines are printed."""
    variables = environ.activated(python) if is_kaggle() else dict(os.environ)
    try:
        done = subprocess.run(
            [str(python), "-m", "cascade", "plan", *options], env=variables, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace", timeout=LIMIT,
            check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        print(f"no plan within {LIMIT:.0f} s")
        return 1
    print(done.stdout, end="", flush=True)
    return done.returncode
