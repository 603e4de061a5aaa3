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
    """How long two nodes take of what one takes: one before and after, for what the machine does beside changes."""
    with Nodes() as nodes:
        nodes.add()
        timed(folder / "warm", nodes.address, 1)
        before = timed(folder / "before", nodes.address, JOBS)
        second = nodes.add()
        two = timed(folder / "two", nodes.address, JOBS)
        nodes.kill(second)
        after = timed(folder / "after", nodes.address, JOBS)
    yield "ray_one_node_before", before, "s"
    yield "ray_two_nodes", two, "s"
    yield "ray_one_node_after", after, "s"
    yield "ray_two_nodes_share", two / ((before + after) / 2), "ratio"


def timed(root: Path, address: str, count: int) -> float:
    """Seconds from the first job's beginning to the last one's end; connecting is none of it."""
    jobs = [job(root, number) for number in range(count)]
    board = Board(jobs, root, RayCluster(address, root))
    runner.run(board)
    ends = [each.began + each.seconds for each in board.standings.values()]
    return max(ends) - min(each.began for each in board.standings.values())


def job(root: Path, number: int) -> Job:
    out = root / f"sample-{number}"
    size = ("--questions", str(QUESTIONS), "--test", "400")
    words = ("sample.generate", "--seed", str(number + 2), "--out", str(out), *size)
    return Job(f"sample-{number}", words, (), (out / "train.csv",))
