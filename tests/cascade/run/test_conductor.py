"""The conductor against real faults: real notebooks, real papermill, real kernels, real signals.

Those that a stage meets from outside, or that it raises, are the fault suite's (`make faults`).
"""

from __future__ import annotations

import math
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from cascade.base import folder, ledger
from cascade.base.errors import StageError
from cascade.base.runtime import ROOT
from cascade.rankings import tables
from cascade.run import conductor, parameters
from tests.eedi import rows_of
from tests.refusals import refused
from tests.runs import Run, small_run

# A stage that hangs, and a child of it that has left for a session of its own.
HANG = (
    "import subprocess, time\n\nsubprocess.Popen(['sleep', '1000'], start_new_session=True)\n"
    "(context.run / 'hanging').touch()\ntime.sleep(1000)"
)
EXIT_EARLY = "import sys\n\nsys.exit(0)"
CORRUPT = (
    "for path in context.run.glob('*.parquet'):\n    path.write_bytes(path.read_bytes()[:100])\n"
    "for path in context.run.glob('submission*.csv'):\n    path.write_text('not,a submission')\n"
    "for path in context.run.glob('*.parts/*.parquet'):\n    path.write_bytes(b'')"
)


OFF = "enabled = false"  # the cross-encoder, half of a run's work, where nothing looks at it


@pytest.mark.parametrize("deadline", [math.nan, math.inf, -5.0, 1e30])
def test_a_deadline_that_is_no_moment_is_refused(tmp_path: Path, deadline: float) -> None:
    with refused(StageError, "is not a Unix time", key="--deadline", mend="pass seconds since 1970"):
        conductor.conduct(
            ROOT / "configs" / "sample.toml", ROOT / "sample", tmp_path / "out", ROOT / "notebooks", deadline
        )
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Run, str]]:
    """A run without faults, and its output."""
    run = small_run(tmp_path_factory.mktemp("whole"))
    code, output = run.finish()
    assert code == 0, output
    yield run, output
    for process in run.survivors():
        process.kill()


@pytest.fixture
def done(whole: tuple[Run, str], run: Run) -> Run:
    """The same run in a folder of its own, to go on from."""
    shutil.copytree(whole[0].out, run.out)
    return run


def test_a_run_without_faults_is_resumed_without_repeating_anything(whole: tuple[Run, str], done: Run) -> None:
    run, output = whole
    run.assert_valid()
    assert run.survivors() == []
    assert "is valid after" in output
    entries = [entry for entry in ledger.read(run.out) if entry["phase"] == ledger.STAGE]
    assert [entry["stage"] for entry in entries] == ["zero", "retrieve-r1", "rerank-ce", "ensemble"]
    assert all(entry["status"] == "ok" for entry in entries)
    assert all(entry["peak_memory_mb"] > 50 for entry in entries[1:])
    assert all(entry["free_disk_gb"][str(run.out)] > 0 for entry in entries[1:])
    fused = tables.read(run.out / "ranking-ensemble.parquet")
    rows = rows_of(run.out / "submission.csv")
    for query, ranking in fused.groupby("query_id"):
        assert rows[str(query)] == ranking["label_id"].tolist()[:25]
    assert rows != rows_of(run.out / "submission-zero.csv")
    run = done
    # As a stop leaves it: the reranker's table missing, one of its chunks too.
    (run.out / "ranking-ce.parquet").unlink()
    sorted((run.out / "ranking-ce.parts").glob("*.parquet"))[1].unlink()
    code, output = run.finish("--resume")
    assert code == 0, output
    assert "retrieve-r1: kept" in output
    entries = [entry for entry in ledger.read(run.out) if entry["phase"] == "score"]
    assert [entry["queries"] for entry in entries] == [9, 2]
    assert rows_of(run.out / "submission.csv") == rows


@pytest.mark.parametrize("stage", ["retrieve-r1", "rerank-ce", "ensemble"])
def test_a_stage_that_exits_early_fails_and_costs_only_itself(run: Run, stage: str) -> None:
    run.inject(f"{stage.split('-')[0]}.ipynb", EXIT_EARLY, before_work=True)
    code, output = run.finish()
    assert code == 1, output
    run.assert_valid()
    assert run.survivors() == []
    assert f"{stage} failed" in output and "cost:" in output
    # What reads a retrieval that is not there reads submission zero instead.
    assert not any(f"{name} failed" in output for name in {"retrieve-r1", "rerank-ce", "ensemble"} - {stage})
    assert rows_of(run.out / "submission.csv") != rows_of(run.out / "submission-zero.csv")


