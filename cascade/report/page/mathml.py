"""LaTeX as MathML, which browsers set by themselves: no script, no fonts, no network."""

from __future__ import annotations

import html
import re
from functools import lru_cache
from xml.etree.ElementTree import Element, tostring

# A formula may set these, and through them a link or a style that reaches beyond it. xmlns is of no use in HTML.
DROPPED = ("class", "href", "id", "style", "xmlns")
TABULAR = re.compile(r"\\begin\{tabular\}\s*(?:\{[^{}]*\})?(.*)\\end\{tabular\}", re.DOTALL)
ROW_END = re.compile(r"\\\\(?:\[[^\]\\]*\])?")
CELL_END = re.compile(r"(?<!\\)&")
RULE = re.compile(r"\\(?:hline|toprule|midrule|bottomrule|cline\{[^{}]*\})")
LONGEST = 5000  # characters of a formula: a longer one is shown as it stands, so that no text can hold up the page
DOLLARS = re.compile(r"(?<!\\)\$(.+?)(?<!\\)\$")


@lru_cache(maxsize=100_000)
def formula(escaped: str) -> str:
    """HTML of one formula or environment, given with its delimiters and escaped for HTML.

    Where it cannot be read, or latex2mathml is missing, its LaTeX is shown.
    """
    latex = html.unescape(escaped).strip()
    if table := TABULAR.fullmatch(latex):
        return _table(table[1])
    if len(latex) > LONGEST:
        return f"<code>{html.escape(latex)}</code>"
    display = not latex.startswith(r"\(")
    try:
        return mathml(latex if latex.startswith(r"\begin") else latex[2:-2], display)
    except Exception:  # of the library's own many kinds, a RecursionError among them: no formula may cost the page
        return f"<code>{html.escape(latex)}</code>"


def mathml(latex: str, display: bool) -> str:
    """A `math` element; raises what latex2mathml raises."""
    from latex2mathml.converter import Converter

    root = Converter(display="block" if display else "inline").convert_to_element(latex)
    for element in root.iter():
        for name in DROPPED:
            element.attrib.pop(name, None)
        # The library leaves its own character references for its writer, which would let `<` out with them.
        element.text = html.unescape(element.text) if element.text else element.text
    for table in root.iter("mtable"):
        _rule_rows(table)
    return tostring(root, encoding="unicode")


def _rule_rows(table: Element) -> None:
    """Marks the cells above a line: browsers know no `rowlines`."""
    lines = table.attrib.pop("rowlines", "").split()
    for row, line in zip(table.findall("mtr"), lines, strict=False):
        for cell in row if line == "solid" else ():
            cell.set("class", "ruled")


def _table(body: str) -> str:
    """A tabular, whose cells are text with formulas between dollars, as an HTML table."""
    rows = [row for row in ROW_END.split(RULE.sub("", body)) if row.strip()]
    cells = [[f"<td>{_cell(cell.strip())}</td>" for cell in CELL_END.split(row)] for row in rows]
    lines = ["".join(["<tr>", *row, "</tr>"]) for row in cells]
    return "".join(["<table>", *lines, "</table>"])


def _cell(text: str) -> str:
    # Every second part is what stood between two dollars.
    parts = DOLLARS.split(text)
    return "".join(
        formula(html.escape(rf"\({part}\)")) if number % 2 else html.escape(re.sub(r"\\([%$&#_])", r"\1", part))
        for number, part in enumerate(parts)
    )
