"""What a run keeps between its stages, known by the content that it was made of."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from cascade.base import atomic


def kept(path: Path, what: str, make: Callable[[], np.ndarray]) -> np.ndarray:
    """The array at `path`, or what `make` returns, which is then kept there; what: as a person calls it."""
    if path.is_file():
        try:
            found: np.ndarray = np.load(path)
            return found
        except (OSError, ValueError, EOFError):  # torn by a kill or a full disk: made anew
            path.unlink(missing_ok=True)
    made = make()
    try:
        with atomic.replaced(path) as partial:
            np.save(partial, made)
    except OSError as error:  # a cache that can't be written costs time on the next run, not this run
        print(f"{what} are not cached: {error}")
    return made
