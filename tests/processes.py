"""Which processes are still there, for the tests that hurt them."""

from __future__ import annotations

import time

import psutil


def wait_until_gone(*pids: int, patience: float = 10.0) -> None:
    """AssertionError where one of them is still there after `patience` seconds; a zombie is gone."""
    give_up = time.monotonic() + patience
    while left := [pid for pid in pids if lives(pid)]:
        assert time.monotonic() < give_up, f"still there: {left}"
        time.sleep(0.05)


def marked(variable: str, value: str) -> list[psutil.Process]:
    """Every process on this machine that has the environment variable so; no zombie."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.environ().get(variable) == value and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except psutil.Error:
            continue
    return found


def lives(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
