"""The clock of a run: Unix seconds that do not jump when the machine's clock is set, the same in all its processes.

The machine's clock is read once, by the process that starts first; from then on only the monotonic clock counts, which
on Linux is one for all processes. The processes below inherit by how much the two are apart.
"""

from __future__ import annotations

import os
import time

VARIABLE = "CASCADE_CLOCK"  # Unix seconds at which the monotonic clock was 0


def now() -> float:
    """The time in Unix seconds, as this run counts it: deadlines and durations are measured by it alone."""
    return time.monotonic() + _zero


def _anchor() -> float:
    try:
        return float(os.environ[VARIABLE])
    except (KeyError, ValueError):
        return time.time() - time.monotonic()


_zero = _anchor()
os.environ[VARIABLE] = repr(_zero)
