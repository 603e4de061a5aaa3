"""What a check says: a line a fact."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from cascade.base.errors import CascadeError, NotHereError

MARKS = {True: "✓", False: "✗", None: "?"}


@dataclass(frozen=True)
class Fact:
    """One thing that was looked at before a run, and what was `found`.

    `ok` is None where what it takes to look is not at hand. `mend`: what to do where it is not ok, and
    where it is, but is not what one would expect, the warning.
    """

    name: str
    ok: bool | None
    found: str
    mend: str = ""

    def __str__(self) -> str:
        behind = f"; {'warning' if self.ok else 'fix'}: {self.mend}" if self.mend else ""
        return f"{MARKS[self.ok]} {self.name:<24} {self.found}{behind}"


def tried(name: str, look: Callable[[], Iterable[Fact]], is_here: bool) -> Iterator[Fact]:
    """What one look finds; an error that it raises is a fact too, so that all others are still looked at.

    is_here: what is not at hand is wrong.
    """
    try:
        yield from look()
    except NotHereError as error:
        yield Fact(name, False if is_here else None, error.found, error.mend)
    except CascadeError as error:
        yield Fact(name, False, error.found, error.mend)
    except Exception as error:  # no look may cost the run what the run itself might do
        yield Fact(name, None, f"could not be checked ({type(error).__name__}: {error})")