@pytest.mark.parametrize("stage", ["retrieve-r1", "rerank-ce", "ensemble"])
def test_a_stage_that_corrupts_tables_and_the_submission(run: Run, stage: str) -> None:
    run.inject(f"{stage.split('-')[0]}.ipynb", CORRUPT, before_work=False)
    code, output = run.finish()
    assert code == 1, output
    run.assert_valid()
    assert run.survivors() == []
    assert f"{stage} failed" in output


def test_a_stage_that_hangs_is_ended_at_its_limit_with_a_child_that_has_left_it(run: Run) -> None:
    run.retrieval_extra, run.pipeline_extra = 'limit = "25s"', OFF
    run.inject("retrieve.ipynb", HANG, before_work=True)
    code, output = run.finish()
    assert code == 1, output
    assert (run.out / "hanging").exists()
    run.assert_valid()
    assert run.survivors() == []
    assert "retrieve-r1 failed (ended at its limit of 25 s" in output


def test_a_table_that_is_lost_after_its_stage_is_told_though_every_stage_succeeded(run: Run) -> None:
    run.inject("rerank.ipynb", "context.config.table_path('r1', context.run).unlink()", before_work=False)
    code, output = run.finish()
    assert code == 1, output
    run.assert_valid()
    assert "retrieve-r1 failed (its table was damaged after it was made)" in output
    assert "rerank-ce failed" not in output and "ensemble failed" not in output


KILL_WORKER = """
import threading, time

import psutil


def kill():
    while True:
        for child in psutil.Process().children():
            if "--multiprocessing-fork" in child.cmdline():
                return child.kill()
        time.sleep(0.02)


threading.Thread(target=kill, daemon=True).start()
"""


def test_a_model_process_that_died_is_told_though_another_has_done_its_work(run: Run) -> None:
    run.inject("rerank.ipynb", KILL_WORKER, before_work=True)
    warned = (
        "from cascade.base import ledger\nledger.record(context.run, 'rerank-ce', 'note', 1, 2, warnings=['it said A'])"
    )
    run.inject("rerank.ipynb", warned.replace("1, 2", "*[__import__('time').time()] * 2"), before_work=False)
    code, output = run.finish()
    assert code == 0, output
    last = output.rpartition("✓ ensemble")[2]
    assert "warning: rerank-ce: it said A" in last
    assert "rerank-ce: the process on cpu died (exit code -9); its work continues elsewhere; restarted" in last


FOREIGN = (
    "import pandas as pd\n\npath = context.config.table_path('{table}', context.run)\n"
    "table = pd.read_parquet(path)\n{change}\ntable.to_parquet(path, index=False)"
)
CHANGES = {
    "label_id": "table.loc[0, 'label_id'] = 999999",
    "query_id": "table['query_id'] = table['query_id'].replace(table['query_id'][0], '999_A')",
}


def test_a_table_of_other_data_is_refused(run: Run) -> None:
    for name, column in (("r1", "label_id"), ("ce", "query_id")):
        notebook = "retrieve.ipynb" if name == "r1" else "rerank.ipynb"
        run.inject(notebook, FOREIGN.format(table=name, change=CHANGES[column]), before_work=False)
    code, output = run.finish()
    assert code == 1, output
    run.assert_valid()
    for stage, column in (("retrieve-r1", "label_id"), ("rerank-ce", "query_id")):
        assert f"{stage} failed" in output and f"{column} 999" in output


def test_a_table_that_lacks_queries_counts_but_is_told(run: Run) -> None:
    shorten = (
        "from cascade.rankings import tables\n\npath = context.config.table_path('r1', context.run)\n"
        "tables.write(tables.read(path).head(25), path)"
    )
    run.pipeline_extra = OFF
    run.inject("retrieve.ipynb", shorten, before_work=False)
    code, output = run.finish()
    assert code == 1, output
    run.assert_valid()
    assert "retrieve-r1 failed (stopped before its end (1 of 9 queries))" in output


def test_a_reranker_stops_by_itself_before_its_deadline(run: Run) -> None:
    slow = (
        "import dataclasses\nfrom cascade.processes.workers import Pool\n\n"
        "whole = Pool.run\n\n\n"
        "def slowly(self, *arguments):\n"
        "    for chunk in whole(self, *arguments):\n"
        "        yield dataclasses.replace(chunk, seconds=100.0)\n\n\n"
        "Pool.run = slowly"
    )
    run.pipeline_extra = 'limit = "60s"'
    run.inject("rerank.ipynb", slow, before_work=True)
    code, output = run.finish()
    assert code == 1, output
    run.assert_valid()
    assert "rerank-ce failed (deadline: stopped after " in output
    decisions = [entry["decision"] for entry in ledger.read(run.out) if "decision" in entry]
    assert len(decisions) == 1
    assert decisions[0].startswith("deadline: stopped after ")


