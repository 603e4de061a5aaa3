"""What a question is: its numbers, how it is worked out rightly and wrongly, and how students tell of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import gcd
from random import Random
from typing import Any

from sample.generate.topic import Answer, tex

Values = dict[str, Any]


@dataclass(frozen=True)
class Way:
    """How a student works: `answer` by the question's numbers, and what it says in `clauses`.

    A clause is a template over the numbers and over `steps`, which are worked out of them, so that it shows the way.
    """

    answer: Callable[..., Answer]
    clauses: tuple[str, ...]
    steps: Callable[..., Values] = lambda **_: {}

    def words(self, values: Values) -> Values:
        return {**values, **self.steps(**values), "answer": plain(self.answer(**values))}


@dataclass(frozen=True)
class Item:
    """A question. `right`: the way of a right explanation; `wrong`: those of its misconceptions, by their names.

    `remarks`: what is true of the question and shows no way. The clause `{answer}` is what the way leads to.
    """

    text: str
    draw: Callable[[Random], Values]
    right: Way
    wrong: Mapping[str, Way]
    remarks: tuple[str, ...]

    def options(self, values: Values) -> dict[str, str | None]:
        """The answers to choose from, as the competition writes them: the right one, and those of misconceptions.

        Two misconceptions with one answer share it; it is then under the first.
        """
        found: dict[str, str | None] = {tex(self.right.answer(**values)): None}
        for name, way in self.wrong.items():
            found.setdefault(tex(way.answer(**values)), name)
        return found


def plain(answer: Answer) -> str:
    r"""An answer as a student writes it: `3/4`, without `\( … \)`."""
    return str(answer).replace(r"\(", "").replace(r"\)", "").strip()


def proper(r: Random, tops: range, bottoms: range) -> tuple[int, int]:
    """Top and bottom of a fraction below one in its lowest terms."""
    while True:
        a, b = r.choice(tops), r.choice(bottoms)
        if a < b and gcd(a, b) == 1:
            return a, b
