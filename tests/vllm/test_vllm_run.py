"""Whole runs on the vLLM engine, and its names held to the kernel's."""

from __future__ import annotations

import importlib.util
from pathlib import Path

from cascade.base.runtime import ROOT
from cascade.config import schema as configs
from packer.vllm import api, names
from tests.llm import run_on_vllm


def test_the_installed_vllm_has_every_name_that_is_used() -> None:
    spec = importlib.util.find_spec("vllm")
    assert spec is not None and spec.origin is not None
    every = [configs.load(path) for path in sorted((ROOT / "configs").glob("*.toml"))]
    extract = api.read_package(Path(spec.origin).parent)
    assert names.problems(extract, every) == names.misfits(extract, every) == []


def test_the_sample_runs_whole_on_vllm(tmp_path: Path) -> None:
    scored = run_on_vllm(tmp_path)
    # A query's candidates share their prompts' beginning; so do all queries the instruction.
    assert scored["rerank-point"]["cached_tokens"] > 0.5 * scored["rerank-point"]["tokens"]
    assert scored["reason"]["cached_tokens"] > 0
