"""Looking again and again at what Kaggle does, through a bad network and a sleeping laptop."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from rich.console import Console
from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from cascade.base.printable import printable
from packer.kaggle.session import BUSY, KaggleError

T = TypeVar("T")
LONGEST_AWAY = 12 * 3600.0  # seconds; as long as Kaggle lets a session run
LOOKS = 5  # for what was made with no answer, before it is given up


def growing(longest: float, first: float = 5.0) -> Iterator[float]:
    """Seconds between looks: `first`, twice that, … up to `longest`."""
    for power in itertools.count():
        pause = first * 2.0 ** min(power, 32)
        yield min(pause, longest)


def poll(
    look: Callable[[], T],
    over: Callable[[T], bool],
    longest: float,
    said: Callable[[str], None],
    sleep: Callable[[float], None] = time.sleep,
    away: float = LONGEST_AWAY,
) -> T:
    """What `look` sees once `over` holds. Kaggle out of reach or busy is `said`, and looked at again.

    The KaggleError of a look is raised once there was no answer for `away` seconds.
    """
    answered = time.monotonic()
    for pause in growing(longest):
        try:
            seen = look()
            answered = time.monotonic()
            if over(seen):
                return seen
        except KaggleError as error:
            is_away = error.status is None or error.status in BUSY
            if not is_away or time.monotonic() - answered >= away:
                raise
            said(f"{error}; still trying")
        sleep(pause)
    raise AssertionError("growing never ends")


def looked_for(look: Callable[[], T | None], sleep: Callable[[float], None]) -> T | None:
    """What was made though its answer was lost, once `look` finds it; None where it does not, or Kaggle is away."""
    for number in range(LOOKS):
        if number:
            sleep(2.0 ** (number - 1))
        try:
            found = look()
        except KaggleError:
            return None
        if found is not None:
            return found
    return None


@contextmanager
def waiting(what: str) -> Iterator[Callable[[str], None]]:
    """A line with the time that goes by, for a person; what is said stands beside it, and where it changes, above."""
    console = Console(stderr=True)
    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task, before = progress.add_task(what, total=None), ""

        def said(text: str) -> None:
            nonlocal before
            text = printable(text)
            if text.partition(",")[0] != before:
                before = text.partition(",")[0]
                console.print(f"{what}: {text}", markup=False, highlight=False)
            progress.update(task, description=f"{what}: {text}")

        yield said
