"""What a prompt, a token and a written token cost, from the chunks of a stage that has run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cascade.base.history import Entry, seconds
from cascade.plan.ledgers import plausible

# Beyond it, columns tell so nearly the same that a few per cent of noise decide how the time is shared among them.
CONDITION = 20.0
ENOUGH = 4  # chunks for every cost that is told apart
STEADY = 3  # chunks beside each worker's first one: fewer can't tell what the first call costs
LEAST_SPREAD = 0.1  # between two runs of the same on the same machine


@dataclass(frozen=True)
class Costs:
    """Seconds of the machine a prompt, a prompt token computed, a token written; warm_up: of a worker's first chunk."""

    prompt: float
    token: float
    written: float
    warm_up: float
    spread: float


def costs(runs: Sequence[Sequence[Entry]]) -> Costs | None:
    """Fits the costs to the chunks of several runs of one stage; None without any.

    Costs are least squares, none negative, over chunks as far as these tell prompts and tokens apart, else
    all goes by the tokens. They are then scaled to the wall-clock time in which chunks were at work, so that several
    workers' count as what they are together.
    """
    kept = [plausible(list(chunks)) for chunks in runs]
    kept = [chunks for chunks in kept if chunks]
    if not kept:
        return None
    first = [chunk for chunks in kept for chunk in _first_of_workers(chunks)]
    every = [chunk for chunks in kept for chunk in chunks]
    steady = [chunk for chunk in every if all(chunk is not each for each in first)]
    told = steady if len(steady) >= STEADY else every
    found = solve(_counts(told), np.array([seconds(chunk) for chunk in told]))
    excess = 0.0
    if told is steady:
        late = np.array([seconds(chunk) for chunk in first]) - _counts(first) @ found
        excess = max(0.0, float(late.mean()))
    wall = sum(_at_work(chunks) for chunks in kept) - excess * len(kept)
    expected = _counts(every) @ found
    found = found * wall / expected.sum() if expected.sum() > 0 and wall > 0 else found
    left = np.array([seconds(chunk) for chunk in told]) - _counts(told) @ found * (expected.sum() / wall if wall else 1)
    spread = float(np.sqrt((left**2).sum()) / sum(seconds(chunk) for chunk in told)) if len(told) > 1 else 0.0
    prompt, token, written = map(float, found)
    return Costs(prompt, token, written, excess, max(LEAST_SPREAD, spread))


def solve(counts: np.ndarray, taken: np.ndarray) -> np.ndarray:
    """Cost of each column: [n_columns], from counts [n_rows, n_columns] and seconds [n_rows]."""
    from scipy.optimize import nnls

    norms = np.linalg.norm(counts, axis=0)
    used = np.flatnonzero(norms)
    found = np.zeros(counts.shape[1])
    if not len(used):
        return found
    scaled = counts[:, used] / norms[used]
    if len(taken) >= ENOUGH * len(used) and np.linalg.cond(scaled) <= CONDITION:
        found[used] = nnls(scaled, taken)[0] / norms[used]
    else:
        found[used[-1]] = taken.sum() / counts[:, used[-1]].sum()
    return found


def _counts(chunks: Sequence[Entry]) -> np.ndarray:
    """Prompts, computed tokens and written tokens: [n_chunks, 3]."""
    return np.array([
        [chunk.get("prompts", 0), chunk.get("tokens", 0) - chunk.get("cached_tokens", 0),
         chunk.get("written_tokens", 0)]
        for chunk in chunks
    ], dtype=float).reshape(-1, 3)  # fmt: skip


def _first_of_workers(chunks: Sequence[Entry]) -> list[Entry]:
    """The chunks begun before any was finished: each worker's first."""
    earliest = min(chunk["end"] for chunk in chunks)
    return [chunk for chunk in chunks if chunk["start"] < earliest]


def _at_work(chunks: Sequence[Entry]) -> float:
    """Seconds in which at least one chunk was at work."""
    total, until = 0.0, -np.inf
    for chunk in sorted(chunks, key=lambda chunk: chunk["start"]):
        total += max(0.0, chunk["end"] - max(chunk["start"], until))
        until = max(until, chunk["end"])
    return float(total)
