"""Ray's part of `python -m tests.bench`: the same jobs on a cluster of one node of one core, then of two.

Each job generates a sample, on one core. Seconds are an idle machine's with two cores or more: what runs beside takes
the second node's core.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from tests.ray_nodes import Nodes
from training.jobs import runner
from training.jobs.job import Job
from training.jobs.ray_cluster import RayCluster
from training.jobs.runner import Board

Figures = Iterator[tuple[str, float, str]]
JOBS = 6
QUESTIONS = 4000  # some three seconds of a core


def ray_figures(folder: Path) -> Figures:
    """How long two nodes take of what one takes."""
    with Nodes() as nodes:
        nodes.add()
        one = timed(folder / "one", nodes.address)
        nodes.add()
        two = timed(folder / "two", nodes.address)
    yield "ray_one_node", one, "s"
    yield "ray_two_nodes_share", two / one, "ratio"


def timed(root: Path, address: str) -> float:
    """Seconds from the first job's beginning to the last one's end; connecting is none of it."""
    jobs = [job(root, number) for number in range(JOBS)]
    board = Board(jobs, root, RayCluster(address, root))
    runner.run(board)
    ends = [each.began + each.seconds for each in board.standings.values()]
    return max(ends) - min(each.began for each in board.standings.values())


def job(root: Path, number: int) -> Job:
    out = root / f"sample-{number}"
    size = ("--questions", str(QUESTIONS), "--test", "400")
    words = ("sample.generate", "--seed", str(number + 2), "--out", str(out), *size)
    return Job(f"sample-{number}", words, (), (out / "train.csv",))
