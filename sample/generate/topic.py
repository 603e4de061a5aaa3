"""What a topic is: numbers, phrasings, the right answer, and the rules that pupils wrongly follow."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from fractions import Fraction
from random import Random
from string import Template
from typing import Any

Answer = int | Fraction | Decimal | str
Rule = Callable[..., Answer | None]


def tex(answer: Answer) -> str:
    r"""An answer as the competition writes it: `\( 13 \)`, `\( \frac{3}{4} \)`, `\( 0.6 \)`.

    A string is taken as it is: it carries its own `\( … \)` where it has mathematics in it.
    """
    if isinstance(answer, str):
        return answer
    if isinstance(answer, Fraction) and answer.denominator != 1:
        sign = "-" if answer < 0 else ""
        return rf"\( {sign}\frac{{{abs(answer.numerator)}}}{{{answer.denominator}}} \)"
    if isinstance(answer, Decimal):
        text = format(answer, "f")
        return rf"\( {text.rstrip('0').rstrip('.') if '.' in text else text} \)"
    return rf"\( {int(answer)} \)"


def fraction(numerator: int, denominator: int) -> str:
    """A fraction left as it stands, where `Fraction` would cancel it."""
    return rf"\( \frac{{{numerator}}}{{{denominator}}} \)"


@dataclass(frozen=True)
class Topic:
    """One construct of the curriculum, from which any number of questions can be drawn.

    `draw` gives named values; `phrasings` are `string.Template` texts over them (and over
    what `words` derives from them); `correct` and every rule of `rules` take the values by
    name. A rule carries out one misconception and gives None where it says nothing about
    these values. The number beside each function is its answer for `example`, worked by
    hand: the tests hold the functions to it.
    """

    construct: str
    subject: str
    draw: Callable[[Random], dict[str, Any]]
    phrasings: Sequence[str]
    correct: tuple[Rule, Answer]
    rules: Mapping[str, tuple[Rule, Answer]]
    example: Mapping[str, Any]
    words: Callable[..., dict[str, Any]] = field(default=lambda **_: {})
    slips: Callable[..., Sequence[Answer]] = field(default=lambda **_: [])

    def question(self, phrasing: int, values: Mapping[str, Any]) -> str:
        """The question's text; KeyError names a value that the phrasing wants and nobody gives."""
        return Template(self.phrasings[phrasing]).substitute({**values, **self.words(**values)})

    def answer(self, values: Mapping[str, Any]) -> str:
        found = self.correct[0](**values)
        if found is None:
            raise ValueError(f"{self.construct}: no right answer for {dict(values)}")
        return tex(found)

    def wrong(self, values: Mapping[str, Any]) -> dict[str, str]:
        """Misconception -> the wrong answer it leads to; only answers that point to one of them."""
        right = self.answer(values)
        found: dict[str, str] = {}
        for name, (rule, _) in self.rules.items():
            answer = rule(**values)
            if answer is not None and tex(answer) != right:
                found[name] = tex(answer)
        answers = list(found.values())
        return {name: answer for name, answer in found.items() if answers.count(answer) == 1}
