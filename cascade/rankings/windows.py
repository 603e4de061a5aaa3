"""Which candidates a prompt holds, and so how many prompts a query costs. Light: the conductor counts by it too."""

from __future__ import annotations

from cascade.config.schema import ListwisePipeline, Pipeline, TournamentPipeline

LEAST_CANDIDATES = 5  # what 1st place's largest model still ranked
# Candidates as long as the rest of a prompt of many: a query's own text is about 200 tokens, an option about 17
# (configs/t4x2.toml).
TEXT = 12


def windows(count: int, window: int, stride: int | None) -> list[tuple[int, int]]:
    """(start, stop) of windows over `count` candidates, `stride` (default: half a window) from one to the next.

    The last one is moved back to end with the candidates: a full window compares more than a stub.
    """
    if count <= window:
        return [(0, count)]
    step = stride or max(1, window // 2)
    starts = [*range(0, count - window, step), count - window]
    return [(start, start + window) for start in starts]


def rounds(count: int, group: int) -> list[tuple[int, int]]:
    """(start, stop) of the candidates that enter each round, from the tail to the head.

    The first round takes `group`, each later one `group - 1` beside the survivor; the last what is left.
    """
    plan = [(max(0, count - group), count)]
    while plan[-1][0] > 0:
        stop = plan[-1][0]
        plan.append((max(0, stop - (group - 1)), stop))
    return plan


def prompt_count(pipeline: Pipeline, candidates: int) -> int:
    """How many prompts a query with so many candidates costs."""
    if candidates == 0:
        return 0
    if isinstance(pipeline, ListwisePipeline):
        return len(windows(candidates, pipeline.window, pipeline.stride)) * (2 if pipeline.reverse else 1)
    if isinstance(pipeline, TournamentPipeline):
        return len(rounds(candidates, pipeline.group))
    return candidates


def effort(pipeline: Pipeline, candidates: int) -> float:
    """What a query with so many candidates costs, in candidates read: a measure between two counts of one pipeline."""
    if candidates == 0:
        return 0.0
    if isinstance(pipeline, ListwisePipeline):
        prompts = windows(candidates, pipeline.window, pipeline.stride) * (2 if pipeline.reverse else 1)
    elif isinstance(pipeline, TournamentPipeline):
        prompts = rounds(candidates, pipeline.group)
    else:
        return float(candidates)
    return float(sum(TEXT + stop - start for start, stop in prompts))


def least_candidates(pipeline: Pipeline) -> int:
    """Fewer of a query are not worth asking for."""
    return max(LEAST_CANDIDATES, pipeline.group if isinstance(pipeline, TournamentPipeline) else 0)
