"""`python -m cascade fit`: fits the ensemble's numbers, shows what they gain, and writes them as a config has them."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from cascade.base import atomic, folder
from cascade.base.errors import DataError, StageError
from cascade.base.printable import printable
from cascade.evaluation.fit import runs as reading
from cascade.evaluation.fit import search
from cascade.evaluation.fit.judged import Judged, Numbers
from cascade.evaluation.fit.search import Change, HeldOut

SHARES = (0.2, 0.4, 0.6, 0.8)  # of unseen queries, for which the gain is told
FEW = 30  # labelled queries: with fewer, one query moves MAP by more than most numbers do


@dataclass(frozen=True)
class Fitted:
    """Numbers before and after, what they gain on queries held out, and what was not fitted. `gain`: what decides."""

    start: Numbers
    numbers: Numbers
    held_out: HeldOut
    gain: Change
    depth: int
    queries: int
    notes: list[str]

    @property
    def is_kept(self) -> bool:
        """Whether the config's own numbers stay, as the gain may be none."""
        return not self.gain.interval[0] > 0

    @property
    def chosen(self) -> Numbers:
        return self.start if self.is_kept else self.numbers


def fit(
    runs: Sequence[Path], config: Path | None, data: Sequence[Path], out: Path, unseen: float | None, seed: int
) -> None:
    """Prints the gain and writes the numbers to `out`; StageError where that is somebody else's file."""
    folder.check_file(out, "fit")
    found = fitted(runs, config, data, unseen, seed)
    for note in found.notes:
        print(printable(f"note: {note}"))
    console = Console(width=max(100, Console().width))
    console.print(as_rich(found, unseen, seed))
    for left_out, numbers in found.held_out.fitted:
        print(printable(f"fitted without {left_out}: {_line(numbers)}"))
    print(printable(f"fitted on all: {_line(found.numbers)}"))
    atomic.write_text(out, fragment(found, runs, unseen, seed))
    print(printable(f"{verdict(found, unseen)}: {out} has them"))


def fitted(runs: Sequence[Path], config: Path | None, data: Sequence[Path], unseen: float | None, seed: int) -> Fitted:
    """Fits on all runs, and judges the same fit on queries that it has not seen.

    Errors as `open_runs` has them; StageError where nothing can be fitted, DataError where too little is labelled.
    """
    sides = reading.open_runs(runs, config, data)
    judged, lacking, notes = reading.judged(sides)
    context = reading.context_of(sides[0])
    start = Numbers.of(context.config.ensemble)
    present = {name: weight for name, weight in start.weights.items() if name not in lacking}
    # Only ratios count, so that the heaviest member's weight stays.
    heaviest = max(present, key=lambda name: present[name])
    free = [name for name in present if name != heaviest]
    seen = np.concatenate([run.seen for run in judged])
    _check_labels(judged, seen, unseen)
    boosted = bool((~seen).any())
    notes = [*reading.settings_notes(sides), *notes]
    notes += [f"{name} has no table in any run: it keeps its weight" for name in lacking]
    if not boosted:
        notes.append("no labelled query is unseen: the boost is not fitted")
    if not free and not boosted:
        raise StageError(
            f"nothing can be fitted with one member, {heaviest}, and no unseen label", path=runs[0],
            mend="add a member to [ensemble], or pass runs of data with unseen labels",
        )  # fmt: skip
    if len(seen) < FEW:
        notes.append(f"only {len(seen)} queries are labelled: the interval is wide, and says little")
    numbers = search.fit(search.whole(judged), start, free, unseen, boosted)
    held_out = search.held_out(judged, start, free, unseen, boosted, seed)
    return Fitted(start, numbers, held_out, held_out.change(unseen, seed), context.task.depth, len(seen), notes)


def _check_labels(judged: Sequence[Judged], seen: np.ndarray, unseen: float | None) -> None:
    if len(seen) < 2:
        raise DataError("has one labelled query, which no other can check", path=judged[0].run, mend="label more")
    for is_seen, share, kind in ((True, 0.0, "unseen"), (False, 1.0, "seen")):
        if unseen is not None and unseen != share and not (seen != is_seen).any():
            raise DataError(
                f"no labelled query is {kind}", path=judged[0].run, key="--unseen",
                mend="leave it out, or pass runs of other data",
            )  # fmt: skip


def _line(numbers: Numbers) -> str:
    return str(numbers).replace("\n", ", ")


def rows(found: Fitted, seed: int) -> Iterator[tuple[str, Change]]:
    """The queries held out, all, seen and unseen, and all as if other shares of them were unseen."""
    for name, unseen in (("all", None), ("seen", 0.0), ("unseen", 1.0)):
        if (change := found.held_out.change(unseen, seed)).queries:
            yield name, change
    for share in SHARES:
        if (change := found.held_out.change(share, seed)).queries:
            yield f"{share:.0%} unseen", change


def as_rich(found: Fitted, unseen: float | None, seed: int) -> Table:
    """A row for each kind and share of queries."""
    shown = Table(title=f"MAP@{found.depth} on queries that the numbers were not fitted on{_weighted(unseen)}")
    for name in ("queries", "n", "config", "fitted", "gain", "95 % interval"):
        shown.add_column(name, justify="left" if name == "queries" else "right")
    for name, change in rows(found, seed):
        low, high = change.interval
        figures = (f"{change.before:.4f}", f"{change.after:.4f}", f"{change.gain:+.4f}", f"{low:+.4f} {high:+.4f}")
        shown.add_row(name, str(change.queries), *figures)
    return shown


def _weighted(unseen: float | None) -> str:
    return "" if unseen is None else f", fitted for {unseen:.0%} unseen"


def verdict(found: Fitted, unseen: float | None) -> str:
    """What became of the fitted numbers, and why."""
    low, high = found.gain.interval
    gain = f"they gain {found.gain.gain:+.4f} held out{_weighted(unseen)}, 95 % interval {low:+.4f} to {high:+.4f}"
    if found.is_kept:
        return f"the fitted numbers are not taken, as {gain}; the config's own numbers stay"
    return f"the fitted numbers are taken, as {gain}"


def fragment(found: Fitted, runs: Sequence[Path], unseen: float | None, seed: int) -> str:
    """The table [ensemble] as a config has it, under the figures."""
    lines = [
        folder.mark("fit"),
        f"of {', '.join(map(os.fspath, runs))}: {found.queries} labelled queries",
        *found.notes,
    ]
    lines.append(verdict(found, unseen))
    for name, change in rows(found, seed):
        lines.append(f"MAP@{found.depth} held out, {name}: {change.before:.4f} -> {change.after:.4f}")
    if found.is_kept:
        lines.append(f"not taken: {_line(found.numbers)}")
    lines.append("put these keys into your config's own table")
    return "".join(f"# {line}\n" for line in lines) + f"\n[ensemble]\n{found.chosen}\n"
