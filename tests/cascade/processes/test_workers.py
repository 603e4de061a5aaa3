"""The pool of processes against real deaths: real processes, real signals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from tqdm import tqdm

from cascade.base.errors import CascadeError, ModelError, ScoreError, WorkerError
from cascade.base.runtime import ROOT
from cascade.processes.workers import ATTEMPTS, LIVES, DeviceSlot, Done, Pool, device_slots
from tests.processes import lives, wait_until_gone

TWO = [DeviceSlot(("cpu",)), DeviceSlot(("cpu",))]


# What the pool's processes run. Each must be importable where it is spawned.


def make_worker(place: DeviceSlot, folder: str) -> Callable[[Any], Any]:
    """Does what a task says; leaves its process id in `folder`, one file a process."""
    (Path(folder) / f"pid-{os.getpid()}").touch()

    def work(task: Any) -> Any:
        what, value = task
        if what == "double":
            return 2 * value
        if what == "sleep":
            time.sleep(value)
            return value
        if what == "refuse":
            raise ScoreError(f"{value} is no number")
        if what == "raise":
            raise RuntimeError(f"{value} is broken")
        if what == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if what in ("die once", "raise once"):
            marker = Path(folder) / "marker"
            if not marker.exists():
                marker.touch()
                if what == "raise once":
                    raise ValueError("not now")
                os.kill(os.getpid(), signal.SIGKILL)
            return value
        if what == "exit once":
            marker = Path(folder) / "marker"
            if not marker.exists():
                marker.touch()
                sys.exit(0)
            return value
        if what == "bar":
            return sum(tqdm(range(value)))
        if what == "child":
            child = subprocess.Popen(["sleep", "1000"], start_new_session=True)
            return child.pid
        if what == "environment":
            cores = sorted(os.sched_getaffinity(0))
            return os.getpid(), {name: os.environ.get(name) for name in value}, cores
        if what == "print":
            print(value)
            os.write(2, b"from below\n")
            return None
        if what == "unpicklable":
            return lambda: value
        return task

    return work


def refuse_to_load(place: DeviceSlot) -> Callable[[Any], Any]:
    raise ModelError("there is no model")


def crash_on_load(place: DeviceSlot, folder: str, how: str) -> Callable[[Any], Any]:
    (Path(folder) / f"start-{os.getpid()}").touch()
    if how == "raise":
        raise RuntimeError("out of memory")
    if how == "exit":
        os._exit(3)
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError


def crash_on_first_load(place: DeviceSlot, folder: str) -> Callable[[Any], Any]:
    try:
        (Path(folder) / "marker").touch(exist_ok=False)
    except FileExistsError:
        return make_worker(place, folder)
    raise RuntimeError("a hiccup")


def pool(tmp_path: Path, where: list[DeviceSlot] = TWO, said: list[str] | None = None, **more: Any) -> Pool:
    processes = tmp_path / "processes"
    processes.mkdir(exist_ok=True)
    say = (lambda line: None) if said is None else said.append
    settings: dict[str, Any] = {"make": make_worker, "arguments": (str(processes),), "say": say, **more}
    return Pool("stage", where, tmp_path / "logs", **settings)


def load_all(made: Pool) -> None:
    """Works until each process has loaded: which is ready first must not matter to what is tested."""
    while not all(worker.ready for worker in made.workers):
        list(made.run([("sleep", 0.05)] * 2))


def by_task(finished: list[Done[Any]]) -> dict[Any, Done[Any]]:
    found = {done.task: done for done in finished}
    assert len(found) == len(finished), "a task was done twice"
    return found


def processes_of(tmp_path: Path) -> list[int]:
    return [int(path.name.split("-")[1]) for path in (tmp_path / "processes").glob("pid-*")]


def cores_here() -> list[int]:
    return sorted(os.sched_getaffinity(0))


# Work that goes well.


def test_every_task_is_done_once_and_both_processes_work(tmp_path: Path) -> None:
    tasks = [("sleep", 0.4), ("sleep", 0.41), *(("double", n) for n in range(10))]
    with pool(tmp_path) as made:
        load_all(made)
        found = by_task(list(made.run(tasks)))
        assert made.load_seconds > 0
    assert {task: done.value for task, done in found.items()} == {
        task: task[1] if task[0] == "sleep" else 2 * task[1] for task in tasks
    }
    assert all(done.error is None for done in found.values())
    assert 0.4 <= found["sleep", 0.4].seconds < 5
    assert len(processes_of(tmp_path)) == 2


def test_a_pool_works_through_a_second_list_without_loading_again(tmp_path: Path) -> None:
    with pool(tmp_path, TWO[:1]) as made:
        assert list(made.run([])) == []
        assert processes_of(tmp_path) == []
        assert [done.value for done in made.run([("double", 1)])] == [2]
        assert [done.value for done in made.run([("double", 2), ("double", 3)])] == [4, 6]
    assert len(processes_of(tmp_path)) == 1


@pytest.mark.skipif(len(cores_here()) < 2, reason="one core cannot be shared out")
def test_a_process_has_its_cores_and_its_environment(tmp_path: Path) -> None:
    mine = device_slots(["cpu", "cpu"])
    names = ("OMP_NUM_THREADS", "MINE")
    tasks = [("environment", names), ("sleep", 0.5), ("environment", names)]
    with pool(tmp_path, mine, environment={"MINE": "1"}) as made:
        answers = [done.value for done in made.run(tasks) if done.task[0] == "environment"]
    for _, environment, cores in answers:
        assert tuple(cores) in {place.cores for place in mine}
        assert environment == {"OMP_NUM_THREADS": str(len(cores)), "MINE": "1"}
    assert "MINE" not in os.environ


def test_the_environment_of_the_config_goes_before_that_of_the_place(tmp_path: Path) -> None:
    with pool(tmp_path, [DeviceSlot(("cpu",), tuple(cores_here()))], environment={"OMP_NUM_THREADS": "7"}) as made:
        (done,) = made.run([("environment", ("OMP_NUM_THREADS",))])
    assert done.value[1] == {"OMP_NUM_THREADS": "7"}


def test_what_a_process_prints_is_in_its_log(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with pool(tmp_path, TWO[:1]) as made:
        list(made.run([("print", "said aloud"), ("refuse", 1), ("raise", "it")]))
    logged = "".join(path.read_text() for path in (tmp_path / "logs").glob("stage-*.log"))
    assert "said aloud" in logged and "from below" in logged
    assert "RuntimeError: it is broken" in logged
    shown = capfd.readouterr()
    assert "said aloud" not in shown.out and "from below" not in shown.err and "Traceback" not in shown.err


# Work that goes wrong.


def test_an_error_of_the_cascade_is_the_result_of_its_task_alone(tmp_path: Path) -> None:
    tasks = [("double", 1), ("refuse", "x"), ("double", 2), ("double", 3)]
    with pool(tmp_path, TWO[:1]) as made:
        found = by_task(list(made.run(tasks)))
    refused = found.pop(("refuse", "x"))
    assert isinstance(refused.error, ScoreError) and str(refused.error) == "x is no number"
    assert refused.value is None
    assert sorted(done.value for done in found.values()) == [2, 4, 6]
    assert len(processes_of(tmp_path)) == 1, "the process did not go on"


@pytest.mark.parametrize("where", [TWO[:1], TWO])
@pytest.mark.parametrize(
    ("what", "why"), [("die once", "exit code -9"), ("raise once", "ValueError: not now"), ("exit once", "SystemExit")]
)
def test_the_task_of_a_process_that_died_is_done_by_another(
    tmp_path: Path, where: list[DeviceSlot], what: str, why: str
) -> None:
    said: list[str] = []
    tasks = [(what, 0), *(("double", n) for n in range(1, 6))]
    with pool(tmp_path, where, said) as made:
        found = by_task(list(made.run(tasks)))
    assert {done.value for done in found.values()} == {0, 2, 4, 6, 8, 10}
    assert all(done.error is None for done in found.values())
    assert len(said) == 1 and why in said[0] and "restarted" in said[0]
    assert said == [f"stage: {loss}" for loss in made.losses]


@pytest.mark.parametrize("what", ["die", "raise", "unpicklable"])
def test_a_task_that_kills_every_process_is_given_up_while_the_others_finish(tmp_path: Path, what: str) -> None:
    tasks = [("double", 1), (what, "it"), *(("double", n) for n in range(2, 8))]
    with pool(tmp_path) as made:
        found = by_task(list(made.run(tasks)))
    lost = found.pop((what, "it"))
    assert isinstance(lost.error, WorkerError)
    assert f"stage: {ATTEMPTS} processes died while doing the same work" in str(lost.error)
    assert sorted(done.value for done in found.values()) == [2, 4, 6, 8, 10, 12, 14]
    assert 2 <= len(processes_of(tmp_path)) <= 4  # one that was begun anew may be ended before it has loaded


def test_on_one_device_too_a_task_that_kills_its_process_costs_no_other(tmp_path: Path) -> None:
    """The most frequent machine has one card: its two lives must not both go to one task."""
    tasks = [("die", "it"), ("double", 1), ("double", 2)]
    found: list[Done[Any]] = []
    with pool(tmp_path, TWO[:1]) as made:
        try:
            for done in made.run(tasks):
                found.append(done)
        except WorkerError as error:
            pytest.fail(f"{error}; done before: {[done.task for done in found]}")
    assert sorted(done.value for done in found if done.error is None) == [2, 4]


def test_a_pool_that_has_lost_all_its_processes_says_so(tmp_path: Path) -> None:
    tasks = [(f"die {n}", 0) for n in range(9)]
    with (
        pytest.raises(WorkerError, match=r"stage: no worker process is left \(.+\); read .*logs"),
        pool(tmp_path, make=die_at_every_task) as made,
    ):
        list(made.run(tasks))
    assert len(processes_of(tmp_path)) == LIVES * len(TWO)


def die_at_every_task(place: DeviceSlot, folder: str) -> Callable[[Any], Any]:
    make_worker(place, folder)
    return lambda task: os.kill(os.getpid(), signal.SIGKILL)


def test_an_error_of_the_cascade_while_loading_is_raised(tmp_path: Path) -> None:
    with (
        pytest.raises(ModelError, match="there is no model"),
        pool(tmp_path, make=refuse_to_load, arguments=()) as made,
    ):
        list(made.run([1, 2, 3]))


@pytest.mark.parametrize("how", ["raise", "exit", "kill"])
def test_processes_that_never_load_end_the_pool(tmp_path: Path, how: str) -> None:
    said: list[str] = []
    start = time.monotonic()
    with (
        pytest.raises(WorkerError, match="no worker process is left"),
        pool(tmp_path, said=said, make=crash_on_load, arguments=(str(tmp_path), how)) as made,
    ):
        list(made.run([1, 2, 3]))
    assert time.monotonic() - start < 20
    assert len(list(tmp_path.glob("start-*"))) == LIVES * len(TWO)
    assert len(said) == 4 and sum("given up" in line for line in said) == 2
    told = {"raise": "RuntimeError: out of memory", "exit": "exit code 3", "kill": "exit code -9"}[how]
    assert all(told in line for line in said)


def test_a_process_that_fails_to_load_once_is_started_again(tmp_path: Path) -> None:
    with pool(tmp_path, TWO[:1], make=crash_on_first_load) as made:
        assert [done.value for done in made.run([("double", 1)])] == [2]


# Stopping.


def test_no_task_is_begun_once_it_may_not_go_on(tmp_path: Path) -> None:
    finished: list[Done[Any]] = []
    with pool(tmp_path, TWO[:1]) as made:
        for done in made.run([("double", n) for n in range(10)], lambda: len(finished) < 3):
            finished.append(done)
    assert [done.value for done in finished] == [0, 2, 4]


def test_what_is_begun_when_it_may_not_go_on_is_finished(tmp_path: Path) -> None:
    finished: list[Done[Any]] = []
    with pool(tmp_path) as made:
        load_all(made)
        for done in made.run([("sleep", 0.1), ("sleep", 1.0), *[("double", 1)] * 5], lambda: not finished):
            finished.append(done)
    assert [done.task for done in finished] == [("sleep", 0.1), ("sleep", 1.0)]


def test_nothing_is_started_where_it_may_not_begin(tmp_path: Path) -> None:
    with pool(tmp_path) as made:
        assert list(made.run([("double", 1)], lambda: False)) == []
    assert processes_of(tmp_path) == []


def test_leaving_the_pool_ends_its_processes_and_their_children(tmp_path: Path) -> None:
    with pool(tmp_path, TWO[:1]) as made:
        (done,) = made.run([("child", 0)])
        child, mine = done.value, processes_of(tmp_path)
        assert lives(child) and all(map(lives, mine)) and len(mine) == 1
    wait_until_gone(child, *mine)


def test_leaving_the_pool_by_an_error_ends_a_process_that_is_at_work(tmp_path: Path) -> None:
    start = time.monotonic()
    with pytest.raises(KeyError), pool(tmp_path) as made:
        for _ in made.run([("double", 1), ("sleep", 1000)]):
            raise KeyError
    assert time.monotonic() - start < 20
    assert processes_of(tmp_path)
    wait_until_gone(*processes_of(tmp_path))


PARENT = """
import sys
from pathlib import Path

