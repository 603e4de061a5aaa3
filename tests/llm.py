"""LLM stages on the sample's tiny models, for the tests of both engines."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer

from cascade.base import ledger
from cascade.base.runtime import ROOT
from cascade.competitions import submission
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.config.schema import Config, LanguageModel
from cascade.processes.workers import DeviceSlot
from cascade.rankings import reasons, tables
from cascade.scorers.base import OptionScorer, open_scorer
from cascade.stages.context import RunContext
from tests.eedi import asked

MODEL = ROOT / "sample" / "models" / "tiny-qwen2"
ADAPTERS = ROOT / "sample" / "adapters"
POINTWISE = f"""
kind = "pointwise"
model = "{MODEL}"
adapter = "tiny-pointwise"
prompt = "{ROOT / "configs" / "prompts" / "pointwise.txt"}"
max_length = 1024
"""
LISTWISE = POINTWISE.replace("pointwise.txt", "listwise-tiny.txt").replace("pointwise", "listwise")
TOURNAMENT = LISTWISE.replace('kind = "listwise"', 'kind = "tournament"')
CONFIG = """
adapters = "{adapters}"
engine = "{engine}"
devices = {devices}

[vllm]
block_size = 32
enforce_eager = true
max_num_seqs = 64

[environment]
VLLM_CPU_KVCACHE_SPACE = "1"

[[retrieval]]
name = "r1"
retriever = [{{ kind = "tfidf" }}]

[ensemble]
weights = {{ r1 = 1.0 }}

[[pipeline]]
name = "p"
candidates = "r1"
chunk = 2
{pipeline}
"""


def make_config(
    folder: Path, pipeline: str, engine: str = "transformers", devices: tuple[str, ...] = ("cpu",)
) -> Config:
    """A config of one retrieval `r1` and one pipeline `p`, written to `folder`."""
    path = folder / "llm.toml"
    text = CONFIG.format(adapters=ADAPTERS, engine=engine, devices=list(devices), pipeline=pipeline)
    path.write_text(text.replace("'", '"'))
    return configs.load(path)


def make_bench(folder: Path, config: Config, queries: int = 8, candidates: int = 25, seed: int = 0) -> RunContext:
    """A context on the sample's first `queries` labelled test queries; `r1` is random candidates and the right one."""
    task = EEDI.read(ROOT / "sample")
    assert task.truth is not None
    labels = task.truth.head(queries)
    test = task.queries[task.queries["query_id"].isin(labels["query_id"])].reset_index(drop=True)
    rng = np.random.default_rng(seed)
    ids = task.labels["label_id"].to_numpy()
    rows = []
    for query, right in zip(labels["query_id"], labels["label_id"], strict=True):
        drawn = rng.permutation([right, *rng.choice(ids[ids != right], candidates - 1, replace=False)])
        rows += [(query, id_, 1 - place / 100) for place, id_ in enumerate(drawn)]
    run = folder / "run"
    run.mkdir(exist_ok=True)
    context = RunContext(config, replace(task, queries=test, truth=labels), run)
    table = tables.from_scores(pd.DataFrame(rows, columns=["query_id", "label_id", "score"]))
    tables.write(table, config.table_path("r1", run))
    return context


def broken_model(folder: Path, word: str) -> Path:
    """A copy of the tiny model that gives NaN for every prompt that has `word`, one of its tokens, in it."""
    shutil.copytree(MODEL, folder)
    token = AutoTokenizer.from_pretrained(folder).convert_tokens_to_ids(word)
    weights = load_file(folder / "model.safetensors")
    weights["model.embed_tokens.weight"][token] = torch.nan
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    return folder


def penalised_model(folder: Path) -> Path:
    """A copy of the tiny model whose generation_config.json asks for what is not the most likely token."""
    shutil.copytree(MODEL, folder)
    path = folder / "generation_config.json"
    asked = {"repetition_penalty": 5.0, "no_repeat_ngram_size": 1, "num_beams": 3, "do_sample": True, "min_length": 99}
    path.write_text(json.dumps(json.loads(path.read_text(encoding="utf-8")) | asked), encoding="utf-8")
    return folder


def open_for_test(
    place: DeviceSlot, model: LanguageModel, config: Config, options: int
) -> Callable[[tuple[str, tuple[Any, ...]]], Any]:
    """What a pool's process works with in a test: (scorer's method, arguments) -> what it returns, and its usage."""
    scorer: OptionScorer = open_scorer(place, "p", model, config, options)

    def work(task: tuple[str, tuple[Any, ...]]) -> Any:
        method, arguments = task
        return getattr(scorer, method)(*arguments), scorer.usage.take()

    return work


def run_on_vllm(folder: Path) -> dict[str, dict[str, Any]]:
    """Runs tiny-llm.toml whole on the sample's first questions; the ledger's `score` entries by stage.

    What any engine must leave is asserted here. On transformers the rehearsal of smoke.toml is a whole run.
    """
    given = folder / "data"
    given.mkdir()
    shutil.copy(ROOT / "sample" / "misconception_mapping.csv", given)
    for name, questions in (("train.csv", 60), ("test.csv", 3), ("test_labels.csv", 3)):
        pd.read_csv(ROOT / "sample" / name, dtype=str).head(questions).to_csv(given / name, index=False)
    command = [
        sys.executable, "-m", "cascade", "run", "--config", "configs/tiny-llm.toml", "--data", str(given),
        "--engine", "vllm", "--out", str(folder / "out"),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=900, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    task = EEDI.read(given)
    queries = task.queries["query_id"].tolist()
    submission.validate(folder / "out" / "submission.csv", asked(queries, set(task.texts)))
    written = reasons.read(folder / "out" / reasons.FILE)
    assert sorted(written["query_id"]) == sorted(queries) and (written["reason"].str.len() > 0).mean() > 0.9
    for name in ("list", "point", "final"):
        assert set(tables.read(folder / "out" / f"ranking-{name}.parquet")["query_id"]) <= set(queries)
    entries = ledger.read(folder / "out")
    assert sum("select saved" in entry.get("decision", "") for entry in entries) == 2
    scored = {entry["stage"]: entry for entry in entries if entry["phase"] == "score"}
    assert {"reason", "rerank-ce", "rerank-list", "rerank-point", "rerank-final"} == scored.keys()
    for name in ("list", "point", "final"):  # of every process that finished something
        assert all(each["mean"] < 0.02 and each["ranks"] > 0.99 for each in scored[f"rerank-{name}"]["canaries"])
    assert all(entry.get("shortened", 0) == 0 for entry in scored.values())
    for stage in ("reason", "rerank-point"):
        shown = (folder / "out" / "notebooks" / f"{stage}.ipynb").read_text(encoding="utf-8")
        assert "<|im_start|>assistant" in shown  # the prompt, to be looked at
    return scored


def same_order(first: pd.DataFrame, second: pd.DataFrame, tolerance: float) -> bool:
    """Whether two rankings order each query alike, except between candidates that are closer than `tolerance`."""
    both = first.merge(second, on=["query_id", "label_id"], suffixes=("", "_second"))
    if len(both) != len(first) or len(both) != len(second):
        return False
    for _, rows in both.sort_values("rank").groupby("query_id"):
        scores = rows["score"].to_numpy()[np.argsort(rows["rank_second"].to_numpy(), kind="stable")]
        if (np.maximum.accumulate(scores[::-1])[::-1] > scores + tolerance).any():
            return False
    return True
