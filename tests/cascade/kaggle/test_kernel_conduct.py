"""The conductor as the kernel sees it: a process that may say anything, stop, and never end."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from cascade.competitions.eedi import EEDI
from cascade.kaggle import kernel
from tests.processes import wait_until_gone


def conducted(tmp_path: Path, script: str, time_: str = "", practice: int = 0) -> int:
    """The exit code, with a shell script in place of the environment's Python."""
    python, config = tmp_path / "python", tmp_path / "config.toml"
    python.write_text("#!/bin/sh\n" + script)
    python.chmod(0o755)
    config.write_text(f"[time]\n{time_}")
    made = kernel.Kernel(config, tmp_path, tmp_path, tmp_path, EEDI, practice, python)
    code = kernel.conduct(made, time.time())
    (tmp_path / "failures").write_text("\n".join(made.failures))
    return code


def test_a_conductor_that_is_stopped_is_ended_after_its_deadline_with_all_that_it_started(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    script = f"echo begun\nsleep 1000 &\necho $$ $! > {tmp_path}/started\nkill -STOP $$\n"
    assert conducted(tmp_path, script, 'limit = "3s"\nreserve = "2s"\n') == 1
    said = capsys.readouterr().out
    assert "begun" in said and "long past its deadline" in said
    wait_until_gone(*map(int, (tmp_path / "started").read_text().split()))


def test_a_conductor_that_ends_is_not_waited_for_longer_where_a_child_keeps_its_output_open(tmp_path: Path) -> None:
    script = f"sleep 1000 &\necho $! > {tmp_path}/started\nexit 3\n"
    assert conducted(tmp_path, script) == 3
    os.kill(int((tmp_path / "started").read_text()), signal.SIGKILL)


def test_a_practice_that_hangs_is_ended_earlier(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel.durations, "PRACTICE", 0.5)
    assert conducted(tmp_path, "kill -STOP $$\n", 'reserve = "1s"\n', practice=1) == 1


@pytest.mark.parametrize("time_", ['limit = "soon"', "limit = 3", "limit"], ids=["no duration", "a number", "no TOML"])
def test_a_config_that_is_refused_is_the_conductors_to_refuse(tmp_path: Path, time_: str) -> None:
    assert conducted(tmp_path, "exit 2\n", time_) == 2


def test_bytes_that_are_no_text_are_shown_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert conducted(tmp_path, "printf 'caf\\351\\n'; printf 'no end'; exit 3") == 3
    assert capsys.readouterr().out == "caf\ufffd\nno end"


STAGES = [
    {"stage": "rerank-p1", "failure": "no", "used": False, "mend": "say yes"},
    {"stage": "r1", "failure": None, "used": True, "mend": None},
]


@pytest.mark.parametrize(
    ("code", "result", "failures"),
    [
        (1, {"stages": STAGES, "problems": ["submission.csv is NOT valid"]},
         "rerank-p1 failed (no); fix: say yes\nsubmission.csv is NOT valid"),
        (0, {"stages": STAGES, "problems": []}, ""),
        (1, {"stages": "spoiled"}, ""),
    ],
)  # fmt: skip
def test_what_failed_is_in_the_error_that_a_commit_run_ends_with(
    tmp_path: Path, code: int, result: dict[str, Any], failures: str
) -> None:
    (tmp_path / "made.json").write_text(json.dumps(result))
    script = f"echo 'rerank-p1 failed (as it says)'\ncp {tmp_path}/made.json {tmp_path}/result.json\nexit {code}\n"
    assert conducted(tmp_path, script) == code
    assert (tmp_path / "failures").read_text() == failures


def test_a_conductor_that_is_killed_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """In the rerun nothing is raised, so that the log is all there is."""
    assert conducted(tmp_path, "kill -KILL $$\n") == -signal.SIGKILL
    said = "the conductor was killed by SIGKILL; submission.csv stays as it was last written\n"
    assert capsys.readouterr().out == said
