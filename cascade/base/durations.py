"""How long a run may take: a config's durations, and what holds where it says nothing. Standard library only."""

from __future__ import annotations

import re
from typing import Any

from cascade.base.errors import StageError

RUN = 9 * 3600.0  # seconds: the competition's limit, installation and loading included
RESERVE = 600.0  # seconds of it, kept back before the deadline
# A practice takes minutes, so what takes longer hangs, and the week has some 30 h of GPU.
PRACTICE = 2 * 3600.0
DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|h)")
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0}
LAST_MOMENT = 1e11  # Unix seconds, in the year 5138
LONGEST = 10_000  # hours: far beyond any run, and within what a process can wait for and a calendar can name


def seconds(value: Any) -> float:
    """`"90s"`, `"10m"`, `"9h"` in seconds; ValueError for anything else, or longer than `LONGEST`."""
    match = DURATION.fullmatch(value) if isinstance(value, str) else None
    if not match:
        raise ValueError(f'{value!r} is not a duration; write it as "90s", "10m" or "9h"')
    found = float(match[1]) * UNITS[match[2]]
    if found > LONGEST * UNITS["h"]:
        raise ValueError(f"{value!r} is longer than {LONGEST:,} h; shorten it")
    return found


def check_deadline(deadline: float | None) -> None:
    """StageError for what is no moment in Unix seconds: with `nan` no stage would ever run, or end."""
    if deadline is not None and not 0 <= deadline < LAST_MOMENT:
        raise StageError(
            f"{deadline} is not a Unix time", key="--deadline", mend="pass seconds since 1970, or leave it out"
        )
