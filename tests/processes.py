"""Whether processes have ended, for the tests that hurt them."""

from __future__ import annotations

import time

import psutil


def wait_until_gone(*pids: int, patience: float = 10.0) -> None:
    """AssertionError where one of them is still there after `patience` seconds; a zombie is gone."""
    give_up = time.monotonic() + patience
    while left := [pid for pid in pids if _lives(pid)]:
        assert time.monotonic() < give_up, f"still there: {left}"
        time.sleep(0.05)


def _lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
