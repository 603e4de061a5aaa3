"""One run in a folder at a time: two would replace each other's tables and submission.csv."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from cascade.base.errors import StageError

FILE = "run.lock"


@contextmanager
def held(run: Path, option: str = "--out") -> Iterator[None]:
    """Makes the folder and keeps any other run out of it; StageError where one is in it, or nothing can be written.

    The kernel lets go of the lock when this process ends, however it ends; no process it starts has it.
    """
    try:
        run.mkdir(parents=True, exist_ok=True)
        file = (run / FILE).open("a")
    except OSError as error:
        raise StageError(
            f"cannot be written to: {error}", path=run, mend=f"pass {option} with a folder that can be written to"
        ) from error
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise StageError(
                "another run uses this folder", path=run, mend=f"wait for it, or pass another {option}"
            ) from error
        except OSError as error:  # a file system without locks: rare, and no reason to lose the run
            print(f"warning: {run / FILE}: cannot be locked ({error}); a second run in it would not be noticed")
        yield
