"""What submission.ipynb calls: the conductor in a process of its own, and when an error may be raised.

In the scoring rerun an exception can cost the submission, so there only an invalid
submission.csv raises. In a commit run and on a laptop every failure does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cascade import submission, zero
from cascade.errors import StageError, TableError


def is_rerun() -> bool:
    """Whether this is Kaggle's run on the hidden test."""
    return bool(os.environ.get("KAGGLE_IS_COMPETITION_RERUN"))


def deadline(config: Path, start: float) -> float:
    """When all must have ended, in Unix seconds: `start` and the config's limit, less its reserve."""
    from cascade.config import load

    return start + load(config).time.available


def conduct(config: Path, data: Path, run: Path, deadline: float, engine: str = "") -> int:
    """Runs the conductor with this interpreter, its lines shown as they come; returns its exit code."""
    command = [
        sys.executable, "-m", "cascade", "run", "--config", str(config), "--data", str(data), "--out", str(run),
        "--deadline", str(deadline), *(["--engine", engine] if engine else []),
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            print(line, end="", flush=True)
    return process.returncode


def settle(data: Path, run: Path, code: int) -> None:
    """Raises where submission.csv is not valid and, outside the rerun, where the conductor's `code` is not 0.

    What is valid is read as leniently as submission zero reads it: a row that the conductor refuses
    is no reason to lose a submission. In the rerun an invalid file is replaced by submission zero.
    """
    expected, path = zero.rows(data), run / "submission.csv"
    try:
        submission.validate(path, list(expected), zero.known(data))
    except TableError:
        if not is_rerun():
            raise
        submission.write(expected, path)
    if code != 0 and not is_rerun():
        raise StageError(f"the conductor's exit code is {code}; its last lines above say which stage failed and why")


@contextmanager
def harmless() -> Iterator[None]:
    """In the rerun prints what goes wrong inside instead of raising it: no picture may cost the submission."""
    try:
        yield
    except Exception:
        if not is_rerun():
            raise
        traceback.print_exc()
