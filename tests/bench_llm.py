"""The LLM part of `python -m tests.bench`: both engines on a random Qwen2 of 35 million parameters, made here.

Each figure is measured in processes of its own, as a stage's are.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import psutil
import torch
from transformers import AutoTokenizer, Qwen2Config, Qwen2ForCausalLM

from cascade.base.runtime import ROOT
from cascade.competitions.eedi import EEDI
from cascade.config import schema as configs
from cascade.config.schema import LanguageModel
from cascade.processes import workers
from cascade.processes.workers import DeviceSlot, Pool
from cascade.rankings import tables
from cascade.rerankers.opening import open_reranker
from cascade.scorers.base import open_scorer
from tests.llm import MODEL, POINTWISE, make_config, same_order

Figures = Iterator[tuple[str, float, str]]
QUERIES, CANDIDATES, PREFIX, SUFFIX, BLOCK = 8, 25, 512, 25, 32
STREAMED = 20_000
CORES = tuple(sorted(os.sched_getaffinity(0)))


def random_model(folder: Path) -> Path:
    """A Qwen2 of about 35 million random parameters with the tiny model's tokenizer."""
    if not (folder / "config.json").is_file():
        torch.manual_seed(0)
        tokenizer = AutoTokenizer.from_pretrained(MODEL)
        config = Qwen2Config(
            vocab_size=2560, hidden_size=512, intermediate_size=1408, num_hidden_layers=12, num_attention_heads=8,
            num_key_value_heads=2, max_position_embeddings=2048, tie_word_embeddings=True,
            eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id, bos_token_id=None,
        )  # fmt: skip
        Qwen2ForCausalLM(config).save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    return folder


def random_prompts(queries: int, candidates: int, prefix: int, suffix: int, seed: int) -> list[list[int]]:
    """Token ids of `candidates` prompts a query that share `prefix` tokens and end in `suffix` of their own."""
    rng = np.random.default_rng(seed)
    return [
        [*beginning, *rng.integers(300, 2500, suffix).tolist()]
        for beginning in rng.integers(300, 2500, (queries, prefix)).tolist()
        for _ in range(candidates)
    ]


def make(folder: Path, engine: str, extra: str = "") -> configs.Config:
    model = random_model(folder / "model")
    pipeline = POINTWISE.replace(str(MODEL), str(model)).replace('adapter = "tiny-pointwise"\n', "") + extra
    return make_config(folder, pipeline, engine)


class Bench:
    """Runs in a pool's process: a scorer, and what is timed on it."""

    def __init__(self, place: DeviceSlot, model: LanguageModel, config: configs.Config) -> None:
        self.scorer: Any = open_scorer(place, "p", model, config, 2)
        self.score(random_prompts(1, 4, 64, 8, seed=99))  # what the first call compiles is not timed

    def score(self, prompts: list[list[int]]) -> tuple[float, int]:
        """Seconds to score, and cached tokens."""
        self.scorer.usage.take()
        start = time.perf_counter()
        self.scorer.score(prompts, [300, 301])
        return time.perf_counter() - start, self.scorer.usage.take()["cached_tokens"]

    def generate(self, prompts: list[list[int]]) -> tuple[float, int]:
        """Seconds that vLLM's own generate takes for one token each, and cached tokens."""
        from vllm import SamplingParams

        start = time.perf_counter()
        outputs = self.scorer.engine.generate(
            [{"prompt_token_ids": prompt} for prompt in prompts],
            SamplingParams(temperature=0.0, max_tokens=1),
            use_tqdm=False,
        )
        return time.perf_counter() - start, sum(output.num_cached_tokens or 0 for output in outputs)

    def stream(self, count: int) -> float:
        """Resident memory in MB after `count` prompts of 16 tokens in chunks of 400."""
        for start in range(0, count, 400):
            self.scorer.score(random_prompts(400, 1, 12, 4, seed=start), [300, 301])
        return float(psutil.Process().memory_info().rss / 1e6)

    def __call__(self, task: tuple[str, Any]) -> Any:
        method, argument = task
        return getattr(self, method)(argument)


