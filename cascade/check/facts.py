"""What a check says: a line a fact."""

from __future__ import annotations

from dataclasses import dataclass

MARKS = {True: "✓", False: "✗", None: "?"}


@dataclass(frozen=True)
class Fact:
    """One thing that was looked at before a run, and what was `found`.

    `ok` is None where what it takes to look is not at hand. `mend`: what to do where it is not ok.
    """

    name: str
    ok: bool | None
    found: str
    mend: str = ""

    def __str__(self) -> str:
        return f"{MARKS[self.ok]} {self.name:<24} {self.found}{f'; mend: {self.mend}' if self.mend else ''}"
