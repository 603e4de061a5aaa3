"""`python -m cascade compare`: reads, shows on the terminal in 80 columns, and writes the page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from textwrap import shorten

from cascade.base import folder
from cascade.base.printable import printable
from cascade.evaluation.compare import build
from cascade.evaluation.compare.build import Comparison
from cascade.evaluation.compare.changes import TemplateChange
from cascade.report.page.pictures import duration

LINES = 12  # of a template's diff
MOVES = 10
WIDTH = 80


def compare(a: Path, b: Path, data: Path | None, out: Path) -> None:
    """Prints what differs and writes the page; StageError where a folder is no run's, or `out` is somebody else's."""
    folder.check_file(out, "compare")
    found = build.compare(a, b, data)
    build.write(found, out)
    for line in lines(found):
        print(printable(line))
    print(f"\n{out} shows all differences")


def lines(found: Comparison) -> Iterator[str]:
    """The comparison in words, paths and values alone may pass 80 columns."""
    for name, side in (("A", found.a), ("B", found.b)):
        config = Path(str(side.record.get("config", "–"))).name
        yield f"{name}  {side.run}  ({config}, {build.began(side)})"
    yield "\nWhat was changed"
    if found.is_same:
        yield f"  nothing that {folder.FILE} records"
    for setting in found.settings:
        yield f"  {setting.key}: {setting.old} → {setting.new}"
    yield from (f"  data: {name} is another" for name in found.data)
    yield from (f"  {part} is another, for {', '.join(stages)}" for part, stages in found.parts)
    for template in found.templates:
        yield from _template(template)
    yield from (f"  note: {note}" for note in found.notes)
    if found.scores:
        yield f"\n{'MAP':<28} {'n':>5} {'A':>7} {'B':>7} {'change':>8}   95 % interval"
    for row in found.scores:
        name = row.name[:28] if row.part == "all" else f"  {row.part}"
        interval = f"{row.interval[0]:+.4f} {row.interval[1]:+.4f}" if row.interval else "–"
        means = f"{_score(row.a)} {_score(row.b)} {_score(row.change, '+8.4f')}"
        yield f"{name:<28} {row.queries:>5} {means}   {interval}{' *' if row.is_sure else ''}"
    if any(row.is_sure for row in found.scores):
        yield "* the interval leaves zero out"
    if found.agreement:
        count, common, first = found.agreement
        yield f"{count} queries in both submissions: {first:.0%} same first id, {common:.0%} of ids in common"
    if found.times:
        yield f"\n{'Time':<28} {'A':>14} {'B':>14}"
    yield from (f"{name[:28]:<28} {_time(old):>14} {_time(new):>14}" for name, old, new in found.times)
    if found.moves:
        yield f"\nOf {len(found.moves)} right labels that moved in submission.csv, those that moved most"
    for move in found.moves[:MOVES]:
        start = f"{move.query_id:<10} {build.rank(move.a):>6} → {build.rank(move.b):<6}  "
        yield start + shorten(move.text, max(20, WIDTH - len(start)), placeholder="…")


def _template(template: TemplateChange) -> Iterator[str]:
    of = f"  template {template.name}, of {', '.join(template.stages)}"
    if not template.diff:
        yield f"{of}: changed, and the text of one of them was not kept"
        return
    yield f"{of}: {template.counts[0]} lines removed, {template.counts[1]} added"
    yield from (f"    {line[: WIDTH - 4]}" for line in template.diff[:LINES])
    if len(template.diff) > LINES:
        yield f"    … {len(template.diff) - LINES} more lines on the page"


def _score(value: float, form: str = "7.4f") -> str:
    return f"{'–':>{form.lstrip('+').partition('.')[0]}}" if value != value else f"{value:{form}}"


def _time(value: float | None) -> str:
    return "–" if value is None else duration(value)
