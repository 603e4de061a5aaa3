"""The competition's texts as HTML: Markdown's pictures, LaTeX's formulas and tables, everything else as it stands."""

from __future__ import annotations

import html
import re
from collections.abc import Callable

PICTURE = re.compile(r"!\[(.*?)\]\([^)]*\)", re.DOTALL)
# A formula of its own stands on its own line, so the line breaks around it are no further ones.
MATHS = re.compile(r"(\\\(.*?\\\)|\n?\\\[.*?\\\]\n?|\\begin\{(?P<name>\w+\*?)\}.*?\\end\{(?P=name)\})", re.DOTALL)


def as_html(text: object, formula: Callable[[str], str] = str) -> str:
    """Text as HTML: escaped, line breaks kept, pictures as their descriptions.

    formula: makes HTML of a formula or an environment, which is given with its delimiters and escaped;
    left out, they are for MathJax.
    """
    escaped = PICTURE.sub(_picture, html.escape(str(text)))
    parts, done = [], 0
    for match in MATHS.finditer(escaped):
        parts += [_prose(escaped[done : match.start()]), formula(match[0])]
        done = match.end()
    return "".join([*parts, _prose(escaped[done:])])


def _picture(match: re.Match[str]) -> str:
    return f"<i>[picture: {match[1].strip()}]</i>" if match[1].strip() else "<i>[picture]</i>"


def _prose(escaped: str) -> str:
    # A dollar in a tag of its own cannot open mathematics: MathJax in Jupyter would set "$5 and $6" as a formula.
    return escaped.replace("$", "<span>$</span>").replace("\n", "<br>")
