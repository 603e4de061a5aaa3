"""Puts two runs side by side, and makes the page of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from textwrap import shorten
from typing import Any

import jinja2

from cascade.base import atomic, folder, history
from cascade.base.errors import StageError
from cascade.evaluation.compare import changes, scores
from cascade.evaluation.compare.changes import Setting, TemplateChange
from cascade.evaluation.compare.scores import Move, Score
from cascade.evaluation.compare.sides import SEEN_BY, Side, open_side
from cascade.report.markup import as_html
from cascade.report.page import pictures
from cascade.report.page.mathml import formula

HERE = Path(__file__).parent
STYLE = HERE.parents[1] / "report" / "page" / "page.css"
MOVES = 100  # on the page
TEXT = 600  # characters of a question that the page shows with its formulas: a longer one is cut, formulas and all


@dataclass(frozen=True)
class Comparison:
    """A comparison holds what differs from run `a` to run `b`.

    `parts`: what else a stage is made from, and those stages; `scores` are empty without labels; `agreement`: queries
    in both submissions, shares of ids in common and of equal firsts.
    """

    a: Side
    b: Side
    settings: list[Setting]
    templates: list[TemplateChange]
    parts: list[tuple[str, list[str]]]
    data: list[str]
    scores: list[Score]
    moves: list[Move]
    agreement: tuple[int, float, float] | None
    times: list[tuple[str, float | None, float | None]]
    notes: list[str]

    @property
    def is_same(self) -> bool:
        """Whether the runs' records know of no difference."""
        return not (self.settings or self.templates or self.parts or self.data)


def compare(a: Path, b: Path, data: Path | None = None) -> Comparison:
    """Reads both runs. StageError where a folder is no run's or both are one; what cannot be compared is a note."""
    if a.resolve() == b.resolve():
        raise StageError(
            f"is the same folder as {b}", path=a, mend=f"pass two runs' folders, such as {a / folder.PREVIOUS} and {a}"
        )
    sides = open_side(a, data), open_side(b, data)
    differing = changes.data(*sides)
    notes = list(dict.fromkeys(note for side in sides for note in side.notes))
    if unknown := changes.untold(*sides):
        notes.append(f"what they were made from is not kept on both sides, so not compared: {', '.join(unknown)}")
    notes += [f"{side.run}: {name} failed: {why}" for side in sides
              for name, attempt in history.read(side.run).items() if (why := attempt.told)]  # fmt: skip
    found: list[Score] = []
    moves: list[Move] = []
    benches = [side.context for side in sides]
    if benches[0] is not None and benches[1] is not None:
        if all(side.labelled for side in sides):
            labels = scores.common_labels(benches[0], benches[1])
            ranked = scores.rankings(benches[0]), scores.rankings(benches[1])
            found = scores.scores(benches[0], benches[1], ranked, labels)
            moves = scores.moves(benches[1].task, ranked, labels)
            if any(name != SEEN_BY for name in differing):
                notes.append(_of_different_data(differing, len(labels)))
        else:
            notes.append("MAP is not compared: the data has no labels (test_labels.csv)")
    return Comparison(
        *sides, changes.settings(*sides), changes.templates(*sides), changes.parts(*sides), differing, found, moves,
        scores.agreement(a, b), scores.times(a, b), notes,
    )  # fmt: skip


def _of_different_data(differing: list[str], common: int) -> str:
    said = f"runs of different data ({', '.join(differing)}): "
    if common:
        return f"{said}MAP is over the {common} labelled queries that are the same in both"
    return f"{said}no labelled query is the same in both, so each MAP is over a run's own, and has no interval"


def began(side: Side) -> str:
    """When the run began, by its ledger."""
    starts = [attempt.start for attempt in history.read(side.run).values()]
    return datetime.fromtimestamp(min(starts), UTC).strftime("%Y-%m-%d %H:%M UTC") if starts else "no ledger"


def write(comparison: Comparison, path: Path) -> None:
    """Writes the page, one file that needs nothing beside it and no network."""
    text = html(comparison)
    with atomic.replaced(path) as partial:
        partial.write_text(text, encoding="utf-8", errors="replace")


def html(comparison: Comparison) -> str:
    """Returns the page as HTML."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(HERE), autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip
    environment.filters["duration"] = pictures.duration
    environment.filters["rank"] = rank
    environment.filters["formulas"] = formulas
    sides: list[dict[str, Any]] = [
        {"name": name, "run": side.run, "config": side.record.get("config", "–"), "data": side.record.get("data", "–"),
         "engine": side.record.get("engine", "–"), "began": began(side)}
        for name, side in (("A", comparison.a), ("B", comparison.b))
    ]  # fmt: skip
    return environment.get_template("compare.html").render(
        style=STYLE.read_text(encoding="utf-8"), sides=sides, found=comparison, moves=comparison.moves[:MOVES],
        mark=folder.mark("compare"),
    )  # fmt: skip


def rank(value: float) -> str:
    """A label's rank in a submission."""
    return f"{value:.0f}" if value == value else "absent"


def formulas(text: str) -> str:
    """A question as HTML."""
    if len(text) > TEXT:
        return as_html(shorten(text, TEXT, placeholder=" …"))
    return as_html(text, formula)
