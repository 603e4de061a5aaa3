"""The first worker that died, by the pool's own record of real deaths."""

from __future__ import annotations

import ctypes
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from cascade.base.errors import WorkerError
from cascade.causes import find
from cascade.processes.workers import DeviceSlot, Pool


def die(place: DeviceSlot, first: str, how: str) -> Callable[[Any], Any]:
    """Loads a model that is not there: on the device `first` at once, elsewhere later and in another way."""
    if place.name != first:
        time.sleep(2)
        raise ConnectionError("the other rank is gone")
    if how == "raise":
        raise OSError("m does not appear to have a file named config.json")
    if how == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if how == "crash":
        ctypes.string_at(0)
    raise SystemExit(3)


@pytest.mark.parametrize(
    ("how", "name", "error", "where"),
    [
        ("raise", "model-file", "OSError: m does not appear to have a file named config.json", "test_deaths.py:"),
        ("kill", "killed", "killed: the process was ended by SIGKILL", ""),
        ("crash", "segfault", "Fatal Python error: Segmentation fault", "ctypes/__init__.py:"),
        ("exit", "", "SystemExit: 3", "test_deaths.py:"),
    ],
)
def test_the_first_that_died_is_the_cause(tmp_path: Path, how: str, name: str, error: str, where: str) -> None:
    slots = [DeviceSlot(("cpu:a",)), DeviceSlot(("cpu:b",))]
    with pytest.raises(WorkerError), Pool("p", slots, tmp_path, die, ("cpu:b", how)) as pool:
        list(pool.run([1, 2, 3]))
    cause = find.of_workers(dict.fromkeys(tmp_path.glob("*.log"), 0))
    assert cause is not None
    if how == "exit":  # somebody asked for it, so what another says goes first
        assert cause.error == "ConnectionError: the other rank is gone" and cause.process == "cpu:a"
        return
    assert (cause.name, cause.error, cause.process) == (name, error, "cpu:b")
    assert where in cause.where and bool(where) == bool(cause.where)
    size = {path: path.stat().st_size for path in tmp_path.glob("*.log")}
    assert find.of_workers(size) is None, "what stood there before is of another stage"


def test_a_stage_that_tells_of_its_workers_is_explained_by_them(tmp_path: Path) -> None:
    stage, worker = tmp_path / "rerank-p1.log", tmp_path / "rerank-p1-0.log"
    stage.write_text(
        "Traceback (most recent call last):\ncascade.base.errors.WorkerError: p1: no worker process is left"
    )
    worker.write_text("Traceback (most recent call last):\nRuntimeError: NCCL error: unhandled\n"
                      "# the process on cuda:0+cuda:1 died at 5.000 (RuntimeError: NCCL error)\n")  # fmt: skip
    cause = find.of_stage(stage, {worker: 0})
    assert cause is not None and (cause.name, cause.process) == ("nccl", "cuda:0+cuda:1")
    none = find.of_stage(stage, {})
    assert none is not None and none.what == "p1: no worker process is left"
