"""Which faults a run gets: one of each on each kind of stage, or on one, or as many as wanted at random."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from tests.faults.inject import ADAPTERS, HOW, Fault
from tests.faults.micro import STAGES, VLLM_STAGES
from tests.faults.roles import RUN

POOLED = STAGES[:-1]  # those with workers
HURT = 0.75  # of the stages of a run drawn at random
OF_STAGES: Sequence[tuple[str, Sequence[str], Sequence[str]]] = (
    # kind, what, the stages that have it; neighbours come into one run, so those that take time lie apart
    ("kill", ("papermill",), STAGES),
    ("stop", ("papermill",), STAGES),
    ("kill", ("kernel",), STAGES),
    ("raise", ("",), STAGES),
    ("kill", ("worker",), POOLED),
    ("stop", ("kernel",), STAGES),
    ("memory", ("",), STAGES),
    ("table", HOW, STAGES),
    ("card", ("",), POOLED),
    ("stop", ("worker",), POOLED),
    ("adapter", HOW, POOLED),
    ("nan", ("",), tuple(ADAPTERS)),
)
OF_RUNS: Sequence[tuple[str, Sequence[str]]] = (
    ("kill", ("conductor",)),
    ("stop", ("conductor",)),
    ("disk", ("",)),
    ("deadline", ("",)),
    ("raise", ("",)),
)
TESTED = ("kill", "deadline")  # of a whole run: tests/cascade/run/test_conductor.py has them
OF_VLLM: Sequence[tuple[str, Sequence[str]]] = (("kill", ("engine", "worker")), ("stop", ("engine",)))
EARLY = 0.1  # of a whole run's time: a run of fewer stages is under way then
KERNEL = ("wheel", HOW)


@dataclass(frozen=True)
class Case:
    """One run: its faults, the engine, and whether it is the scoring rerun. `kernel`: installs its environment.

    `of_map`: on MAP 2025's files, its stages in the times of the other competition's.
    """

    faults: tuple[Fault, ...]
    engine: str = "transformers"
    rerun: bool = False
    kernel: bool = False
    of_map: bool = False

    @property
    def stages(self) -> Sequence[str]:
        if self.kernel or self.of_map:
            return ("retrieve-r1", "ensemble")
        return VLLM_STAGES if self.engine == "vllm" else STAGES

    def __str__(self) -> str:
        return "; ".join(map(str, self.faults)) + (", rerun" if self.rerun else "")


def each(draw: random.Random, vllm: bool, few: bool = False) -> Iterator[Case]:
    """Every fault on every kind of stage: a run has another one on each of its stages.

    `few`: almost every fault on one kind of stage at least. A run's first faults are on those with workers, which take
    all. The kernel's faults and those of MAP 2025 are left to tests/cascade and to the whole suite.
    """
    for shift in range(0, len(OF_STAGES), len(POOLED) if few else 1):
        faults = []
        for number, stage in enumerate(STAGES):
            kind, what, stages = OF_STAGES[(shift + number) % len(OF_STAGES)]
            if stage in stages:
                faults.append(Fault(kind, stage, draw.choice(what), draw.random()))
        yield Case(tuple(faults), rerun=bool(shift % 2))
    for number, (kind, what) in enumerate(OF_RUNS):
        if few and kind in TESTED:
            continue
        yield Case((Fault(kind, RUN, draw.choice(what), draw.random()),), rerun=bool(number % 2))
    if not few:
        for number, how in enumerate(KERNEL[1]):
            yield Case((Fault(KERNEL[0], RUN, how),), rerun=bool(number % 2), kernel=True)
        yield Case((Fault("kill", RUN, "conductor", EARLY),), of_map=True)
    if vllm:
        for kind, what in OF_VLLM[:1] if few else OF_VLLM:
            yield Case((Fault(kind, "rerank-point", what[0], draw.random()),), "vllm")


def at_random(draw: random.Random, count: int, vllm: bool) -> Iterator[Case]:
    """Runs with `count` faults in all: one of the whole run, or on most of its stages one each, drawn anew for each."""
    weights = [12, 6, 1, 1 if vllm else 0]
    while count > 0:
        group = draw.choices([OF_STAGES, OF_RUNS, KERNEL, OF_VLLM], weights)[0]
        rerun = draw.random() < 0.5
        if group is OF_STAGES:
            faults = [_of(stage, draw) for stage in STAGES if draw.random() < HURT] or [_of(draw.choice(STAGES), draw)]
            case = Case(tuple(faults[:count]), rerun=rerun)
        elif group is KERNEL:
            fault = Fault(KERNEL[0], RUN, draw.choice(HOW))
            case = Case((fault,), rerun=rerun, kernel=True)
        else:
            kind, what = draw.choice(OF_RUNS if group is OF_RUNS else OF_VLLM)
            fault = Fault(kind, RUN if group is OF_RUNS else "rerank-point", draw.choice(what), draw.random())
            case = Case((fault,), "vllm" if group is OF_VLLM else "transformers", rerun)
        count -= len(case.faults)
        yield case


def _of(stage: str, draw: random.Random) -> Fault:
    kind, what, _ = draw.choice([each for each in OF_STAGES if stage in each[2]])
    return Fault(kind, stage, draw.choice(what), draw.random())
