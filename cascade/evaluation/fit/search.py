"""The search for better numbers, and what they gain on queries that they were not fitted on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from itertools import combinations, product

import numpy as np

from cascade.evaluation.compare import scores
from cascade.evaluation.fit.judged import Judged, Numbers

# What is tried for a member's weight, as a multiple of the heaviest member's.
RATIOS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 5.0, 10.0)
BOOSTS = (0.8, 0.9, 1.0, 1.1, 1.2, 1.35, 1.5, 1.75, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0)
SHARES = (0.0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
WEIGHTS = (1e-6, 1e6)  # what a config may have
STEPS = 2  # on either side, where two numbers change together
LEAST = 1e-9  # a gain in MAP that is not rounding


@dataclass(frozen=True)
class Part:
    """Queries of a run: of its labelled ones those that `chosen` [labelled] says."""

    run: Judged
    chosen: np.ndarray

    def value(self, numbers: Numbers, unseen: float | None) -> float:
        """MAP of these queries; with `unseen` as if that share of them were unseen."""
        return float(weights(self.run.seen[self.chosen], unseen) @ self.run.gains(numbers)[self.chosen])


def weights(seen: np.ndarray, unseen: float | None) -> np.ndarray:
    """What each query counts in a mean, float64 [queries]; a kind that there is none of counts nothing."""
    if unseen is None:
        return np.full(len(seen), 1 / max(1, len(seen)))
    return np.where(seen, (1 - unseen) / max(1, seen.sum()), unseen / max(1, (~seen).sum()))


def whole(runs: Sequence[Judged]) -> list[Part]:
    return [Part(run, np.full(len(run.seen), True)) for run in runs]


def fit(parts: Sequence[Part], start: Numbers, free: Sequence[str], unseen: float | None, boosted: bool) -> Numbers:
    """The numbers of highest mean value that are found from `start`, by one change after another while any gains.

    A change is of one number to any that is tried for it, or of two by a step or two: a member that knows seen labels
    only and the boost gain together what neither gains alone.
    free: the members whose weights may change. boosted: whether the boost or the share may.
    """

    def value(numbers: Numbers) -> float:
        return float(np.mean([part.value(numbers, unseen) for part in parts]))

    knobs = [Knob(name, start) for name in [*free, *([""] if boosted else [])]]
    best, reached = start, value(start)
    while True:
        before = reached
        for together in [*((knob,) for knob in knobs), *combinations(knobs, 2)]:
            for numbers in _changed(best, together):
                if (found := value(numbers)) > reached + LEAST:
                    best, reached = numbers, found
        if reached == before:
            return best


def _changed(numbers: Numbers, knobs: Sequence[Knob]) -> Iterator[Numbers]:
    """The numbers with other values of one knob, or near ones of two."""
    tried = [knobs[0].values] if len(knobs) == 1 else [knob.near(numbers) for knob in knobs]
    for values in product(*tried):
        yield reduce(lambda changed, each: each[0].turned(changed, each[1]), zip(knobs, values, strict=True), numbers)


class Knob:
    """A number that may change: the weight of the member `of`; where that is empty, the boost, or the share."""

    def __init__(self, of: str, start: Numbers) -> None:
        self.of, self.is_share = of, start.share is not None
        unit = max(start.weights.values())
        weights = [float(np.clip(float(f"{ratio * unit:.6g}"), *WEIGHTS)) for ratio in RATIOS]
        self.values: Sequence[float] = weights if of else SHARES if self.is_share else BOOSTS

    def turned(self, numbers: Numbers, value: float) -> Numbers:
        """The numbers with this value."""
        if self.of:
            return replace(numbers, weights={**numbers.weights, self.of: value})
        return replace(numbers, share=value) if self.is_share else replace(numbers, boost=value)

    def near(self, numbers: Numbers) -> list[float]:
        """The values next to what the numbers have, `STEPS` on either side."""
        now = numbers.weights[self.of] if self.of else numbers.share if self.is_share else numbers.boost
        now = 1.0 if now is None else now  # no boost
        below, above = ([each for each in self.values if (each < now) == is_below and each != now]
                        for is_below in (True, False))  # fmt: skip
        return [*below[-STEPS:], *above[:STEPS]]


@dataclass(frozen=True)
class HeldOut:
    """Queries that no numbers were fitted on when these were judged: what each gains with `start` and with the fitted.

    fitted: what each part was judged by: what was left out, and the numbers that the other queries led to.
    """

    seen: np.ndarray
    before: np.ndarray
    after: np.ndarray
    fitted: list[tuple[str, Numbers]]

    def change(self, unseen: float | None, seed: int) -> Change:
        """MAP before and after; with `unseen` as if that share of all queries were unseen.

        NaN where queries of a kind that counts are lacking.
        """
        kinds = [self.seen | ~self.seen] if unseen is None else [self.seen, ~self.seen]
        shares = [1.0] if unseen is None else [1 - unseen, unseen]
        rng = np.random.default_rng(seed)
        used = [(kind, share) for kind, share in zip(kinds, shares, strict=True) if share]
        if not all(kind.any() for kind, _ in used):
            return Change(0, np.nan, np.nan, (np.nan, np.nan))
        means = [sum(share * values[kind].mean() for kind, share in used) for values in (self.before, self.after)]
        drawn = [share * scores.drawn_means((self.after - self.before)[kind], rng) for kind, share in used]
        queries = sum(int(kind.sum()) for kind, _ in used)
        return Change(queries, float(means[0]), float(means[1]), scores.interval(np.sum(drawn, axis=0)))


@dataclass(frozen=True)
class Change:
    """MAP of `queries` queries before and after, and the interval of the difference."""

    queries: int
    before: float
    after: float
    interval: tuple[float, float]

    @property
    def gain(self) -> float:
        return self.after - self.before


def held_out(
    runs: Sequence[Judged], start: Numbers, free: Sequence[str], unseen: float | None, boosted: bool, seed: int
) -> HeldOut:
    """Fits without each run in turn and judges on it; one run alone in two halves, each of whole groups."""
    parts = whole(runs) if len(runs) > 1 else _halves(runs[0], seed)
    fitted = []
    for place, part in enumerate(parts):
        others = [other for at, other in enumerate(parts) if at != place]
        left_out = str(part.run.run) if len(runs) > 1 else f"half {place + 1}"
        fitted.append((left_out, fit(others, start, free, unseen, boosted)))
    before = [part.run.gains(start)[part.chosen] for part in parts]
    after = [part.run.gains(numbers)[part.chosen] for part, (_, numbers) in zip(parts, fitted, strict=True)]
    seen = [part.run.seen[part.chosen] for part in parts]
    return HeldOut(np.concatenate(seen), np.concatenate(before), np.concatenate(after), fitted)


def _halves(run: Judged, seed: int) -> list[Part]:
    """The queries of one group stay together, unless all are of one."""
    names = run.groups if len(set(run.groups)) > 1 else np.arange(len(run.groups)).astype(str)
    drawn = np.random.default_rng(seed).permutation(sorted(set(names)))
    sizes = {name: int((names == name).sum()) for name in drawn.tolist()}
    first: set[str] = set()
    taken = 0
    for name in sorted(drawn.tolist(), key=lambda name: -sizes[name]):  # stable: as drawn among those of one size
        if taken + sizes[name] <= len(names) / 2 or not first:
            first.add(name)
            taken += sizes[name]
    chosen = np.array([name in first for name in names])
    return [Part(run, chosen), Part(run, ~chosen)]
