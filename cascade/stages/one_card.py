"""Canaries of one card: by them a commit run proves a model that is spread over several where nobody made any.

Tensor parallelism has been wrong without an error (vLLM #43962). Where the model fits one card, that card scores a few
queries first, and the spread model is held to its scores.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from cascade.base import clock, ledger, runtime
from cascade.config.schema import Config, LLMPipeline, Pipeline
from cascade.models import locate
from cascade.processes import gpu, workers
from cascade.processes.workers import DeviceSlot
from cascade.rerankers import canaries
from cascade.stages.context import RunContext

FITS = 0.75  # of a card's memory that weights may take: the rest is for what they compute, and vLLM leaves a tenth
NOT_PROVED = "not proved: nothing says that the scores of several cards together are right"


@contextmanager
def canaries_of(context: RunContext, pipeline: Pipeline, slots: Sequence[DeviceSlot]) -> Iterator[Path | None]:
    """The file that the stage's LLM is held to, if it is there; None where it is not to be proved.

    It is that beside the config, or one that a card makes now, alone. That is only so in Kaggle's commit run: in the
    rerun, the time is the submission's. What keeps the card from it is said, and costs nothing else.
    """
    if not isinstance(pipeline, LLMPipeline) or not context.proves:
        yield None
        return
    own = canaries.path_of(pipeline, context.config)
    spread = len(slots) == 1 and len(slots[0].devices) > 1
    if not spread or not runtime.is_kaggle() or runtime.is_rerun() or own.exists():
        yield own
        return
    start = clock.now()
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / f"{pipeline.name}.json"
        try:
            why = _too_large(pipeline, context.config, slots[0].device) or _made(context, pipeline, slots[0], path)
        except Exception as error:  # of whatever kind: the stage goes on without
            why = str(error) or type(error).__name__
        told = f"{NOT_PROVED} ({why})" if why else f"its canaries are made by {slots[0].devices[0]} alone"
        print(f"{pipeline.stage}: {told}", flush=True)
        ledger.record(context.run, pipeline.stage, "one card", start, clock.now(), decision=told)
        yield own if why else path


def _too_large(pipeline: LLMPipeline, config: Config, device: str) -> str:
    """Why the model does not fit one card; "" where it does."""
    folder = locate.model_path(pipeline.model, config.path.parent)
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    if not weights:
        return f"{folder} has no *.safetensors, by which the model's size is known"
    cards = [float(line) * 2**20 for line in gpu.nvidia_smi("memory.total") if line.replace(".", "").isdigit()]
    room = min(cards, default=0.0) if device != "cpu" else float(psutil.virtual_memory().total)
    if weights <= FITS * room:
        return ""
    return f"its weights, {weights / 1e9:.1f} GB, are more than {FITS:.0%} of a card's {room / 1e9:.1f} GB"


def _made(context: RunContext, pipeline: LLMPipeline, slot: DeviceSlot, path: Path) -> str:
    """Has the first of the cards make them, in a process that is gone afterwards; why that failed, or ""."""
    alone = pipeline.model_copy(update={"parallel": "data"})
    queries = canaries.chosen(pipeline, context.task)
    first = DeviceSlot(slot.devices[:1], slot.cores)
    before = gpu.gpu_memory_used_mb()
    arguments = (alone, context.config, queries, path)
    with workers.Pool(pipeline.stage, [first], context.logs, open_maker, arguments, context.config.environment) as pool:
        [done] = pool.run([None])
    gpu.wait_for_gpu_memory(before)
    return "" if done.error is None else str(done.error)


def open_maker(
    place: DeviceSlot, pipeline: LLMPipeline, config: Config, queries: list[dict[str, Any]], path: Path
) -> Any:
    """What the process works with: whatever it is given, it writes the canaries."""
    from cascade.rerankers.llm import LLMReranker

    reranker = LLMReranker(place, pipeline, config, {})

    def work(_: None) -> None:
        engine = f"{config.engine} on {place.name} alone"
        canaries.write(pipeline, config, queries, reranker.prompter, reranker.answer, engine, path)

    return work