def test_a_killed_reranker_keeps_its_finished_chunks(run: Run) -> None:
    slow = (
        "import os, signal\nfrom cascade.processes.workers import Pool\n\n"
        "whole = Pool.run\n\n\n"
        "def two_chunks(self, *arguments):\n"
        "    for number, chunk in enumerate(whole(self, *arguments)):\n"
        "        if number == 2:\n            os.kill(os.getpid(), signal.SIGKILL)\n"
        "        yield chunk\n\n\n"
        "Pool.run = two_chunks"
    )
    run.inject("rerank.ipynb", slow, before_work=True)
    code, output = run.finish()
    assert code == 1, output
    assert "rerank-ce failed" in output and "(4 of 9 queries)" in output
    assert tables.read(run.out / "ranking-ce.parquet")["query_id"].nunique() == 4
    run.assert_valid()


def test_the_deadline_ends_the_run(run: Run) -> None:
    run.inject("retrieve.ipynb", HANG, before_work=True)
    deadline = time.time() + 20
    code, output = run.finish("--deadline", str(deadline))
    assert code == 1, output
    assert time.time() < deadline + 10
    run.assert_valid()
    assert run.survivors() == []
    assert "rerank-ce failed (skipped: " in output


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_an_ended_conductor_leaves_no_process_and_a_valid_submission(run: Run, sent: signal.Signals) -> None:
    run.inject("retrieve.ipynb", "import time\n\n(context.run / 'hanging').touch()\ntime.sleep(1000)", before_work=True)
    process = run.start()
    give_up = time.monotonic() + 60
    while not (run.out / "hanging").exists() and time.monotonic() < give_up:
        time.sleep(0.1)
    process.send_signal(sent)
    output, _ = process.communicate(timeout=60)
    assert process.returncode != 0
    if sent == signal.SIGINT:
        assert process.returncode == 130
        assert "submission.csv is valid (submission zero); continue with: " in output.splitlines()[-1]
    give_up = time.monotonic() + 30
    while run.survivors() and time.monotonic() < give_up:
        time.sleep(0.2)
    assert run.survivors() == []
    run.assert_valid()


def test_bad_data_stops_the_run_before_anything_is_written(run: Run) -> None:
    (run.folder / "data" / "misconception_mapping.csv").write_text("MisconceptionId,MisconceptionName\n1,a\n")
    code, output = run.finish()
    assert code == 2
    assert output.startswith("error: ") and output.count("\n") == 1 and "misconception_mapping.csv" in output
    assert not run.out.exists()


GIVEN = {"config": "c", "data": "d", "run": "r", "deadline": 0.0, "retrieval": "r1"}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"retreival": "r1"}, "did you mean 'retrieval'"),
        ({"retrieval": None}, "has no value"),
        ({"deadline": "soon"}, "declared as float, but given as str"),
        ({"retrieval": 7}, "declared as str, but given as int"),
    ],
)
def test_parameters_that_do_not_fit_are_refused(change: dict[str, object], message: str) -> None:
    given = {name: value for name, value in (GIVEN | change).items() if value is not None}
    with pytest.raises(StageError, match=message):
        parameters.check_parameters(ROOT / "notebooks" / "retrieve.ipynb", given)
    parameters.check_parameters(ROOT / "notebooks" / "retrieve.ipynb", GIVEN)


def test_a_resumed_run_repeats_what_was_made_from_something_else(done: Run) -> None:
    run = done
    run.ensemble_extra = "limit = '5m'"
    run.pipeline_extra = "batch_size = 3"
    (run.out / "notes.txt").write_text("mine")
    code, output = run.finish("--resume")
    assert code == 0, output
    assert "retrieve-r1: kept" in output and "rerank-ce: kept" not in output
    assert "rerank-ce: run again: batch_size changed: 64 → 3" in output
    run.assert_valid()
    record = folder.read(run.out)
    assert record is not None and record["data"] == str(run.folder / "data")
    # A run without --resume keeps this one's tables, and what a person put there stays.
    before = {path.name: path.read_bytes() for path in run.out.glob("*.*") if path.suffix in (".parquet", ".csv")}
    code, output = run.finish("--deadline", str(time.time() - 1))
    assert code == 1, output
    assert not (run.out / "candidates-r1.parquet").exists() and (run.out / "notes.txt").exists()
    assert {name: (run.out / "previous" / name).read_bytes() for name in before} == before


def test_there_must_be_a_run_to_resume(run: Run) -> None:
    code, output = run.finish("--resume")
    assert code == 2 and "there is no run to resume" in output
    assert not (run.out / "submission.csv").exists()
