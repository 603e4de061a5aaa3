"""The competition's texts as HTML: Markdown's pictures, LaTeX's formulas and tables, everything else as it stands."""

from __future__ import annotations

import bisect
import html
import re
from collections.abc import Callable, Iterator

# A formula of its own stands on its own line, so the line breaks around it are no further ones.
OPENING = re.compile(r"\\\(|\n?\\\[|\\begin\{(?P<name>\w+\*?)\}")
CLOSING = re.compile(r"\\\)|\\\]\n?|\\end\{(?P<name>\w+\*?)\}")


def as_html(text: object, formula: Callable[[str], str] = str) -> str:
    """Text as HTML: escaped, line breaks kept, pictures as their descriptions.

    formula: makes HTML of a formula or an environment, which is given with its delimiters and escaped;
    left out, they are for MathJax.
    """
    escaped = _with_pictures(html.escape(str(text)))
    parts, done = [], 0
    for start, end in _formulas(escaped):
        parts += [_prose(escaped[done:start]), formula(escaped[start:end])]
        done = end
    return "".join([*parts, _prose(escaped[done:])])


def _with_pictures(escaped: str) -> str:
    """Markdown's pictures as their descriptions, in time linear in the text, however many are never closed."""
    parts, done = [], 0
    while (start := escaped.find("![", done)) >= 0:
        middle = escaped.find("](", start)
        end = escaped.find(")", middle) if middle >= 0 else -1
        if end < 0:  # nor does any later one end
            break
        parts += [escaped[done:start], _picture(escaped[start + 2 : middle].strip())]
        done = end + 1
    return "".join([*parts, escaped[done:]])


def _picture(description: str) -> str:
    return f"<i>[picture: {description}]</i>" if description else "<i>[picture]</i>"


def _formulas(escaped: str) -> Iterator[tuple[int, int]]:
    """Where formulas and environments start and end, in time linear in the text, however many are never closed."""
    ends: dict[str, list[tuple[int, int]]] = {}  # of each kind of closing, in the text's order
    for closing in CLOSING.finditer(escaped):
        ends.setdefault(closing["name"] or closing[0].strip(), []).append(closing.span())
    at = 0
    while opened := OPENING.search(escaped, at):
        closings = ends.get(opened["name"] or {"(": r"\)", "[": r"\]"}[opened[0][-1]], [])
        which = bisect.bisect_left(closings, (opened.end(), 0))
        at = opened.end()
        if which < len(closings):
            at = closings[which][1]
            yield opened.start(), at


def _prose(escaped: str) -> str:
    # A dollar in a tag of its own cannot open mathematics: MathJax in Jupyter would set "$5 and $6" as a formula.
    return escaped.replace("$", "<span>$</span>").replace("\n", "<br>")
