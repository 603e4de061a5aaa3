"""Why a stage failed, by real failures: a library that is not there, processes that are killed, a notebook's error."""

from __future__ import annotations

import json
from pathlib import Path

from cascade.base import folder, history
from cascade.run import outcome
from cascade.run.outcome import Result
from cascade.stages.schedule import Stage
from tests.cascade.run.test_conductor import KILL_WORKER
from tests.runs import Run

NO_LIBRARY = "import ctypes\n\nctypes.CDLL('libcudart.so.99')"
CRASH = "import os\n\nos.kill(os.getpid(), 9)"


def test_the_root_cause_is_printed_and_kept_with_its_fix(run: Run) -> None:
    run.inject("retrieve.ipynb", NO_LIBRARY, before_work=True)
    run.inject("rerank.ipynb", KILL_WORKER.replace("return child.kill()", "child.kill()"), before_work=True)
    run.inject("ensemble.ipynb", CRASH, before_work=True)
    code, output = run.finish()
    assert code == 1, output
    run.assert_valid()
    missing = "the shared library libcudart.so.99 is missing (ctypes/__init__.py:"
    fix = "lock nvidia-cuda-runtime for the CUDA of torch: make wheels, make verify"
    last = output.rpartition("✗ ensemble")[2]
    assert f"retrieve-r1 failed ({missing}" in last and f"); fix: {fix}; cost: " in last
    assert "rerank-ce failed (" in last
    failed = {line.split()[1]: line for line in output.splitlines() if line.startswith("✗")}
    assert missing in failed["retrieve-r1"] and f"; fix: {fix}" in failed["retrieve-r1"]
    told = {each["stage"]: each for each in json.loads((run.out / folder.RESULT).read_text())["stages"]}
    first, third = (told[name] for name in ("retrieve-r1", "ensemble"))
    assert first["cause"] == "shared-library" and first["mend"] == fix and first["where"].startswith("ctypes/__init__")
    assert first["error"].startswith("OSError: libcudart.so.99: cannot open shared object file")
    assert third["cause"] == "kernel-died" and third["failure"].startswith("the notebook's kernel died without a word")
    assert told["retrieve-r1"].keys() == {"stage", "failure", "used", "cause", "error", "where", "process", "mend"}
    attempts = history.read(run.out)
    assert attempts["retrieve-r1"].told == f"{first['failure']}; fix: {fix}" and attempts["zero"].told is None


def test_an_earlier_runs_deaths_are_not_a_later_ones_cause(tmp_path: Path) -> None:
    """The workers' logs are written on by the next run in the folder."""
    own, worker = tmp_path / "rerank-p1.log", tmp_path / "rerank-p1-0.log"
    worker.write_text("# the process on cpu died at 5.000 (exit code -9)\n")
    (tmp_path / "conductor.log").write_text("# the process on cpu died at 4.000 (exit code -7)\n")
    before = outcome.worker_logs(tmp_path, own)
    assert before == {worker: worker.stat().st_size}
    own.write_text("Traceback (most recent call last):\nnbclient.exceptions.CellTimeoutError: odd\n")
    stage = Stage("rerank-p1", "p1", "rerank.ipynb", tmp_path / "p1.parquet")
    result = Result(stage, "exit code 1 (4 of 9 queries)")
    outcome.explain(result, 1, own, before)
    assert result.told == "CellTimeoutError: odd (4 of 9 queries)"
    limited = Result(stage, "ended at its limit of 5 s")
    outcome.explain(limited, None, own, before)
    assert limited.told == "ended at its limit of 5 s"
    worker.write_text(worker.read_text() + "# the process on cpu died at 9.000 (exit code -9)\n")
    outcome.explain(limited, None, own, before)
    assert limited.told == (
        "ended at its limit of 5 s: the machine's memory is full: a process was killed (cpu); "
        "fix: lower batch_size or chunk, use fewer devices, or a smaller model"
    )
    killed = Result(stage, "killed by SIGKILL")
    outcome.explain(killed, -9, own, before)
    assert killed.told == "killed by SIGKILL: CellTimeoutError: odd"
    fine = Result(stage)
    outcome.explain(fine, 0, own, before)
    assert (fine.told, fine.cause) == (None, None)