from tests.cascade.processes.test_workers import TWO, pool

if __name__ == "__main__":
    with pool(Path(sys.argv[1])) as made:
        for done in made.run([("double", 1), ("double", 2), ("sleep", 1000), ("sleep", 1001)]):
            print("done", flush=True)
"""


def test_a_killed_parent_leaves_no_process(tmp_path: Path) -> None:
    script = tmp_path / "parent.py"
    script.write_text(PARENT)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        assert [parent.stdout.readline() for _ in range(2)] == ["done\n"] * 2
        workers = processes_of(tmp_path)
        assert workers and all(map(lives, workers))
        parent.kill()
        parent.wait()
    wait_until_gone(*workers)


@pytest.mark.parametrize("error", [CascadeError, ScoreError, ModelError])
def test_an_error_comes_out_of_a_process_as_the_kind_it_is(error: type[CascadeError]) -> None:
    import pickle

    again = pickle.loads(pickle.dumps(error("what is wrong")))
    assert type(again) is error and str(again) == "what is wrong"


def test_a_process_that_showed_a_bar_leaves_nothing_to_warn_of(tmp_path: Path) -> None:
    """Its parent's shutdown would, of a semaphore that was never given back."""
    source = (
        "import sys\nfrom pathlib import Path\nfrom tests.cascade.processes import test_workers as tests\n"
        "if __name__ == '__main__':\n    with tests.pool(Path(sys.argv[1])) as pool:\n"
        "        print([each.value for each in pool.run([('bar', 4), ('bar', 3)])])\n"
    )
    script = tmp_path / "script.py"
    script.write_text(source, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, str(script), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=True)
    assert sorted(json.loads(done.stdout)) == [3, 6]
    assert "semaphore" not in done.stderr, done.stderr
