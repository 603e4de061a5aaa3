"""How much of its probability a model gives to the options it is asked to choose from, and what it would rather say.

Scores are normalised over the options: a model that would answer something else scores like any other. The share of
the options in the whole vocabulary tells.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from cascade.models.thinking import BEGIN, CLOSE, OPEN

LEAST = 0.01  # of the probability, on average: below, the scores are what is left over of another answer
MEASURED = 8  # prompts of a process that shares are measured on, at most
LOW = 0.1  # the quantile that is kept beside the mean
Share = tuple[float, str]  # of the options; the likeliest token's text where it is none of them, else ""


@dataclass
class Shares:
    """The shares of a stage's prompts. `options`: the texts that it is asked to choose from."""

    options: Sequence[str]
    _shares: list[float] = field(default_factory=list)
    _rather: Counter[str] = field(default_factory=Counter)

    def add(self, found: Iterable[Share]) -> None:
        """Those of some more prompts; a share that is no number is of a score that is none, which is refused."""
        for share, rather in found:
            if math.isfinite(share):
                self._shares.append(share)
                self._rather[rather] += 1

    def facts(self) -> dict[str, Any]:
        """Returns for the ledger the mean, the low quantile, the prompts counted, and the likeliest other token.

        Nothing where nothing was measured.
        """
        if not self._shares:
            return {}
        facts = {
            "prompts": len(self._shares),
            "mean": float(f"{np.mean(self._shares):.3g}"),
            f"quantile_{LOW:g}": float(f"{np.quantile(self._shares, LOW):.3g}"),
        }
        rather, count = self._likeliest()
        return {**facts, **({"rather": rather, "rather_prompts": count} if count else {})}

    def warning(self) -> str:
        """What is wrong, by its likeliest cause, with the mend, in a sentence; "" where nothing is."""
        if not self._shares or (mean := float(np.mean(self._shares))) >= LEAST:
            return ""
        rather, count = self._likeliest()
        said = f"it prefers {rather!r} ({count} of {len(self._shares)} prompts); " if count else ""
        return (
            f"the options have {100 * mean:.2g} % of the model's probability (mean of {len(self._shares)} prompts); "
            f"{said}{self._mend(rather)}"
        )

    def _likeliest(self) -> tuple[str, int]:
        return next(((text, count) for text, count in self._rather.most_common(2) if text), ("", 0))

    def _mend(self, rather: str) -> str:
        bare = rather.strip()
        if bare and (OPEN.match(bare) or CLOSE.match(bare)):
            return f"set chat_template = {{ enable_thinking = false }} where the chat template has it, or {BEGIN}"
        if bare and bare.casefold() in {option.strip().casefold() for option in self.options}:
            return f"end the template so that an answer begins as the options do, or write them as {rather!r} is"
        return "state in the template that the answer is only one of the options, or use an instruct model in its chat"
