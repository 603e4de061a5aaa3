"""What an LLM pipeline asks of its queries, whatever its kind."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from cascade.config.schema import LLMPipeline
from cascade.rerankers import listwise, pointwise, tournament
from cascade.rerankers.base import Asking, Given

KINDS: dict[str, Callable[..., Asking]] = {
    "pointwise": pointwise.ask,
    "listwise": listwise.ask,
    "tournament": tournament.ask,
}


def ask(pipeline: LLMPipeline, given: Sequence[Given], names: Mapping[int, str]) -> Asking:
    """What the pipeline asks of these queries; `names` are the labels' texts by id."""
    return KINDS[pipeline.kind](pipeline, given, names)
