from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

from cascade.base import clock
from cascade.base.runtime import ROOT


@pytest.mark.parametrize("leap", [-7200, 7200])
def test_the_clock_does_not_follow_the_wall_clock(leap: float, monkeypatch: pytest.MonkeyPatch) -> None:
    before, wall = clock.now(), time.time()
    assert before == pytest.approx(wall, abs=60)
    monkeypatch.setattr(time, "time", lambda: wall + leap)
    assert before <= clock.now() < before + 10


def test_processes_below_have_the_same_clock(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(clock.VARIABLE, repr(float(os.environ[clock.VARIABLE]) - 5000))  # as after a leap
    command = [sys.executable, "-c", "from cascade.base import clock; print(clock.now())"]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    assert float(printed) == pytest.approx(clock.now() - 5000, abs=30)


def test_only_the_clock_reads_the_wall_clock() -> None:
    readers = [path.name for path in (ROOT / "cascade").rglob("*.py") if "time.time()" in path.read_text()]
    assert readers == ["clock.py"]
