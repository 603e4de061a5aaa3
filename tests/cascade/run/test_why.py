"""Why a stage failed, by real failures: a library that is not there, processes that are killed, a notebook's error."""

from __future__ import annotations

import json

from cascade.base import folder, history
from tests.cascade.run.test_conductor import KILL_WORKER, OFF
from tests.runs import Run

NO_LIBRARY = "import ctypes\n\nctypes.CDLL('libcudart.so.99')"
CRASH = "import ctypes, os\n\nos.kill(os.getpid(), 9)"


def test_the_root_cause_is_printed_and_kept_with_its_fix(run: Run) -> None:
    run.inject("retrieve.ipynb", NO_LIBRARY, before_work=True)
    run.inject("rerank.ipynb", KILL_WORKER.replace("return child.kill()", "child.kill()"), before_work=True)
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
    assert third["failure"].partition(" (")[0].endswith("contains no table of ce, r1 to combine")
    assert (third["cause"], third["mend"]) == (None, "run retrieve.ipynb first")
    assert told["retrieve-r1"].keys() == {"stage", "failure", "used", "cause", "error", "where", "process", "mend"}
    attempts = history.read(run.out)
    assert attempts["retrieve-r1"].told == f"{first['failure']}; fix: {fix}" and attempts["zero"].told is None


def test_an_earlier_runs_deaths_are_not_a_later_ones_cause(run: Run) -> None:
    """The workers' logs are written on by the next run in the folder."""
    run.inject("rerank.ipynb", KILL_WORKER.replace("return child.kill()", "child.kill()"), before_work=True)
    run.finish()
    log = run.out / "logs" / "rerank-ce-0.log"
    assert "# the process on cpu died at " in log.read_text() and "(exit code -9)" in log.read_text()
    before = log.read_text()
    notebook = run.folder / "notebooks" / "rerank.ipynb"
    notebook.write_text(notebook.read_text().replace("child.kill()", "exec('1/0')"))
    run.inject("rerank.ipynb", "raise LookupError('no such thing')", before_work=True)
    _, output = run.finish("--resume")
    assert log.read_text() == before or log.read_text().startswith(before)
    assert "rerank-ce failed (LookupError: no such thing (notebook cell " in output


def test_a_kernel_that_dies_without_a_word_is_told(run: Run) -> None:
    run.pipeline_extra = OFF
    run.inject("retrieve.ipynb", CRASH, before_work=True)
    _, output = run.finish()
    assert "the notebook's kernel died without a word" in output and "; fix: lower batch_size or chunk" in output
