"""Jobs on a real Ray cluster: what they leave is what they leave here, wherever they run and whatever dies."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from cascade.base.errors import StageError
from cascade.base.runtime import ROOT
from cascade.processes.workers import device_slots
from tests.ray_nodes import Nodes, free_port
from training.jobs import ray_cluster, runner
from training.jobs.executors import Executor, Processes
from training.jobs.job import Job
from training.jobs.ray_cluster import RayCluster
from training.jobs.runner import DONE, KEPT, Board


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """Two nodes of one core; the second does not see the folders of these tests."""
    with Nodes() as nodes:
        nodes.add()
        nodes.add(hidden=tmp_path_factory.getbasetemp())
        yield nodes


def join(folder: Path, name: str, *needs: str, seconds: float = 0.0) -> Job:
    """A job that joins given.txt and what it needs into a folder."""
    read = (folder / "given.txt", *(folder / "root" / need / "0.txt" for need in needs))
    out = folder / "root" / name
    return Job(name, ("tests.training.joins", str(out), str(seconds), *map(str, read)), read, (out,), "", needs)


def jobs(folder: Path, seconds: float) -> list[Job]:
    return [join(folder, "a", seconds=seconds), join(folder, "b", seconds=seconds), join(folder, "c", "a", "b")]


def run(folder: Path, executor: Executor, *made: Job) -> Board:
    board = Board(made, folder / "root", executor)
    runner.run(board)
    return board


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "given.txt").write_text("one")
    return tmp_path


def left(folder: Path) -> dict[str, str]:
    """Every job's record but for its time, and every file that it left."""
    records = {path.name: json.loads(path.read_text()) for path in (folder / "root" / "jobs").iterdir()}
    files = {path.name: path.read_text() for name in "abc" for path in (folder / "root" / name).iterdir()}
    return {name: json.dumps(record | {"seconds": 0}) for name, record in records.items()} | files


def logs(folder: Path) -> dict[str, str]:
    return {path.stem: path.read_text() for path in (folder / "root" / "logs").iterdir()}


def running(folder: Path) -> list[psutil.Process]:
    """The processes of jobs of these folders."""
    found = []
    for process in psutil.process_iter():
        try:
            line = process.cmdline()
        except psutil.Error:
            continue
        if "tests.training.joins" in line and any(str(folder) in word for word in line):
            found.append(process)
    return found


def test_what_jobs_leave_is_the_same_with_and_without_a_shared_folder(cluster: Nodes, folder: Path) -> None:
    made = jobs(folder, 2.0)
    run(folder, Processes(device_slots(["cpu"] * 2)), *made)
    here = left(folder)
    shutil.rmtree(folder / "root")
    board = run(folder, RayCluster(cluster.address, folder / "root"), *made)
    assert {each.state for each in board.standings.values()} == {DONE}
    assert left(folder) == here
    began = [board.standings[name].began for name in "ab"]
    assert max(began) - min(began) < 2, "both nodes work at a time"
    told = logs(folder)
    assert all("with 1 threads" in text for text in told.values())
    assert sum(f"in {ROOT} with" in told[name] for name in "ab") == 1 and "cascade-job-" in told["a"] + told["b"]
    kept = run(folder, Processes(device_slots(["cpu"])), *made)
    assert {each.state for each in kept.standings.values()} == {KEPT}, "the records are those of jobs that ran here"
    assert not (folder / "root" / "ray.mark").exists()


def test_an_address_that_does_not_answer(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray_cluster, "ANSWERS", 5.0)
    with pytest.raises(StageError) as error:
        run(folder, RayCluster(f"127.0.0.1:{free_port()}", folder / "root"), *jobs(folder, 0.0))
    assert error.value.key.startswith("--ray 127.0.0.1:") and "within 5 s" in error.value.what
    assert "ray start" in error.value.mend and not (folder / "root").exists()


def test_ctrl_c_ends_the_jobs(cluster: Nodes, folder: Path) -> None:
    script = folder / "run.py"
    script.write_text(
        "from pathlib import Path\nfrom tests.training.test_ray import RayCluster, jobs, run\n"
        f"folder = Path({str(folder)!r})\n"
        f"run(folder, RayCluster({cluster.address!r}, folder / 'root'), *jobs(folder, 100))\n"
    )
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    process = subprocess.Popen([sys.executable, script], cwd=ROOT, env=environment, stderr=subprocess.DEVNULL)
    until = time.monotonic() + 60
    while len(running(folder)) < 2 and time.monotonic() < until:
        time.sleep(0.1)
    assert len(running(folder)) >= 2
    process.send_signal(signal.SIGINT)
    assert process.wait(60) != 0
    until = time.monotonic() + 10
    while running(folder) and time.monotonic() < until:
        time.sleep(0.1)
    assert not running(folder)


def test_a_node_with_other_code_is_refused(
    cluster: Nodes, folder: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    for package in ("cascade", "training"):
        shutil.copytree(ROOT / package, other / package, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copytree(ROOT / "tests" / "training", other / "tests" / "training")
    (other / "training" / "lora.py").write_text("# older\n")
    node = cluster.add(environment={"PYTHONPATH": str(other)})
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.chdir(tmp_path)  # a node that shares the current folder would take the code from there
    try:
        with pytest.raises(StageError, match=r"node \S+ has another version of the code") as error:
            run(folder, RayCluster(cluster.address, folder / "root"), *(join(folder, n, seconds=5) for n in "abc"))
        assert "install this machine's version there" in error.value.mend
        assert not running(folder)
    finally:
        cluster.kill(node)


def test_a_node_that_dies_costs_its_job_a_restart(cluster: Nodes, folder: Path) -> None:
    """The last of these tests: it takes a node away."""
    killed: list[int] = []

    def kill() -> None:
        until = time.monotonic() + 60
        while not (found := running(folder)) and time.monotonic() < until:
            time.sleep(0.1)
        above = {process.pid for process in found[0].parents()}
        node = next(each for each in cluster.processes if each.pid in above)
        cluster.kill(node)
        killed.append(node.pid)

    thread = threading.Thread(target=kill)
    thread.start()
    board = run(folder, RayCluster(cluster.address, folder / "root"), join(folder, "a", seconds=4))
    thread.join()
    assert killed and board.standings["a"].state == DONE
    assert (folder / "root" / "a" / "0.txt").read_text() == "ONE"
    told = logs(folder)["a"]
    assert "was lost" in told and told.count("with 1 threads") >= 1
