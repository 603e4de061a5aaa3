"""Whole runs that have too little time, no time, no room, or company."""

from __future__ import annotations

import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import matplotlib
import pytest

from cascade.base import history, ledger
from cascade.base.runtime import ROOT
from cascade.report import figures
from cascade.report.page import pictures
from tests.eedi import rows_of
from tests.runs import Run

HANG = "import time\n\n(context.run / 'hanging').touch()\ntime.sleep(1000)"


def profile_of(folder: Path, load: float) -> str:
    """A profile by which the cross-encoder takes so many seconds to load, as a line of the config's [time]."""
    text = (ROOT / "profiles" / "cpu.toml").read_text()
    assert 'model = "gtallminilml6v2"\nload = 7.5\nprompt' in text
    path = folder / "profile.toml"
    path.write_text(text.replace("load = 7.5\nprompt", f"load = {load}\nprompt", 1))
    return f'profile = "{path}"'


def decisions(run: Run) -> dict[str, str]:
    found = [entry for entry in ledger.read(run.out) if entry["phase"] == ledger.BUDGET and "decision" in entry]
    return {entry["stage"]: entry["decision"] for entry in found}


LEAP = """
import time
begun, real = time.monotonic(), time.time
time.time = lambda: real() + (7200 if time.monotonic() - begun > 4 else 0)
"""


def test_an_optional_stage_is_dropped_without_a_failure(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Though the conductor's wall clock is put two hours on, past the deadline, in the middle of a stage."""
    (run.folder / "sitecustomize.py").write_text(LEAP)
    monkeypatch.setenv("PYTHONPATH", str(run.folder))
    run.ensemble_extra = f'[time]\noptional = ["ce"]\n{profile_of(run.folder, 1000)}'
    code, output = run.finish("--deadline", str(time.time() + 200))
    assert code == 0, output
    run.assert_valid()
    assert "rerank-ce: dropped" in output
    assert not (run.out / "ranking-ce.parquet").exists()
    assert decisions(run).keys() == {"rerank-ce"}
    assert decisions(run)["rerank-ce"].startswith("dropped, as it is optional: the stages to come need 10")
    said = f"budget: rerank-ce: {decisions(run)['rerank-ce']}"
    assert output.count(said) == 1, "as it is decided"
    assert rows_of(run.out / "submission.csv") != rows_of(run.out / "submission-zero.csv")
    costs = sum(e["end"] - e["start"] for e in ledger.read(run.out) if e["phase"] == ledger.BUDGET)
    assert 0 < costs < 5


def test_after_the_deadline_submission_zero_stands(run: Run) -> None:
    code, output = run.finish("--deadline", str(time.time() - 100))
    assert code == 1, output
    run.assert_valid()
    assert rows_of(run.out / "submission.csv") == rows_of(run.out / "submission-zero.csv")
    assert output.splitlines()[-1].endswith("s ago: no stage is run, and submission zero is kept")
    assert [entry["stage"] for entry in ledger.read(run.out)] == ["zero"]


def test_a_second_run_in_the_folder_is_refused_until_the_first_is_gone(run: Run) -> None:
    run.inject("retrieve.ipynb", HANG, before_work=True)
    first = run.start()
    give_up = time.monotonic() + 60
    while not (run.out / "hanging").exists() and time.monotonic() < give_up:
        time.sleep(0.1)
    before = {path: path.stat().st_mtime_ns for path in run.out.rglob("*") if path.is_file() and path.suffix != ".log"}
    code, output = run.finish()
    assert code == 2, output
    assert output == f"error: {run.out}: another run uses this folder; wait for it, or pass another --out\n"
    assert {path: path.stat().st_mtime_ns for path in before} == before, "the first one's files are untouched"
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    code, output = run.finish("--deadline", str(time.time() - 1))
    assert code == 1 and "no stage is run" in output


@pytest.mark.parametrize("trouble", ["a file is in the way", "the disk is full"])
def test_a_folder_that_cannot_be_written_to_is_one_error_before_anything(run: Run, trouble: str) -> None:
    config = run.write_config()
    out, limit = run.folder / "out", resource.RLIM_INFINITY
    if trouble == "the disk is full":
        limit = 100  # bytes a file may have: what is written beyond fails, as on a full disk
    else:
        out = config / "out"
    command = [
        sys.executable, "-B", "-m", "cascade", "run", "--config", str(config), "--data",
        str(run.folder / "data"), "--out", str(out), "--notebooks", str(run.folder / "notebooks"),
    ]  # fmt: skip
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False, env=dict(os.environ),
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )  # fmt: skip
    assert done.returncode == 2, done.stdout + done.stderr
    assert done.stdout == "" and done.stderr.count("\n") == 1
    assert "cannot be written to" in done.stderr and "pass --out with a folder that can" in done.stderr
    assert not (out / "submission.csv").exists()


def test_the_time_picture_shows_every_decision(tmp_path: Path) -> None:
    """A stage may have many, and none of them begins another attempt of it."""
    for at, text in ((10, "given 40 of the 80 s"), (20, "9 of 25 candidates"), (25, "12 of 25 candidates")):
        ledger.record(tmp_path, "rerank-a", ledger.BUDGET, at, at, decision=text)
    ledger.record(tmp_path, "rerank-a", "load", 11, 15)
    ledger.record(tmp_path, "rerank-a", "score", 15, 40)
    ledger.record(tmp_path, "rerank-a", ledger.STAGE, 10, 45, status=ledger.OK)
    ledger.record(tmp_path, "rerank-b", ledger.BUDGET, 45, 45, decision="dropped, as it is optional")
    attempts = history.read(tmp_path)
    assert [len(attempt.cuts) for attempt in attempts.values()] == [3, 1]
    assert [e["phase"] for e in attempts["rerank-a"].phases] == ["load", "score"]
    axes = figures.times(tmp_path).axes[0]
    marks = [one for one in axes.get_lines() if isinstance(one, matplotlib.lines.Line2D) and one.get_marker() == "v"]
    assert [list(one.get_xdata()) for one in marks] == [[0, 10, 15], [35]]
    told = [text.get_text() for text in axes.texts]
    assert any("▼ 12 of 25 candidates" in text for text in told)
    assert any("▼ dropped, as it is optional" in text for text in told)
    shown = pictures.times(tmp_path, None)
    assert shown is not None
    assert [text for _, text in shown["notes"]] == [
        "given 40 of the 80 s", "9 of 25 candidates", "12 of 25 candidates", "dropped, as it is optional",
    ]  # fmt: skip