def asked(config: configs.Config, folder: Path, *tasks: tuple[str, Any], cores: tuple[int, ...] = CORES) -> list[Any]:
    """What one process answers to the tasks, in their order."""
    place = DeviceSlot(("cpu",), cores)
    with Pool("bench", [place], folder, Bench, (config.pipeline[0], config), config.environment) as pool:
        done = list(pool.run(tasks))
    for each in done:
        if each.error is not None:
            raise each.error
    return [each.value for each in done]


def prefix_cache(folder: Path) -> Figures:
    """Pointwise prompts, 25 a query: what of the shared beginning is reused, and the speed against caching off."""
    prompts = random_prompts(QUERIES, CANDIDATES, PREFIX, SUFFIX, seed=1)
    [(on, cached)] = asked(make(folder, "vllm"), folder, ("score", prompts))
    off_config = make(folder, "vllm", "vllm = { enable_prefix_caching = false }\n")
    [(off, _)] = asked(off_config, folder, ("score", prompts))
    reusable = QUERIES * (CANDIDATES - 1) * (PREFIX // BLOCK) * BLOCK
    yield "vllm_cached_of_reusable_tokens", cached / reusable, "ratio"
    yield "vllm_prefix_caching_speedup", off / on, "ratio"


def overhead(folder: Path) -> Figures:
    """Scoring against vLLM's own generate, on prompts of the same shape, turn by turn; the median of the ratios."""
    tasks = [
        (method, random_prompts(QUERIES, CANDIDATES, PREFIX, SUFFIX, seed=10 + number))
        for number, method in enumerate(["generate", "score"] * 7)
    ]
    seconds = [found[0] for found in asked(make(folder, "vllm"), folder, *tasks)]
    ratios = [score / generate for generate, score in zip(seconds[2::2], seconds[3::2], strict=True)]
    yield "vllm_scoring_to_generate", float(np.median(ratios)), "ratio"


def reranking(folder: Path) -> Figures:
    """A whole reranker, templates and tokenizing included, against generate on the very same prompts."""
    config = make(folder, "vllm")
    queries, given, names = work(QUERIES * 2)
    place = DeviceSlot(("cpu",), CORES)
    with Pool("bench", [place], folder, open_bench_reranker, (config, names), config.environment) as pool:
        done = [each.value for each in pool.run([(queries, given)] * 4)]  # the first compiles
    yield "vllm_reranking_to_generate", float(np.median([ours / theirs for ours, theirs in done[1:]])), "ratio"


def open_bench_reranker(place: DeviceSlot, config: configs.Config, names: dict[int, str]) -> Callable[[Any], Any]:
    """(seconds of reranking, seconds of generate on its prompts), each from an empty cache."""
    pipeline: Any = config.pipeline[0]
    from cascade.rerankers.llm import LLMReranker

    reranker = LLMReranker(place, pipeline, config, names)
    scorer: Any = reranker.scorer
    kept: list[Any] = []
    score = scorer.score

    def spied(prompts: Any, options: Any) -> Any:
        kept[:] = prompts
        return score(prompts, options)

    def timed(task: tuple[pd.DataFrame, pd.DataFrame]) -> tuple[float, float]:
        queries, given = task
        scorer.score = spied
        scorer.engine.reset_prefix_cache()
        start = time.perf_counter()
        reranker.rerank(queries, given)
        ours = time.perf_counter() - start
        scorer.engine.reset_prefix_cache()
        from vllm import SamplingParams

        start = time.perf_counter()
        scorer.engine.generate(
            [{"prompt_token_ids": prompt} for prompt in kept],
            SamplingParams(temperature=0.0, max_tokens=1),
            use_tqdm=False,
        )
        return ours, time.perf_counter() - start

    return timed


def memory(folder: Path) -> Figures:
    """Resident memory of a scoring process after 2,000 prompts and after 20,000 more; on the tiny model, for speed."""
    tasks = [("stream", 2_000), ("stream", STREAMED)]
    first, last = asked(make_config(folder, POINTWISE, "vllm"), folder, *tasks)
    yield "vllm_memory_after_20000_prompts_to_after_2000", last / first, "ratio"


def work(queries: int) -> tuple[pd.DataFrame, pd.DataFrame, dict[int, str]]:
    """The sample's first queries, 25 random candidates each, and the misconceptions' names."""
    task = EEDI.read(ROOT / "sample")
    test = task.queries.head(queries).assign(reason="")
    ids = task.labels["label_id"].to_numpy()
    scores = np.random.default_rng(0).random((queries, len(ids)), dtype=np.float32)
    return test, tables.from_matrix(test["query_id"].tolist(), ids, scores, CANDIDATES), task.texts


def data_parallel(folder: Path) -> Figures:
    """Two workers on a core each against one on one core, load time left out; then with one of them killed half way."""
    config = make(folder, "vllm")
    queries, given, names = work(36)
    tasks = [
        (queries[queries["query_id"] == query], given[given["query_id"] == query]) for query in queries["query_id"]
    ]  # the first four warm up
    one, alone = pooled(config, folder, names, [DeviceSlot(("cpu",), CORES[:1])], tasks)
    two, together = pooled(config, folder, names, workers.device_slots(["cpu", "cpu"]), tasks)
    _, survived = pooled(config, folder, names, workers.device_slots(["cpu", "cpu"]), tasks, kill=True)
    yield "vllm_two_workers_speedup", one / two, "ratio"
    yield "vllm_two_workers_same_ranking", float(same_order(alone, together, 1e-4)), "yes=1"
    yield "vllm_killed_worker_same_ranking", float(same_order(alone, survived, 1e-4)), "yes=1"


def pooled(
    config: configs.Config, folder: Path, names: dict[int, str], places: list[DeviceSlot], tasks: list[Any],
    kill: bool = False,
) -> tuple[float, pd.DataFrame]:  # fmt: skip
    """Seconds and ranking of the tasks, once every process has loaded and warmed up."""
    arguments = (config.pipeline[0], config, names)
    done: list[pd.DataFrame] = []
    with Pool("bench", places, folder, open_reranker, arguments, config.environment) as pool:
        while not all(worker.ready for worker in pool.workers):
            list(pool.run(tasks[:2]))
        list(pool.run(tasks[:4]))
        timed = tasks[4:]
        start = time.perf_counter()
        for each in pool.run(timed):
            done.append(each.value[0])
            if kill and len(done) == len(timed) // 2:
                busy = next(worker for worker in pool.workers if worker.task is not None)
                os.kill(busy.process.pid, signal.SIGKILL)
        seconds = time.perf_counter() - start
    return seconds, pd.concat(done, ignore_index=True)


def transformers_prefix(folder: Path) -> Figures:
    """The transformers engine: prompts that stand together share their beginning; dealt out, they are plain batches."""
    config = make(folder, "transformers")
    config = replace_batch(config, CANDIDATES)
    prompts = random_prompts(QUERIES, CANDIDATES, PREFIX, SUFFIX, seed=1)
    dealt = [prompts[query * CANDIDATES + place] for place in range(CANDIDATES) for query in range(QUERIES)]
    (plain, _), (shared, _) = asked(config, folder, ("score", dealt), ("score", prompts))
    yield "transformers_prefix_sharing_speedup", plain / shared, "ratio"


def replace_batch(config: configs.Config, batch_size: int) -> configs.Config:
    return config.model_copy(update={"pipeline": [config.pipeline[0].model_copy(update={"batch_size": batch_size})]})


ALL: dict[str, Callable[[Path], Figures]] = {
    "prefix_cache": prefix_cache,
    "overhead": overhead,
    "reranking": reranking,
    "memory": memory,
    "data_parallel": data_parallel,
    "transformers_prefix": transformers_prefix,
}
