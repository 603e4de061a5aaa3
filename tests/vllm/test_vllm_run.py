"""Whole runs on the vLLM engine, and its names held to the kernel's."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pandas as pd

from cascade import data, ledger, reasons, submission, tables
from cascade.paths import ROOT
from packer import vllm_api
from tests import vllm_names


def test_the_installed_vllm_has_every_name_that_is_used() -> None:
    spec = importlib.util.find_spec("vllm")
    assert spec is not None and spec.origin is not None
    assert vllm_names.problems(vllm_api.read_package(Path(spec.origin).parent)) == []


def test_the_sample_runs_whole_on_vllm(tmp_path: Path) -> None:
    command = [
        sys.executable, "-m", "cascade", "run", "--config", "configs/sample-llm.toml", "--data", "sample",
        "--engine", "vllm", "--out", str(tmp_path),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    competition = data.read(ROOT / "sample")
    queries = competition.test["query_id"].tolist()
    submission.validate(tmp_path / "submission.csv", queries, set(competition.names))
    written = reasons.read(tmp_path / reasons.FILE)
    assert written["query_id"].nunique() == len(queries) and (written["reason"].str.len() > 0).mean() > 0.9
    for name in ("list", "point", "final"):
        table = tables.read(tmp_path / f"ranking-{name}.parquet")
        assert pd.Series(table["query_id"].unique()).isin(queries).all()
    entries = ledger.read(tmp_path)
    scored = {entry["stage"]: entry for entry in entries if entry["phase"] == "score"}
    # A query's candidates share their prompts' beginning; so do all queries the instruction.
    assert scored["rerank-point"]["cached_tokens"] > 0.5 * scored["rerank-point"]["tokens"]
    assert all(entry["shortened"] == 0 for stage, entry in scored.items() if stage != "rerank-ce")
    assert any("select saved" in entry.get("decision", "") for entry in entries)
